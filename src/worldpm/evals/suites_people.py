"""Suites of people's own judgements: HHH, held-out hh-rlhf, HelpSteer2's validation rows.

hh_rlhf(Path("hh_rlhf")) -> Comparison, Dropped("ends with the user"), Comparison, ...
"""

import re
from collections.abc import Iterator
from pathlib import Path

from worldpm.errors import DataError
from worldpm.evals.rows import HelpSteerRow, HHHRow, HHRow, read_rows, read_table
from worldpm.evals.shaping import EQUAL, TIE, Dropped, assistant, heads, pair
from worldpm.records import Comparison, Conversation, Edge, Message
from worldpm.rows import (
    HELPSTEER2_RATINGS,
    cut_turns,
    edges_of,
    helpsteer_turns,
    parse_turns,
    split_shared,
)

_JUDGE_PROMPT = re.compile(
    r"###The instruction to evaluate:\n(?P<prompt>.*?)\n\n"
    r"###Response to evaluate:\n(?P<reply>.*?)\n\n###Score Rubrics:\n",
    re.DOTALL,
)


def hhh(folder: Path) -> Iterator[Comparison]:
    """HHH alignment (Askell et al. 2021), 221 pairs, cut out of the judge prompt around each.

    A dialogue inside the instruction (`\\n\\nAssistant:`, `\\n\\nHuman:`) becomes messages. The
    paper does not use the set: harmless is classed here as safety, the others as subjective.
    """
    path = folder / "hhh_alignment_eval.json"
    for index, (where, row) in enumerate(read_rows(path, HHHRow)):
        chosen = _JUDGE_PROMPT.search(row.chosen_instruction)
        rejected = _JUDGE_PROMPT.search(row.rejected_instruction)
        if chosen is None or rejected is None:
            side = "chosen" if chosen is None else "rejected"
            raise DataError(f"{where}: {side}_instruction has no instruction and response to cut")
        if chosen["prompt"] != rejected["prompt"]:
            raise DataError(f"{where}: the chosen and the rejected answer different instructions")
        yield pair(
            f"hhh/{index}",
            "hhh",
            row.source,
            _dialogue(chosen["prompt"], where),
            (chosen["reply"], rejected["reply"]),
            0,
            {"class": "safety" if row.source == "harmless" else "subjective"},
            swap=True,
        )


def _dialogue(text: str, where: str) -> Conversation:
    _, (first, *rest) = cut_turns(f"\n\nHuman:{text}")
    messages = [first]
    for turn in rest:
        if turn.role == messages[-1].role:
            raise DataError(f"{where}: two turns in a row by the {turn.role}")
        messages.append(Message(turn.role, turn.content.lstrip(" ")))
    if messages[-1].role != "user":
        raise DataError(f"{where}: the instruction ends in the assistant's turn")
    return tuple(messages)


def hh_rlhf(folder: Path) -> Iterator[Comparison | Dropped]:
    """Anthropic's hh-rlhf (Bai et al. 2022), the test splits: `SUBSET/test.jsonl.gz`, 8,552 pairs.

    What two dialogues share is the prompt; where they part before the last turn, a reply is several
    messages. Dialogues that are the same, or end in the user's turn, compare nothing and are
    dropped by that name. A model trained on helpful-base, as the embedded default is on half of it,
    must be measured on the held-out part of an import instead.
    """
    plain, zipped = (folder.glob(f"*/test.jsonl{ending}") for ending in ("", ".gz"))
    # A subset in both forms is read once.
    found = sorted({path.parent: path for path in (*plain, *zipped)}.values())
    if not found:
        raise DataError(f"{folder}: has no SUBSET/test.jsonl.gz; give hh-rlhf's own folder")
    for path in found:
        subset = path.parent.name
        for number, (where, row) in enumerate(read_table(path, HHRow), 1):
            sides = [parse_turns(row.chosen), parse_turns(row.rejected)]
            if not all(sides):
                raise DataError(f"{where}: does not begin with a Human: or Assistant: turn")
            if sides[0] == sides[1]:
                yield Dropped(EQUAL)
                continue
            if any(side[-1].role != "assistant" for side in sides):
                yield Dropped("ends with the user")
                continue
            identifier = f"hh-rlhf/{subset}/{number}"
            prompt, *replies = split_shared(*sides)
            winner = int(heads(identifier))
            yield Comparison(
                identifier,
                "hh-rlhf",
                subset,
                prompt,
                tuple(reversed(replies)) if winner else tuple(replies),
                (Edge(winner, 1 - winner),),
                {"class": "safety" if subset.startswith("harmless") else "subjective"},
            )


def helpsteer2(folder: Path) -> Iterator[Comparison | Dropped]:
    """HelpSteer2 (Wang et al. 2024), `validation.jsonl.gz`: two answers a prompt, five ratings.

    Five comparisons of the same two answers, one for each attribute, which is the subset; equal
    ratings are a tie, without an edge. An answer without a neighbour of the same prompt is dropped.
    Class subjective, as in WorldPM 3.2, whose HelpSteer2 is taken here to be helpfulness.
    """
    names = ("validation.jsonl.gz", "validation.jsonl", "validation.parquet")
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        raise DataError(f"{folder}: has no {names[0]}; give HelpSteer2's own folder")
    waiting: HelpSteerRow | None = None
    for number, (_, row) in enumerate(read_table(path, HelpSteerRow), 1):
        if waiting is None or waiting.prompt != row.prompt:
            if waiting is not None:
                yield Dropped("only one answer")
            waiting = row
            continue
        first, waiting = waiting, None
        for attribute in HELPSTEER2_RATINGS:
            better = edges_of([getattr(first, attribute), getattr(row, attribute)])
            meta = {"class": "subjective", "attribute": attribute}
            if first.response == row.response:
                better, meta = (), {**meta, "undecided": EQUAL}
            elif not better:
                meta["undecided"] = TIE
            yield Comparison(
                f"helpsteer2/{number // 2}/{attribute}",
                "helpsteer2",
                attribute,
                helpsteer_turns(row.prompt),
                (assistant(first.response), assistant(row.response)),
                better,
                meta,
            )
    if waiting is not None:
        yield Dropped("only one answer")
