"""What `show` says of a folder of comparisons or threads beyond its manifest: figures, page, card.

worldpm show DATA/    worldpm show DATA/ --html page.html    worldpm show DATA/ --card
"""

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from worldpm.cli.common import check_output, new_file, print_json, show_bytes
from worldpm.cli.show import print_line
from worldpm.errors import DataError
from worldpm.records import Comparison, Thread
from worldpm.store import read_manifest

MOST_FOR_A_PAGE = 200_000
SHARE_NAMES = ("5 %", "25 %", "half", "75 %", "95 %")


def figures(folder: Path, kind: str) -> dict[str, Any]:
    """Distributions of an artefact, or of a sample of it, as plain numbers."""
    from worldpm.report.corpus import biases, quantiles, sampled, summarise, summarise_threads

    if kind == "threads":
        found = summarise_threads(sampled(folder, Thread))
        return {
            "read": sum(found["answers"].values()),
            "answer_characters": quantiles(found["length"]),
            "answer_score": quantiles(found["score"]),
            "answers": quantiles(found["answers"]),
        }
    corpus = summarise(sampled(folder, Comparison))
    return {
        "read": corpus.num("comparisons"),
        "reply_characters": quantiles(corpus.lengths),
        "margin": quantiles(corpus.margins),
        "votes": quantiles(corpus.votes),
        "replies": quantiles(corpus.replies_each),
        **biases(corpus),
    }


def figure_lines(found: Mapping[str, Any], total: int) -> list[str]:
    """The figures for people, a line each; what is not known of this set is left out."""
    from worldpm.report.corpus import BIASES

    lines = []
    for name, value in found.items():
        if isinstance(value, list) and value:
            shares = ", ".join(
                f"{share} {number:,g}" for share, number in zip(SHARE_NAMES, value, strict=True)
            )
            lines.append(f"{name.replace('_', ' '):<18} {shares}")
    lines += [f"{words:<34} {found[name]:.1%}" for name, words in BIASES.items() if name in found]
    if found["read"] < total:
        lines.append(f"(of a sample of {found['read']:,})")
    return lines


def show_data(
    path: Path,
    why: str | None,
    html: Path | None,
    wants_card: bool,
    samples: int,
    *,
    as_json: bool,
    force: bool,
) -> None:
    """The views of a folder of comparisons that `show` has by an option; `--why` knows threads too.

    Raises DataError for a folder of another kind, and for two of them at once.
    """
    if [why is not None, html is not None, wants_card].count(True) > 1:
        raise DataError("--why, --html and --card each need a call of their own")
    manifest = read_manifest(path)
    kinds = ("comparisons", "threads") if why is not None else ("comparisons",)
    if manifest.get("kind") not in kinds:
        raise DataError(f"{path}: holds {manifest.get('kind')}, not {' or '.join(kinds)}")
    if why is not None:
        from worldpm.cli.why import explain

        found = explain(path, why)
        if as_json:
            print_json({"path": str(path), "id": why, "found": found})
        for each in () if as_json else found:
            print_line(f"{each['source']} {each['id']} {each['what']}")
            print_line(f"  {each['where']}")
    elif html is not None:
        check_output(html, [path], force=force)
        size = write_page(path, manifest, html, samples)
        if as_json:
            print_json({"path": str(path), "output": str(html), "bytes": size})
        else:
            print_line(f"{html}: {show_bytes(size)}")
    else:
        files = {part: f"{part}*.parquet" for part in manifest["counts"]}
        text = card(path, manifest, files)
        print_json({"path": str(path), "card": text}) if as_json else print(text, end="")


def write_page(folder: Path, manifest: Mapping[str, Any], path: Path, samples: int) -> int:
    """Write the page about a folder of comparisons; returns its bytes."""
    from worldpm.report.corpus import sampled, summarise
    from worldpm.report.corpus_page import corpus_page
    from worldpm.rows import set_name

    corpus = summarise(sampled(folder, Comparison, MOST_FOR_A_PAGE))
    chosen = list(islice(sampled(folder, Comparison, samples * 100), samples)) if samples else []
    page = corpus_page(set_name(folder), manifest, corpus, chosen).encode("utf-8", "replace")
    with new_file(path) as file:
        file.write(page)
    return len(page)


def card(
    folder: Path,
    manifest: Mapping[str, Any],
    files: Mapping[str, str],
    form: str = "parquet",
    rows: Mapping[str, int] | None = None,
) -> str:
    """The data card of a folder of comparisons; `files` are the data files by split."""
    from worldpm.report.card import card_of, links_of
    from worldpm.report.corpus import sampled, summarise
    from worldpm.rows import set_name

    corpus = summarise(sampled(folder, Comparison))
    links = links_of(sampled(folder, Comparison, 2000))
    return card_of(set_name(folder), manifest, corpus, links, files, form, rows)
