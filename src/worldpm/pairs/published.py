"""Published preference sets, as their authors publish them -> comparisons.

    PUBLISHED["hh-rlhf"](Path("hh-rlhf"), drop)  ->  Comparison, Comparison, ...

Each reader takes the path of the set (a file, or a folder as downloaded) and `drop(reason)`, which
it calls for every row that holds no preference. Anything that is not a row of the set is a
DataError with the file and line.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from worldpm.errors import DataError
from worldpm.pairs import files
from worldpm.records import Comparison, Conversation, Edge, Message
from worldpm.rows import comparison_from_row, edges_of, parse_turns, read_comparisons, split_shared

Drop = Callable[[str], None]


def read_hh_rlhf(path: Path, drop: Drop) -> Iterator[Comparison]:
    """Anthropic's hh-rlhf: `SUBSET/{train,test}.jsonl.gz`, two whole dialogues a row.

    What the two dialogues share is the prompt; where they part before the last turn, a reply is
    several messages.
    """
    for file, number, row in files.rows(path, "jsonl.gz", "jsonl"):
        where = f"{file}:{number}"
        chosen = parse_turns(files.text(row, "chosen", where))
        rejected = parse_turns(files.text(row, "rejected", where))
        if not chosen or not rejected:
            raise DataError(f"{where}: does not begin with a Human: or Assistant: turn")
        if chosen == rejected:
            drop("identical_replies")
        elif chosen[-1].role != "assistant" or rejected[-1].role != "assistant":
            drop("ends_with_the_user")
        else:
            prompt, *replies = split_shared(chosen, rejected)
            yield Comparison(
                id=f"{file.parent.name}/{file.name.split('.')[0]}/{number}",
                source="hh-rlhf",
                subset=file.parent.name,
                prompt=prompt,
                replies=tuple(replies),
                better=(Edge(0, 1),),
            )


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
            prompt=_user(f"{files.text(row, 'question', where)}\n\n{_passages(row, where)}"),
            replies=_replies(answers),
            better=tuple(better),
        )


def _passages(row: Mapping[str, Any], where: str) -> str:
    """The passages, one a paragraph under its title; each comes as [title, sentence, ...]."""
    texts = []
    for passage in row.get("passages") or []:
        if not isinstance(passage, list) or not all(isinstance(part, str) for part in passage):
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
                arguments[argument] = re.sub(r" *<br/> *", "\n", text).strip()
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
            prompt=_user(
                f"Debate: {_unhyphened(topic)}\nSide: {_unhyphened(side)}\n\n"
                "Give a convincing argument for this side."
            ),
            replies=_replies(list(arguments.values())),
            better=tuple(Edge(place[winner], place[loser]) for winner, loser in judged),
            meta={"arguments": list(arguments)},
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
        for turn in row.get("history") or []:
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
            replies=_replies(outputs),
            better=edges_of([-rank for rank in range(len(outputs))]),
        )


def read_tldr(path: Path, drop: Drop) -> Iterator[Comparison]:
    """Human comparisons of TL;DR summaries: prompt, response_a, response_b, label A or B."""
    for file, number, row in files.rows(path, "jsonl"):
        where = f"{file}:{number}"
        if row.get("label") not in ("A", "B"):
            raise DataError(f"{where}: label must be A or B, not {row.get('label')!r}")
        texts = [
            files.text(row, "response_a", where).strip(),
            files.text(row, "response_b", where).strip(),
        ]
        if texts[0] == texts[1]:
            drop("identical_replies")
            continue
        yield Comparison(
            id=str(row.get("id", number)),
            source="tldr",
            subset=None,
            prompt=_user(f"{files.text(row, 'prompt', where).strip()}\n\nTL;DR:"),
            replies=_replies(texts),
            better=(Edge(0, 1) if row["label"] == "A" else Edge(1, 0),),
        )


def read_ultrafeedback(path: Path, drop: Drop) -> Iterator[Comparison]:
    """UltraFeedback (Cui et al. 2023): instruction, completions with response and overall_score."""
    for file, number, row in files.rows(path, "jsonl", "parquet"):
        where, completions = f"{file}:{number}", row.get("completions")
        if not isinstance(completions, list) or not all(
            isinstance(completion, Mapping) for completion in completions
        ):
            raise DataError(f"{where}: completions must be a list of objects")
        if len(completions) < 2:
            drop("only_one_answer")
            continue
        comparison = comparison_from_row(row, where=where, default_id=f"{file.stem}/{number}")
        if not comparison.better:
            drop("all_scores_equal")
            continue
        meta = {"models": [completion.get("model") for completion in completions]}
        subset = None if row.get("source") is None else comparison.source
        yield replace(comparison, source="ultrafeedback", subset=subset, meta=meta)


def read_helpsteer2(path: Path, drop: Drop) -> Iterator[Comparison]:
    """HelpSteer2 (Wang et al. 2024): two rows a prompt with ratings, or its preference file.

    Ratings: the higher `helpfulness` wins. Preferences: `preference_strength` from -3 (the first
    response is much better) to 3 (the second is). A folder is read for its ratings; give the path
    of `preference.jsonl.gz` for the preferences.
    """
    waiting: tuple[str, str, float] | None = None
    for file, number, row in files.rows(path, "jsonl", "jsonl.gz"):
        if path.is_dir() and not file.name.startswith(("train.", "validation.")):
            continue  # the same answers again, as preferences and as single annotators
        where = f"{file}:{number}"
        prompt = files.text(row, "prompt", where)
        if "preference_strength" in row:
            texts = [files.text(row, "response_1", where), files.text(row, "response_2", where)]
            scores = [0.0, files.number(row, "preference_strength", where)]
        else:
            text, score = (
                files.text(row, "response", where),
                files.number(row, "helpfulness", where),
            )
            if waiting is None or waiting[0] != prompt:
                if waiting is not None:
                    drop("only_one_answer")
                waiting = (prompt, text, score)
                continue
            texts, scores, waiting = [waiting[1], text], [waiting[2], score], None
        better = edges_of(scores)
        if not better:
            drop("all_scores_equal")
            continue
        yield Comparison(
            id=f"{file.name.split('.')[0]}/{number}",
            source="helpsteer2",
            subset=row.get("split"),
            prompt=_helpsteer_turns(prompt),
            replies=_replies(texts),
            better=better,
        )
    if waiting is not None:
        drop("only_one_answer")


def _helpsteer_turns(prompt: str) -> Conversation:
    """A multi-turn prompt comes as `user<extra_id_1>Assistant\\n...<extra_id_1>User\\n...`."""
    first, *rest = prompt.split("<extra_id_1>")
    turns = [Message("user", first.strip())]
    for turn in rest:
        role, _, text = turn.partition("\n")
        turns.append(Message("assistant" if role == "Assistant" else "user", text.strip()))
    return tuple(turns)


def read_pairs(path: Path, drop: Drop) -> Iterator[Comparison]:
    """Rows in any of the shapes of `worldpm.rows`; those without an edge are dropped."""
    for comparison in read_comparisons(path):
        if comparison.better:
            yield comparison
        else:
            drop("no_preference")


PUBLISHED: dict[str, Callable[[Path, Drop], Iterator[Comparison]]] = {
    "hh-rlhf": read_hh_rlhf,
    "helpsteer2": read_helpsteer2,
    "oasst-zh": read_oasst_zh,
    "pairs": read_pairs,
    "qa-feedback": read_qa_feedback,
    "tldr": read_tldr,
    "ukpconvarg": read_ukpconvarg,
    "ultrafeedback": read_ultrafeedback,
}


def _user(content: str) -> Conversation:
    return (Message("user", content),)


def _replies(texts: Sequence[str]) -> tuple[Conversation, ...]:
    return tuple((Message("assistant", text),) for text in texts)
