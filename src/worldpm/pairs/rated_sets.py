"""Published sets that rate each answer by itself, or each pair by how much better one is.

    read_helpsteer2(Path("HelpSteer2"), drop, rating="correctness")  ->  Comparison, ...

HelpSteer2, its preference file, and UltraFeedback. The rating that decides is a choice; all the
ratings of reply i stand in `meta["replies"][i]["ratings"]`, which is what a regression head needs;
for that, `keep_ties` also keeps what the deciding rating leaves equal.
Readers are as in `dialogue_sets`.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from worldpm.errors import DataError
from worldpm.pairs import files
from worldpm.records import Comparison
from worldpm.rows import HELPSTEER2_RATINGS, edges_of, helpsteer_turns

Drop = Callable[[str], None]

_ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")
ULTRAFEEDBACK_RATINGS = ("overall_score", "fine-grained_score", *_ASPECTS)


def read_helpsteer2(
    path: Path, drop: Drop, rating: str = HELPSTEER2_RATINGS[0], *, keep_ties: bool = False
) -> Iterator[Comparison]:
    """HelpSteer2 (Wang et al. 2024), `{train,validation}.jsonl.gz`: two rows a prompt.

    Each row is an answer with five ratings from 0 to 4; of two neighbours with one prompt, the
    higher `rating` wins and equal ones are a tie. WorldPM fine-tunes on helpfulness, some 7,000
    pairs (section 4.1). The file's split is the subset.
    """
    waiting: tuple[str, str, dict[str, float]] | None = None
    for file, number, row in files.rows(path, "jsonl", "jsonl.gz"):
        if path.is_dir() and not file.name.startswith(("train.", "validation.")):
            continue  # the same answers again, as preferences and as single annotators
        where = f"{file}:{number}"
        if "preference_strength" in row:
            raise DataError(f"{where}: a preference; import the file as helpsteer2-preference")
        prompt, text = files.text(row, "prompt", where), files.text(row, "response", where)
        files.number(row, rating, where)
        known = [name for name in HELPSTEER2_RATINGS if name in row]
        ratings = {name: files.number(row, name, where) for name in known}
        if waiting is None or waiting[0] != prompt:
            if waiting is not None:
                drop("only_one_answer")
            waiting = (prompt, text, ratings)
            continue
        (_, first, before), waiting = waiting, None
        better = edges_of([before[rating], ratings[rating]])
        if not better and not keep_ties:
            drop("all_scores_equal")
            continue
        split = file.name.split(".")[0]
        yield Comparison(
            id=f"{split}/{number}",
            source="helpsteer2",
            subset=split if split in ("train", "validation") else None,
            prompt=helpsteer_turns(prompt),
            replies=files.answers([first, text]),
            better=better,
            meta={"replies": [{"ratings": before}, {"ratings": ratings}]},
        )
    if waiting is not None:
        drop("only_one_answer")


def read_helpsteer2_preference(path: Path, drop: Drop) -> Iterator[Comparison]:
    """HelpSteer2-Preference (Wang et al. 2025), `preference.jsonl.gz`: a row a pair.

    `preference_strength` runs from -3 (the first response is much better) to 3 (the second is); 0
    is a tie. Its size is the margin, the row's `split` the subset.
    """
    found = files.find(path, "jsonl.gz", "jsonl")
    if path.is_dir():
        found = [file for file in found if file.name.startswith("preference.")]
    if len(found) != 1:
        listed = ", ".join(map(str, found)) or "none"
        raise DataError(f"{path}: must hold one preference.jsonl.gz, but there is {listed}")
    for file, number, row in files.rows_in(found):
        where = f"{file}:{number}"
        prompt = files.text(row, "prompt", where)
        strength = files.number(row, "preference_strength", where)
        if not -3 <= strength <= 3:
            raise DataError(f"{where}: preference_strength must be from -3 to 3, not {strength:g}")
        texts = [files.text(row, f"response_{side}", where) for side in (1, 2)]
        if not strength:
            drop("all_scores_equal")
            continue
        yield Comparison(
            id=f"preference/{number}",
            source="helpsteer2-preference",
            subset=files.optional_text(row, "split", where),
            prompt=helpsteer_turns(prompt),
            replies=files.answers(texts),
            better=edges_of([0.0, strength]),
        )


def read_ultrafeedback(
    path: Path, drop: Drop, rating: str = ULTRAFEEDBACK_RATINGS[0], *, keep_ties: bool = False
) -> Iterator[Comparison]:
    """UltraFeedback (Cui et al. 2023), `{evol_instruct,flan,...}.jsonl`: four rated completions.

    One comparison of K replies with an edge where `rating` differs: `overall_score`,
    `fine-grained_score` (the mean of the aspects), or one of the four aspects, where N/A is
    unknown and makes no edge. WorldPM makes two pairs that share no reply of each prompt (section
    4.1): the setting `disjoint_pairs` of an import. The system prompt differs between the
    completions of a row, so it is no part of the prompt.
    """
    for file, number, row in files.rows(path, "jsonl", "parquet"):
        where, completions = f"{file}:{number}", row.get("completions")
        if not isinstance(completions, list) or not all(
            isinstance(completion, Mapping) for completion in completions
        ):
            raise DataError(f"{where}: completions must be a list of objects")
        if len(completions) < 2:
            drop("only_one_answer")
            continue
        places = [f"{where}: completions[{index}]" for index in range(len(completions))]
        texts = [
            files.text(completion, "response", place)
            for completion, place in zip(completions, places, strict=True)
        ]
        ratings = [
            _ultrafeedback_ratings(completion, place, rating)
            for completion, place in zip(completions, places, strict=True)
        ]
        # An unknown rating is NaN, which differs from nothing by more than 0: no edge.
        better = edges_of([known.get(rating, math.nan) for known in ratings])
        if not better and not keep_ties:
            drop("all_scores_equal")
            continue
        yield Comparison(
            id=f"{file.stem}/{number}",
            source="ultrafeedback",
            subset=files.optional_text(row, "source", where),
            prompt=files.user_turn(files.text(row, "instruction", where)),
            replies=files.answers(texts),
            better=better,
            meta={
                "replies": [
                    {
                        "model": completion.get("model"),
                        "principle": completion.get("principle"),
                        "ratings": known,
                    }
                    for completion, known in zip(completions, ratings, strict=True)
                ]
            },
        )


def _ultrafeedback_ratings(
    completion: Mapping[str, Any], where: str, rating: str
) -> dict[str, float]:
    """The ratings that a completion has; the one that decides must be there unless an aspect."""
    found = {
        name: files.number(completion, name, where)
        for name in ULTRAFEEDBACK_RATINGS[:2]
        if name == rating or completion.get(name) is not None
    }
    annotations = completion.get("annotations")
    for aspect in _ASPECTS:
        judged = annotations.get(aspect) if isinstance(annotations, Mapping) else None
        value = judged.get("Rating") if isinstance(judged, Mapping) else None
        if value not in (None, "N/A"):
            try:
                found[aspect] = float(value)
            except (TypeError, ValueError):
                found[aspect] = math.nan
            if not math.isfinite(found[aspect]):
                shown = repr(value)[:40]
                raise DataError(
                    f"{where}: annotations.{aspect}.Rating must be a number or N/A, not {shown}"
                )
    return found
