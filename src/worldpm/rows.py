"""The community's row shapes, read at the border -> comparisons.

    comparison_from_row({"prompt": "Hi", "chosen": "Hello!", "rejected": "No."},
                        where="FILE:12", default_id="12")

Shapes, told apart by their keys (`id`, `source`, `subset` and `meta` may stand in each):

    {"messages": [...]}                               one reply: the last message, the assistant's
    {"prompt", "replies", "better"?}                  K replies; better = [[winner, loser], ...] or
                                                      our own edges {"winner", "loser", "margin"?}
    {"prompt", "chosen", "rejected", "margin"?,       text or messages; the prompt may be implicit:
     "weight"?}                                       what two whole dialogues share
    {"prompt", "completions", "scores" or "ranks"}    K replies, edges where they differ; or
                                                      UltraFeedback's: {"response", "overall_score"}
                                                      as completions, "instruction" as prompt

A prompt or reply that is a string is one message; `\\n\\nHuman: ...\\n\\nAssistant: ...` strings
are dialogues where whole ones stand. Every error names the row and the place in it.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worldpm.errors import DataError
from worldpm.jsonfiles import valid_text
from worldpm.records import Comparison, Conversation, Edge, Message, Role, edge_fault

if TYPE_CHECKING:
    from pydantic import TypeAdapter

_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):")
_MISSING = object()
HELPSTEER2_RATINGS = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")


def comparison_from_row(
    row: object, *, where: str, source: str = "input", default_id: str
) -> Comparison:
    """Read one row in any of the shapes above; `where` (FILE:LINE) begins every message.

    Raises DataError, such as `FILE:12: messages[2].role: input should be 'system', ...`.
    """
    return _Row(row, where).comparison(source, default_id)


def read_conversation(
    value: object, place: str, *, where: str, role: Role = "user"
) -> Conversation:
    """Text (one message of `role`) or a list of messages; DataError names `where` and `place`."""
    return _Row({}, where).conversation(value, place, role)


def edges_of(scores: Sequence[float], min_margin: float = 0.0) -> tuple[Edge, ...]:
    """An edge for every two replies whose scores differ, at least by `min_margin`; higher wins."""
    found = []
    for i, j in combinations(range(len(scores)), 2):
        margin = abs(scores[i] - scores[j])
        if margin > 0 and margin >= min_margin:
            winner, loser = (i, j) if scores[i] > scores[j] else (j, i)
            found.append(Edge(winner, loser, margin=float(margin)))
    return tuple(found)


def parse_turns(text: str) -> Conversation:
    """The turns of a `\\n\\nHuman: ...\\n\\nAssistant: ...` string; () if it does not begin so."""
    before, turns = cut_turns(text)
    if before.strip():
        return ()
    return tuple(Message(turn.role, turn.content.strip()) for turn in turns)


def cut_turns(text: str) -> tuple[str, Conversation]:
    """(what stands before the first `Human:` or `Assistant:`, the turns with their white space)."""
    before, *pieces = _TURN.split(text)
    return before, tuple(
        Message("user" if speaker == "Human" else "assistant", words)
        for speaker, words in zip(pieces[::2], pieces[1::2], strict=True)
    )


def helpsteer_turns(prompt: str) -> Conversation:
    """A prompt of HelpSteer2: `user<extra_id_1>Assistant\\n...<extra_id_1>User\\n...`, or text."""
    first, *rest = prompt.split("<extra_id_1>")
    turns = [Message("user", first.strip())]
    for turn in rest:
        role, _, text = turn.partition("\n")
        turns.append(Message("assistant" if role == "Assistant" else "user", text.strip()))
    return tuple(turns)


def split_shared(
    first: Conversation, second: Conversation
) -> tuple[Conversation, Conversation, Conversation]:
    """(shared beginning, rest of the first, rest of the second); neither rest is empty."""
    most = min(len(first), len(second)) - 1
    shared = 0
    while shared < most and first[shared] == second[shared]:
        shared += 1
    return first[:shared], first[shared:], second[shared:]


def set_name(path: Path) -> str:
    """What a set is called by its path: `ai.stackexchange.com` of that folder or `.jsonl.gz` file.

    Only endings of files of rows go, since names of sites have dots of their own.
    """
    name = path.resolve().name
    if path.is_dir():
        return valid_text(name)
    for ending in (".gz", ".jsonl", ".json", ".parquet"):
        name = name.removesuffix(ending)
    return valid_text(name or path.name)


def read_comparisons(path: Path, source: str | None = None) -> Iterator[Comparison]:
    """Yield the comparisons of an artefact folder, a Parquet file or a JSON-lines file.

    A row without an id is given its number, counted from 1. `source` defaults to
    the file's `set_name`. Raises DataError naming the file and row.
    """
    from worldpm import store

    if path.is_dir():
        yield from store.read_artifact(path, Comparison)
        return
    name = set_name(path) if source is None else source
    if path.suffix == ".parquet" and store.is_own_parquet(path, Comparison):
        yield from store.read_parquet(path, Comparison)
        return
    rows = store.read_parquet_rows if path.suffix == ".parquet" else store.read_json_lines
    for number, row in rows(path):
        yield comparison_from_row(
            row, where=f"{path}:{number}", source=name, default_id=str(number)
        )


class _Row:
    """One row under way, so that each check knows how to name its place."""

    def __init__(self, row: object, where: str) -> None:
        self.where = where
        if not isinstance(row, Mapping):
            raise self.error("", "a row must be a JSON object")
        self.row = row
        self.keys = {key for key, value in row.items() if value is not None}

    def error(self, place: str, problem: str) -> DataError:
        return DataError(f"{self.where}: {place}{': ' if place else ''}{problem}")

    def check(self, kind: Any, value: object, place: str) -> Any:
        """The value as `kind`, validated by pydantic."""
        from pydantic import ValidationError

        try:
            return _adapter(kind).validate_python(value)
        except ValidationError as failure:
            problem = failure.errors(include_url=False, include_input=False)[0]
            inner = "".join(
                f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]
            )
            raise self.error(
                place + inner, problem["msg"][:1].lower() + problem["msg"][1:]
            ) from None

    def text(self, value: str, place: str) -> str:
        """The text itself, after a check that it can be encoded."""
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise self.error(
                place, f"holds a lone surrogate at character {error.start}; it is no valid text"
            ) from None
        return value

    def get(self, key: str, kind: Any, default: Any = _MISSING) -> Any:
        if key not in self.keys:
            if default is _MISSING:
                raise self.error(key, "is missing")
            return default
        value = self.check(kind, self.row[key], key)
        return self.text(value, key) if isinstance(value, str) else value

    def conversation(self, value: object, place: str, role: Role) -> Conversation:
        """Text or a list of messages; text is one message of `role`."""
        if isinstance(value, str):
            return (Message(role, self.text(value, place)),)
        if not isinstance(value, list | tuple):
            raise self.error(place, "must be text or a list of messages")
        messages: Conversation = self.check(Conversation, value, place)
        for index, message in enumerate(messages):
            self.text(message.content, f"{place}[{index}].content")
        return messages

    def comparison(self, source: str, default_id: str) -> Comparison:
        read: Callable[[], tuple[Conversation, tuple[Conversation, ...], tuple[Edge, ...]]]
        if "replies" in self.keys:
            read = self._replies
        elif "chosen" in self.keys or "rejected" in self.keys:
            read = self._pair
        elif "completions" in self.keys:
            read = self._ranked
        elif "messages" in self.keys:
            read = self._messages
        else:
            raise self.error(
                "", "has none of the keys messages, replies, chosen and rejected, completions"
            )
        prompt, replies, better = read()
        if not replies:
            raise self.error("", "needs at least one reply")
        row_id = self.get("id", str | int, default_id)
        return Comparison(
            id=str(row_id),
            source=self.get("source", str, source),
            subset=self.get("subset", str, None),
            prompt=prompt,
            replies=replies,
            better=better,
            meta=self._meta(),
        )

    def _meta(self) -> dict[str, Any]:
        """What stands beside the texts, after a check that JSON can hold it: Parquet's may be more.

        Checked within a list, since a row holds it one level down.
        """
        meta: dict[str, Any] = self.get("meta", dict[str, Any], {})
        if meta:
            import orjson

            try:
                orjson.dumps([meta])
            except orjson.JSONEncodeError as error:
                raise self.error("meta", f"cannot be written as JSON: {error}") from None
        return meta

    def _messages(self) -> tuple[Conversation, tuple[Conversation, ...], tuple[Edge, ...]]:
        messages = self.conversation(self.row["messages"], "messages", "user")
        if not messages or messages[-1].role != "assistant":
            raise self.error("messages", "the last message must be the assistant's, to be scored")
        return messages[:-1], (messages[-1:],), ()

    def _replies(self) -> tuple[Conversation, tuple[Conversation, ...], tuple[Edge, ...]]:
        replies = self._list("replies")
        better = []
        for index, value in enumerate(self.get("better", list[Any], [])):
            place = f"better[{index}]"
            if isinstance(value, list | tuple):
                edge = Edge(*self.check(tuple[int, int], value, place))
            else:
                edge = self.check(Edge, value, place)
            if fault := edge_fault(edge, len(replies)):
                raise self.error(place, fault)
            better.append(edge)
        return self._prompt(), replies, tuple(better)

    def _pair(self) -> tuple[Conversation, tuple[Conversation, ...], tuple[Edge, ...]]:
        margin = self.get("margin", float, None)
        if margin is None:  # what our own rows for TRL call it
            margin = self.get("difference", float, None)
        edge = Edge(0, 1, margin=margin, weight=self.get("weight", float, 1.0))
        if fault := edge_fault(edge, 2):
            raise self.error("", fault)
        better = (edge,)
        sides = [self._side(key) for key in ("chosen", "rejected")]
        if "prompt" in self.keys:
            prompt = self._prompt()
            # Some sets repeat the prompt at the head of both sides.
            if all(len(s) > len(prompt) and s[: len(prompt)] == prompt for s in sides):
                sides = [side[len(prompt) :] for side in sides]
            return prompt, tuple(sides), better
        for key, side in zip(("chosen", "rejected"), sides, strict=True):
            if len(side) == 1 and isinstance(self.row[key], str):
                raise self.error(
                    "", f"has no prompt, and {key} is not a dialogue of Human: and Assistant: turns"
                )
            if side[-1].role != "assistant":
                raise self.error(key, "the last message must be the assistant's")
        prompt, *rest = split_shared(sides[0], sides[1])
        return prompt, tuple(rest), better

    def _side(self, key: str) -> Conversation:
        if key not in self.keys:
            raise self.error(key, "is missing")
        side = self.conversation(self.row[key], key, "assistant")
        if not side:
            raise self.error(key, "holds no message")
        if "prompt" not in self.keys and isinstance(self.row[key], str):
            return parse_turns(side[0].content) or side
        return side

    def _ranked(self) -> tuple[Conversation, tuple[Conversation, ...], tuple[Edge, ...]]:
        completions = self.get("completions", list[Any])
        replies: tuple[Conversation, ...]
        if completions and all(isinstance(each, Mapping) for each in completions):
            scores = [
                self.check(float, each.get("overall_score"), f"completions[{i}].overall_score")
                for i, each in enumerate(completions)
            ]
            texts = [
                self.text(self.check(str, each.get("response"), place), place)
                for i, each in enumerate(completions)
                for place in [f"completions[{i}].response"]
            ]
            replies = tuple((Message("assistant", text),) for text in texts)
        else:
            replies = self._list("completions")
            if "scores" in self.keys:
                scores = self.get("scores", list[float])
            else:
                scores = [-rank for rank in self.get("ranks", list[float])]
        if len(scores) != len(replies):
            raise self.error(
                "", f"has {len(replies)} completions and {len(scores)} scores or ranks"
            )
        return self._prompt(), replies, edges_of(scores)

    def _list(self, key: str) -> tuple[Conversation, ...]:
        values = self.get(key, list[Any])
        replies = tuple(
            self.conversation(value, f"{key}[{index}]", "assistant")
            for index, value in enumerate(values)
        )
        for index, reply in enumerate(replies):
            if not reply:
                raise self.error(f"{key}[{index}]", "holds no message")
        return replies

    def _prompt(self) -> Conversation:
        key = "instruction" if "prompt" not in self.keys else "prompt"
        if key not in self.keys:
            raise self.error("prompt", "is missing")
        return self.conversation(self.row[key], key, "user")


@cache
def _adapter(kind: Any) -> "TypeAdapter[Any]":
    from pydantic import ConfigDict, TypeAdapter

    if kind is Edge or kind is Message or getattr(kind, "__origin__", None) is tuple:
        return TypeAdapter(kind)
    return TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False))
