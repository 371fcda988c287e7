"""`show --why ID`: what became of a thread, a post or a row, and why it is in no comparison.

    worldpm show data --why 1234          worldpm show threads --why ai.stackexchange.com:1234

It looks among the comparisons and the posts they keep, in the ledger of what was left out, and in
the threads: those of the folder itself, or those beside it that the comparisons were made from.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from worldpm.errors import DataError
from worldpm.ledger import read_ledger
from worldpm.records import Comparison, Thread
from worldpm.report.corpus import of_each_reply
from worldpm.schema import READERS
from worldpm.store import MANIFEST, UNREADABLE, file_sha256, part_files, read_manifest


def explain(folder: Path, wanted: str) -> list[dict[str, Any]]:
    """What is known of `wanted`, an id or SOURCE:ID: objects of where, source, id and what.

    Raises DataError if nothing is known of it.
    """
    manifest = read_manifest(folder)
    threads = [folder] if manifest.get("kind") == "threads" else _threads_of(folder, manifest)
    found: list[dict[str, Any]] = []
    if manifest.get("kind") == "comparisons":
        found += _among_comparisons(folder, manifest, wanted)
    for each in dict.fromkeys([folder, *threads]):
        found += _in_ledger(each, wanted)
    known = {(each["source"], each["id"]) for each in found}
    for each in threads:
        for path, thread in _threads_with(each, wanted):
            name = wanted.removeprefix(f"{thread.source}:")
            if (thread.source, name) not in known:
                left_out = next(_in_ledger(folder, f"{thread.source}:{thread.id}"), None)
                found.append(_of_thread(thread, path, manifest, name, left_out))
    if not found:
        looked = ", ".join(str(each) for each in dict.fromkeys([folder, *threads]))
        raise DataError(
            f"{wanted}: nothing is known of it in {looked}; give the id of a thread, a post or a "
            "row, or SOURCE:ID. What a reader dropped of a dump is counted by reason in the "
            "manifest of the threads"
        )
    return found


def _is(wanted: str, source: str, name: object) -> bool:
    return name is not None and wanted in (str(name), f"{source}:{name}")


def _finding(where: Path, source: str, name: str, what: str) -> dict[str, Any]:
    return {"where": str(where), "source": source, "id": name, "what": what}


# --- the comparisons -----------------------------------------------------------------------------


def _among_comparisons(
    folder: Path, manifest: Mapping[str, Any], wanted: str
) -> Iterator[dict[str, Any]]:
    for part in sorted(manifest["counts"]):
        for path in part_files(folder, part):
            for row in _rows(path, ["id", "source", "meta"]):
                hit = _is(wanted, row["source"], row["id"])
                name = wanted.removeprefix(f"{row['source']}:")
                # Before its JSON is read: whether the id can be in it at all.
                if hit or f'"{wanted}"' in row["meta"] or f'"{name}"' in row["meta"]:
                    yield from _of_comparison(_record(path, Comparison, row), part, path, wanted)


def _of_comparison(
    comparison: Comparison, part: str, path: Path, wanted: str
) -> Iterator[dict[str, Any]]:
    source, known = comparison.source, of_each_reply(comparison)
    if _is(wanted, source, comparison.id):
        yield _finding(
            path, source, comparison.id,
            f"is a comparison of {part}: {len(comparison.replies)} replies, "
            f"{len(comparison.better)} edges",
        )  # fmt: skip
    for index, reply in enumerate(known):
        if _is(wanted, source, reply.get("id")):
            won = sum(edge.winner == index for edge in comparison.better)
            lost = sum(edge.loser == index for edge in comparison.better)
            end = f"it beats {won} and is beaten by {lost} of the {len(known) - 1} others"
            if not won + lost:
                end = "no edge is known between it and another"
            votes = "" if reply.get("votes") is None else f", with {reply['votes']} votes"
            yield _finding(
                path, source, str(reply["id"]),
                f"is reply {index} of comparison {comparison.id} of {part}{votes}: {end}",
            )  # fmt: skip
    above = comparison.meta.get("prompt_posts")
    for post in above if isinstance(above, list) else []:
        if isinstance(post, Mapping) and _is(wanted, source, post.get("id")):
            yield _finding(
                path, source, str(post["id"]),
                f"is part of the prompt of comparison {comparison.id} of {part}",
            )  # fmt: skip


# --- what was left out ---------------------------------------------------------------------------


def _in_ledger(folder: Path, wanted: str) -> Iterator[dict[str, Any]]:
    # SOURCE:ID, where either may hold a colon: the id is all of it, or what follows one of them.
    ids = [wanted, *(wanted[place + 1 :] for place, c in enumerate(wanted) if c == ":")]
    for path, lost in read_ledger(folder, ids):
        if _is(wanted, lost.source, lost.id):
            detail = f" ({lost.detail})" if lost.detail else ""
            what = f"was left out: {lost.reason}{detail}"
            yield {**_finding(path, lost.source, lost.id, what), "reason": lost.reason}


# --- the threads ---------------------------------------------------------------------------------


def _threads_of(folder: Path, manifest: Mapping[str, Any]) -> list[Path]:
    """The folders of threads beside this one from which it was made, by their manifests' hash."""
    hashes = {each.get("sha256") for each in manifest.get("inputs", [])}
    beside = sorted(folder.resolve().parent.glob(f"*/{MANIFEST}"))
    return [path.parent for path in beside if file_sha256(path) in hashes]


def _threads_with(folder: Path, wanted: str) -> Iterator[tuple[Path, Thread]]:
    """Each thread of that id or with a post of it, and its file."""
    for part in sorted(read_manifest(folder)["counts"]):
        for path in part_files(folder, part):
            for row in _rows(path, ["id", "source", "posts.list.element.id"]):
                ids = {post["id"] for post in row["posts"]} | {row["id"]}
                if wanted in ids or wanted.removeprefix(f"{row['source']}:") in ids:
                    yield path, _record(path, Thread, row)


def _of_thread(
    thread: Thread,
    path: Path,
    manifest: Mapping[str, Any],
    name: str,
    left_out: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What became of the thread or its post `name`: by the ledger if the thread is in it.

    Else what `worldpm pairs` makes of the thread with the settings of the comparisons at hand;
    those that need a first pass over all threads are left at their defaults.
    """
    from pydantic import ValidationError

    from worldpm.pairs.sample import compare
    from worldpm.pairs.settings import PairSettings
    from worldpm.pairs.survey import Findings, needs_survey

    if left_out is not None:
        what = f"is a post of thread {thread.id}, which {left_out['what']}"
        return {**_finding(path, thread.source, name, what), "reason": left_out["reason"]}
    known = set(PairSettings.model_fields)
    values = {k: v for k, v in manifest.get("settings", {}).items() if k in known}
    try:
        settings = PairSettings.model_validate(values)
    except ValidationError as error:
        raise DataError(
            "the settings in the manifest are not those of this version: "
            f"{error.errors()[0]['msg']}"
        ) from None
    found = manifest.get("findings") or {}
    if needs_survey(settings) and not found:
        defaults = PairSettings()
        settings = settings.model_copy(
            update={"exposure": defaults.exposure, "topics": defaults.topics}
        )
    reasons: list[str] = []
    comparison = compare(thread, settings, reasons.append, Findings.from_dict(found))
    post = next((post for post in thread.posts if post.id == name), None)
    answers = [answer.id for answer in thread.answers]
    is_reply = post is not None and post.id != thread.question.id and name != thread.id
    subject = f"is a post of thread {thread.id}, which" if is_reply else "is a thread that"
    scores = ", ".join(str(answer.score) for answer in thread.answers) or "none"
    if comparison is None:
        what = f"{subject} makes no comparison: {reasons[0]} (scores of its answers: {scores})"
    elif is_reply and post not in thread.prompt and name not in answers:
        what = f"{subject} it does not answer: it replies to post {post.parent if post else '?'}"
    elif is_reply and name in answers and name not in _kept(comparison):
        what = (
            f"{subject} has {len(answers)} answers, of which {len(comparison.replies)} are kept "
            "(max_replies, pairs_per_thread and the like), this one not"
        )
    else:
        what = f"{subject} makes a comparison of {len(comparison.replies)} replies"
    finding = _finding(path, thread.source, name, what)
    return {**finding, "reason": reasons[0]} if comparison is None else finding


def _kept(comparison: Comparison) -> set[str]:
    return {str(reply.get("id")) for reply in of_each_reply(comparison)}


# --- files ---------------------------------------------------------------------------------------


def _rows(path: Path, columns: list[str] | None) -> Iterator[dict[str, Any]]:
    """Rows of some columns, and of each the place of the whole row: its group, its number there."""
    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                rows = file.read_row_group(group, columns=columns).to_pylist()
                for number, row in enumerate(rows):
                    yield {**row, "_place": (group, number)}
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as Parquet: {error}") from None


def _record(path: Path, kind: type[Comparison] | type[Thread], row: Mapping[str, Any]) -> Any:
    """The whole record of a row of which some columns were read."""
    group, number = row["_place"]
    try:
        with pq.ParquetFile(path) as file:
            whole = file.read_row_group(group).slice(number, 1).to_pylist()[0]
        return READERS[kind](whole)
    except (*UNREADABLE, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path}: row {number + 1} of group {group}: {error}") from None
