"""Published sets of pairs: two whole dialogues, or two answers to one question, a row.

    read_hh_rlhf(Path("hh-rlhf"), drop)  ->  Comparison, Comparison, ...

hh-rlhf, RLHFlow, Skywork, SHP, TL;DR, and rows in the community's shapes. Each reader takes the
path of the set (a file, or a folder as downloaded) and `drop(reason)`, which it calls for every
row that holds no preference. Anything that is not a row of the set is a DataError with the file
and line.
"""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from worldpm.errors import DataError
from worldpm.pairs import files
from worldpm.records import Comparison, Conversation, Edge
from worldpm.rows import (
    comparison_from_row,
    parse_turns,
    read_comparisons,
    read_conversation,
    set_name,
    split_shared,
)
from worldpm.store import MANIFEST

Drop = Callable[[str], None]
RED_TEAM = "red-team-attempts"  # a list of transcripts in hh-rlhf's repository, not pairs


def read_hh_rlhf(path: Path, drop: Drop) -> Iterator[Comparison]:
    """Anthropic's hh-rlhf: `SUBSET/{train,test}.jsonl.gz`, two whole dialogues a row.

    What the two dialogues share is the prompt; where they part before the last turn, a reply is
    several messages.
    """
    found = files.find(path, "jsonl.gz", "jsonl")
    for file, number, row in files.rows_in(each for each in found if each.parent.name != RED_TEAM):
        where = f"{file}:{number}"
        chosen = parse_turns(files.text(row, "chosen", where))
        rejected = parse_turns(files.text(row, "rejected", where))
        if not chosen or not rejected:
            raise DataError(f"{where}: does not begin with a Human: or Assistant: turn")
        name = f"{file.parent.name}/{file.name.split('.')[0]}/{number}"
        yield from _pair(chosen, rejected, drop, name, "hh-rlhf", file.parent.name)


def _pair(
    chosen: Conversation,
    rejected: Conversation,
    drop: Drop,
    name: str,
    source: str,
    subset: str | None,
    meta: Mapping[str, Any] | None = None,
) -> Iterator[Comparison]:
    """The comparison of two whole dialogues, cut where they part; or none, and a drop."""
    if chosen == rejected:
        drop("identical_replies")
    elif chosen[-1].role != "assistant" or rejected[-1].role != "assistant":
        drop("ends_with_the_user")
    else:
        prompt, *replies = split_shared(chosen, rejected)
        yield Comparison(
            name, source, subset, prompt, tuple(replies), (Edge(0, 1),), dict(meta or {})
        )


def read_rlhflow(path: Path, drop: Drop) -> Iterator[Comparison]:
    """RLHFlow's mixes (Dong et al. 2024), `pair_data_v2_80K_wsafety`: some 800,000 pairs.

    Parquet rows of `chosen` and `rejected`, whole dialogues as lists of messages. Where a row has
    `chosen_score` and `rejected_score` they are kept beside the replies, not as a margin: their
    units differ from component to component.
    """
    yield from _message_pairs(path, drop, "rlhflow")


def read_skywork(path: Path, drop: Drop) -> Iterator[Comparison]:
    """Skywork-Reward-Preference-80K (Liu et al. 2024): as RLHFlow's, and `source` is the subset."""
    yield from _message_pairs(path, drop, "skywork", "source")


def _message_pairs(
    path: Path, drop: Drop, source: str, subset_key: str | None = None
) -> Iterator[Comparison]:
    for file, number, row in files.rows(path, "parquet", "jsonl", "jsonl.gz"):
        where = f"{file}:{number}"
        chosen, rejected = (_dialogue(row, key, where) for key in ("chosen", "rejected"))
        scores = [row.get("chosen_score"), row.get("rejected_score")]
        meta = {} if None in scores else {"replies": [{"score": score} for score in scores]}
        subset = None if subset_key is None else files.optional_text(row, subset_key, where)
        yield from _pair(chosen, rejected, drop, f"{file.stem}/{number}", source, subset, meta)


def _dialogue(row: Mapping[str, Any], key: str, where: str) -> Conversation:
    value = row.get(key)
    if not isinstance(value, list) or not value:
        raise DataError(f"{where}: {key} must be a list of messages")
    return read_conversation(value, key, where=where)


def read_shp(path: Path, drop: Drop) -> Iterator[Comparison]:
    """Stanford Human Preferences (Ethayarajh et al. 2022): two Reddit comments on a post.

    `SUBREDDIT/{train,validation,test}.json`, a row a line; `labels` is 1 where A is preferred, 0
    where B is. The winner is the younger of the two and has more votes all the same: a row whose
    votes say otherwise is dropped. The margin is the difference of the votes.
    """
    for file, number, row in files.rows(path, "json", "jsonl", "parquet"):
        where = f"{file}:{number}"
        label = row.get("labels")
        if isinstance(label, bool) or label not in (0, 1):
            raise DataError(f"{where}: labels must be 1 (A is preferred) or 0, not {label!r}")
        texts = [files.text(row, f"human_ref_{side}", where) for side in "AB"]
        votes = [files.number(row, f"score_{side}", where) for side in "AB"]
        winner = 0 if label == 1 else 1
        margin = votes[winner] - votes[1 - winner]
        if texts[0] == texts[1]:
            drop("identical_replies")
            continue
        if margin <= 0:
            drop("label_against_votes")
            continue
        ids = [row.get(f"c_root_id_{side}") for side in "AB"]
        domain, _, split = files.text(row, "domain", where).rpartition("_")
        subset = domain if split in ("train", "validation", "test") else row["domain"]
        yield Comparison(
            id=f"{files.text(row, 'post_id', where)}/{ids[0]}-{ids[1]}",
            source="shp",
            subset=subset,
            prompt=files.user_turn(files.text(row, "history", where)),
            replies=files.answers(texts),
            better=(Edge(winner, 1 - winner, margin=margin),),
            meta={
                "replies": [
                    {"id": name, "votes": score, "created": row.get(f"created_at_utc_{side}")}
                    for side, name, score in zip("AB", ids, votes, strict=True)
                ]
            },
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
            prompt=files.user_turn(f"{files.text(row, 'prompt', where).strip()}\n\nTL;DR:"),
            replies=files.answers(texts),
            better=(Edge(0, 1) if row["label"] == "A" else Edge(1, 0),),
        )


def read_pairs(path: Path, drop: Drop, source: str | None = None) -> Iterator[Comparison]:
    """Rows in any of the shapes of `worldpm.rows`; those without an edge are dropped.

    A file, an artefact of ours, or a folder of Parquet, JSON or JSON-lines files of any origin.
    Rows that name no source of their own are of `source`, by default the name of the path.
    """
    for comparison in _any_rows(path, source):
        if comparison.better:
            yield comparison
        else:
            drop("no_preference")


def _any_rows(path: Path, source: str | None) -> Iterator[Comparison]:
    if path.is_file() or (path / MANIFEST).is_file():
        yield from read_comparisons(path, source)
        return
    name = set_name(path) if source is None else source
    for file, number, row in files.rows(path, "parquet", "jsonl", "jsonl.gz", "json"):
        inner = file.relative_to(path).as_posix()
        yield comparison_from_row(
            row, where=f"{file}:{number}", source=name, default_id=f"{inner}/{number}"
        )
