"""An artefact of comparisons -> the README.md of a data set, with the header that the hub reads.

    card_of("data", manifest, corpus, links, {"train": "train.jsonl"})  ->  Markdown

It says what a row holds, where the rows come from and under which licences, how the authors are to
be named, what was left out and why, and which biases the numbers show. What nobody stated is said
to be unstated, never guessed.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from worldpm.records import Comparison
from worldpm.report.corpus import Corpus, biases, quantiles
from worldpm.report.markdown import code, escaped, link, table

# What the hub calls a licence; another one is `other` with its own name.
_HUB_LICENSES = {
    "apache-2.0": "apache-2.0",
    "mit": "mit",
    "cc-by-4.0": "cc-by-4.0",
    "cc by 4.0": "cc-by-4.0",
    "cc by-sa 2.5": "cc-by-sa-2.5",
    "cc by-sa 3.0": "cc-by-sa-3.0",
    "cc by-sa 4.0": "cc-by-sa-4.0",
}
_SIZES = ((1000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

ROW_TRL = (
    ("id, source", "text", "the comparison that the edge is of; several rows may share it"),
    ("url", "text or null", "where the question is from, with its authors"),
    ("prompt", "list of {role, content}", "what both replies answer"),
    ("chosen", "list of {role, content}", "the better reply"),
    ("rejected", "list of {role, content}", "the worse reply"),
    (
        "difference",
        "number or null",
        "how far apart they are, in the source's own units; not a reward margin",
    ),
    ("weight", "number", "what multiplies the edge's loss; TRL does not"),
)
ROW_OWN = (
    ("id, source", "text", "the key of a row is both: ids are unique within a source"),
    ("subset", "text or null", "a part of the source, as its authors name it"),
    ("prompt", "list of {role, content}", "what all the replies answer"),
    ("replies", "list of lists of {role, content}", "two or more replies"),
    ("better", "list of {winner, loser, margin, weight}", "which reply is known to beat which; a "
     "tie is no edge; the margin is in the source's own units"),
    ("meta", "JSON", "links, authors, licence, votes and ratings of each reply"),
)  # fmt: skip


# The columns' types for `datasets`, which would guess them split by split from JSON lines, and
# differently where a column is null all through one of them. Parquet has its own types.
_MESSAGES = """
    - name: role
      dtype: string
    - name: content
      dtype: string"""
_INNER = _MESSAGES.replace("\n", "\n  ")
_TYPES_TRL = f"""\
dataset_info:
  features:
  - name: id
    dtype: string
  - name: source
    dtype: string
  - name: url
    dtype: string
  - name: prompt
    list:{_MESSAGES}
  - name: chosen
    list:{_MESSAGES}
  - name: rejected
    list:{_MESSAGES}
  - name: difference
    dtype: float64
  - name: weight
    dtype: float64"""
_TYPES_OWN = f"""\
dataset_info:
  features:
  - name: id
    dtype: string
  - name: source
    dtype: string
  - name: subset
    dtype: string
  - name: prompt
    list:{_MESSAGES}
  - name: replies
    list:
      list:{_INNER}
  - name: better
    list:
    - name: winner
      dtype: int32
    - name: loser
      dtype: int32
    - name: margin
      dtype: float64
    - name: weight
      dtype: float64
  - name: meta
    dtype: json"""
# What an export writes: the columns for people, and their types for the hub.
FORMS: dict[str, tuple[Sequence[tuple[str, str, str]], str]] = {
    "parquet": (ROW_OWN, ""),
    "jsonl": (ROW_OWN, _TYPES_OWN),
    "trl": (ROW_TRL, _TYPES_TRL),
}


def links_of(comparisons: Iterable[Comparison], most: int = 10) -> list[tuple[str, str]]:
    """(link, author) of the first comparisons of each source that have a link, at most `most`."""
    by_source: dict[str, list[tuple[str, str]]] = {}
    for comparison in comparisons:
        known = by_source.setdefault(comparison.source, [])
        url = comparison.meta.get("url")
        if isinstance(url, str) and len(known) < most:
            author = comparison.meta.get("author")
            known.append((url, author if isinstance(author, str) else "not named"))
    # In turn from each source, so that a small one is seen beside a large one.
    turns = [
        known[place] for place in range(most) for known in by_source.values() if place < len(known)
    ]
    return turns[:most]


def card_of(
    name: str,
    manifest: Mapping[str, Any],
    corpus: Corpus,
    links: Sequence[tuple[str, str]],
    files: Mapping[str, str],
    form: str = "parquet",
    rows: Mapping[str, int] | None = None,
) -> str:
    """The card in Markdown; `files` are the data files' patterns by split, beside the card.

    `form` is one of `FORMS`; `rows` are those of each split's file, where they are not comparisons.
    `corpus` and `links` may be of a sample: the counts of rows are the manifest's.
    """
    row, types = FORMS[form]
    counts = manifest.get("counts", {})
    rows = rows or counts
    licenses = _licenses(manifest, corpus)
    parts = [
        _header(name, sum(rows.values()), licenses, files, types),
        f"# {escaped(name)}",
        "Preference comparisons: a prompt, its replies, and which reply is known to beat which. "
        f"{sum(counts.values()):,} comparisons, made by `worldpm` "
        f"{manifest.get('versions', {}).get('worldpm', '')}".rstrip()
        + ".",
        "## Rows",
        table(("column", "form", "what"), row),
        "## Counts",
        table(
            ("split", "comparisons", "rows"),
            [(split, f"{n:,}", f"{rows.get(split, 0):,}") for split, n in sorted(counts.items())],
        ),
        _sources(manifest, corpus),
        "## Licence and attribution",
        _attribution(manifest, licenses, links),
        "## How it was made",
        _making(manifest),
        "## What was left out",
        _dropped(manifest),
        "## Known biases",
        _biases(corpus),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _header(
    name: str, rows: int, licenses: Sequence[str], files: Mapping[str, str], types: str
) -> str:
    """The YAML block at the top; texts are written as JSON strings, which YAML reads."""
    import orjson

    def quoted(text: str) -> str:
        return orjson.dumps(text).decode()

    known = {_HUB_LICENSES.get(each.lower()) for each in licenses}
    lines = ["---", f"pretty_name: {quoted(name)}"]
    if len(known) == 1 and None not in known:
        lines.append(f"license: {known.pop()}")
    else:
        lines += ["license: other", f"license_name: {quoted(', '.join(licenses) or 'unstated')}"]
    lines += [
        "tags:", "- preference", "- reward-model", "- human-feedback",
        "size_categories:",
        f"- {next((label for bound, label in _SIZES if rows < bound), 'n>1M')}",
        "configs:", "- config_name: default", "  data_files:",
    ]  # fmt: skip
    for split, pattern in files.items():
        lines += [f"  - split: {quoted(split)}", f"    path: {quoted(pattern)}"]
    return "\n".join([*lines, *filter(None, [types]), "---"])


def _licenses(manifest: Mapping[str, Any], corpus: Corpus) -> list[str]:
    """The licences that rows state, else the published set's."""
    stated = manifest.get("published", {}).get("license")
    return sorted(corpus.licenses) or ([stated] if stated else [])


def _sources(manifest: Mapping[str, Any], corpus: Corpus) -> str:
    """Comparisons by source and split; replies and edges are told where the whole set was read."""
    by_source = manifest.get("sources") or {
        source: {"comparisons": counts["comparisons"]} for source, counts in corpus.sources.items()
    }
    splits = sorted({split for counts in by_source.values() for split in counts})
    rows = [
        (escaped(source), *(f"{counts.get(split, 0):,}" for split in splits))
        for source, counts in sorted(by_source.items())
    ]
    return table(("source", *splits), rows)


def _attribution(
    manifest: Mapping[str, Any], licenses: Sequence[str], links: Sequence[tuple[str, str]]
) -> str:
    published = manifest.get("published", {})
    lines = []
    if published.get("url"):
        lines.append(f"Made from the published set `{published['set']}`: {published['url']}.")
    if licenses:
        lines.append(f"The rows are under {', '.join(map(escaped, licenses))}.")
    else:
        lines.append("No licence is stated by the sources: ask before you pass the rows on.")
    if links:
        lines += [
            "Whoever shows or passes on a text names its author and links to the post it is from, "
            "and keeps the licence. In our own rows `meta` holds `url`, `author` and `license` of "
            "the question and `posts` those of each reply; rows for TRL hold the `url` of the "
            "question. Some of the questions:",
            "\n".join(f"- <{link(url)}> by {escaped(author)}" for url, author in links),
        ]
    return "\n\n".join(lines)


def _making(manifest: Mapping[str, Any]) -> str:
    rows = [(code(key), code(str(value))) for key, value in _flat(manifest)]
    inputs = [
        (escaped(str(each.get("path"))), f"{each.get('bytes', 0):,}", str(each.get("sha256"))[:16])
        for each in manifest.get("inputs", [])[:20]
    ]
    return "\n\n".join(
        [
            table(("setting", "value"), rows),
            table(("read", "bytes", "SHA-256 begins"), inputs),
        ]
    )


def _flat(manifest: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    waiting = [("", manifest.get("settings", {}))]
    while waiting:
        prefix, values = waiting.pop()
        for key, value in values.items():
            if isinstance(value, Mapping) and value:
                waiting.append((f"{prefix}{key}.", value))
            else:
                yield f"{prefix}{key}", value


def _dropped(manifest: Mapping[str, Any]) -> str:
    dropped = manifest.get("dropped", {})
    if not dropped:
        return "Nothing."
    rows = [(code(reason), f"{count:,}") for reason, count in sorted(dropped.items())]
    return table(("reason", "count"), rows)


_BIASES = {
    "longer_reply_wins": "the longer reply wins {share:.1%} of the edges between replies of "
    "different lengths: a model can score well by counting characters",
    "earlier_reply_wins": "the earlier reply wins {share:.1%} of the edges between dated replies: "
    "who comes first is seen longer and gathers more votes",
    "first_place_wins": "the reply that stands first in the row wins {share:.1%} of the edges: do "
    "not let the place be seen",
}


def _biases(corpus: Corpus) -> str:
    lines = [f"- {_BIASES[name].format(share=share)};" for name, share in biases(corpus).items()]
    if corpus.lengths:
        low, _, middle, _, high = quantiles(corpus.lengths)
        lines.append(
            f"- half of the replies have at most {middle:,} characters, nine in ten between "
            f"{low:,} and {high:,};"
        )
    lines.append(
        "- what is preferred is what the people of these sources preferred, by what they saw: no "
        "claim that it is true, safe or fair."
    )
    return "\n".join(lines)
