"""Published sets that rank or compare several answers to one prompt.

    read_oasst(Path("2023-04-12_oasst_ready.trees.jsonl.gz"), drop)  ->  Comparison, ...

QA-Feedback, UKPConvArg1, OpenAssistant's trees and their Chinese part. All the answers to a prompt
stay in one comparison, with an edge for each pair that is known. Readers are as in
`dialogue_sets`.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from worldpm.errors import DataError
from worldpm.pairs import files
from worldpm.records import Comparison, Conversation, Edge, Message
from worldpm.rows import edges_of

Drop = Callable[[str], None]

QA_PAIRS = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))


def read_qa_feedback(path: Path, drop: Drop) -> Iterator[Comparison]:
    """QA-Feedback (Wu et al. 2023), `{dev,train}_feedback.json`: four answers a question.

    `preference` runs over the six pairs in order: 0 a tie, 1 or 2 the winner.
    """
    for file, number, row in files.rows(path, "json"):
        where = f"{file}: row {number}"
        better = []
        preference = row.get("preference")
        if not isinstance(preference, list) or len(preference) != len(QA_PAIRS):
            raise DataError(f"{where}: preference must be a list of {len(QA_PAIRS)} numbers")
        for (first, second), winner in zip(QA_PAIRS, preference, strict=True):
            if winner not in (0, 1, 2):
                raise DataError(f"{where}: preference must hold 0, 1 or 2, not {winner!r}")
            if winner:
                better.append(Edge(first, second) if winner == 1 else Edge(second, first))
        if not better:
            drop("all_tied")
            continue
        answers = [files.text(row, f"prediction {index}", where) for index in range(1, 5)]
        yield Comparison(
            id=f"{file.stem}/{number}",
            source="qa-feedback",
            subset=None,
            prompt=files.user_turn(
                f"{files.text(row, 'question', where)}\n\n{_passages(row, where)}"
            ),
            replies=files.answers(answers),
            better=tuple(better),
        )


def _passages(row: Mapping[str, Any], where: str) -> str:
    """The passages, one a paragraph under its title; each comes as [title, sentence, ...]."""
    texts = []
    for passage in files.optional_list(row, "passages", where):
        texts_only = isinstance(passage, list) and all(isinstance(part, str) for part in passage)
        if not texts_only or not passage:
            raise DataError(f"{where}: a passage must be a list of texts")
        title, *sentences = passage
        text = " ".join(sentence.strip() for sentence in sentences)
        texts.append(text if text.startswith(title) else f"{title}\n\n{text}")
    return "\n\n".join(["Answer from these passages.", *texts]) if texts else ""


def read_ukpconvarg(path: Path, drop: Drop) -> Iterator[Comparison]:
    """UKPConvArg1 (Habernal & Gurevych 2016), a CSV a debate side: id, label, argument 1 and 2.

    One comparison a side: all its arguments, and an edge for every judged pair.
    """
    for file in files.find(path, "csv"):
        arguments: dict[str, str] = {}
        judged: list[tuple[str, str]] = []
        for number, cells in enumerate(files.tab_separated(file), 1):
            if not cells or cells[0].startswith("#"):
                continue
            ids = cells[0].split("_")
            if len(cells) != 4 or len(ids) != 2 or cells[1] not in ("a1", "a2"):
                raise DataError(f"{file}:{number}: not a row of id, a1 or a2, text, text")
            for argument, text in zip(ids, cells[2:], strict=True):
                arguments[argument] = "\n".join(
                    line.strip(" ") for line in text.split("<br/>")
                ).strip()
            judged.append((ids[0], ids[1]) if cells[1] == "a1" else (ids[1], ids[0]))
        if not judged:
            drop("no_judged_pair")
            continue
        place = {argument: index for index, argument in enumerate(arguments)}
        topic, _, side = file.stem.partition("_")
        yield Comparison(
            id=file.stem,
            source="ukpconvarg",
            subset=topic,
            prompt=files.user_turn(
                f"Debate: {_unhyphened(topic)}\nSide: {_unhyphened(side)}\n\n"
                "Give a convincing argument for this side."
            ),
            replies=files.answers(list(arguments.values())),
            better=tuple(Edge(place[winner], place[loser]) for winner, loser in judged),
            meta={"replies": [{"id": argument} for argument in arguments]},
        )


def _unhyphened(name: str) -> str:
    text = " ".join(name.replace("-", " ").split())
    return text[:1].upper() + text[1:]


def read_oasst_zh(path: Path, drop: Drop) -> Iterator[Comparison]:
    """The Chinese part of OpenAssistant as ranked answers, best first: instruction, input, output.

    `history` holds the turns before, as [user, assistant] pairs.
    """
    for file, number, row in files.rows(path, "json"):
        where = f"{file}: row {number}"
        outputs = row.get("output")
        if not isinstance(outputs, list) or not all(isinstance(text, str) for text in outputs):
            raise DataError(f"{where}: output must be a list of texts")
        if len(outputs) < 2:
            drop("only_one_answer")
            continue
        turns: list[Message] = []
        for turn in files.optional_list(row, "history", where):
            if not isinstance(turn, list) or [type(text) for text in turn] != [str, str]:
                raise DataError(f"{where}: history must hold pairs of texts")
            turns += [Message("user", turn[0]), Message("assistant", turn[1])]
        more = files.text(row, "input", where) if row.get("input") else ""
        question = "\n".join(filter(None, [files.text(row, "instruction", where), more]))
        yield Comparison(
            id=f"{file.stem}/{number}",
            source="oasst-zh",
            subset=None,
            prompt=(*turns, Message("user", question)),
            replies=files.answers(outputs),
            better=edges_of([-rank for rank in range(len(outputs))]),
        )


def read_oasst(path: Path, drop: Drop) -> Iterator[Comparison]:
    """OpenAssistant Conversations (Koepf et al. 2023), `*.trees.jsonl.gz`: ranked message trees.

    Each user's message with two or more ranked answers is a comparison, rank 0 the best; the
    messages above it are the prompt, the language is the subset. In a folder that has it, the file
    of trees ready for export is read and no other, since they all hold the same trees.
    """
    found = files.find(path, "trees.jsonl.gz", "trees.jsonl", "jsonl")
    ready = [file for file in found if "_ready.trees." in file.name]
    for file, number, tree in files.rows_in(ready or found):
        where = f"{file}:{number}"
        root = tree.get("prompt")
        if not isinstance(root, Mapping):
            raise DataError(f"{where}: prompt must be a message; is this a file of trees?")
        name = files.text(tree, "message_tree_id", where)
        waiting: list[tuple[Mapping[str, Any], Conversation]] = [(root, ())]
        while waiting:
            node, above = waiting.pop()
            thread = (*above, _oasst_message(node, where))
            below = [each for each in _oasst_replies(node, where) if not each.get("deleted")]
            waiting += [(each, thread) for each in reversed(below)]
            if thread[-1].role == "user":
                comparison = _oasst_comparison(node, thread, below, where, name)
                if isinstance(comparison, str):
                    drop(comparison)
                else:
                    yield comparison


def _oasst_comparison(
    node: Mapping[str, Any],
    prompt: Conversation,
    below: list[Mapping[str, Any]],
    where: str,
    tree: str,
) -> Comparison | str:
    """The ranked answers below a user's message, or why there is no comparison."""
    ranked = [each for each in below if each.get("rank") is not None]
    if len(below) < 2:
        return "only_one_answer" if below else "no_answer"
    if len(ranked) < 2:
        return "not_ranked"
    ranks = [files.number(each, "rank", where) for each in ranked]
    better = edges_of([-rank for rank in ranks])
    if not better:
        return "all_ranks_equal"
    return Comparison(
        id=files.text(node, "message_id", where),
        source="oasst",
        subset=files.optional_text(node, "lang", where),
        prompt=prompt,
        replies=tuple((_oasst_message(each, where),) for each in ranked),
        better=better,
        meta={
            "tree": tree,
            "replies": [
                {"id": each.get("message_id"), "rank": int(rank)}
                for each, rank in zip(ranked, ranks, strict=True)
            ],
        },
    )


def _oasst_message(node: Mapping[str, Any], where: str) -> Message:
    role = node.get("role")
    if role not in ("prompter", "assistant"):
        raise DataError(f"{where}: role must be prompter or assistant, not {role!r}")
    return Message("user" if role == "prompter" else "assistant", files.text(node, "text", where))


def _oasst_replies(node: Mapping[str, Any], where: str) -> list[Mapping[str, Any]]:
    replies = files.optional_list(node, "replies", where)
    if not all(isinstance(each, Mapping) for each in replies):
        raise DataError(f"{where}: replies must be a list of messages")
    return replies
