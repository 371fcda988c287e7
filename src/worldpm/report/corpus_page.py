"""A set of comparisons -> one HTML page about it, whole in itself: no network, no script.

    corpus_page("data", manifest, corpus, samples)  ->  "<!doctype html>..."

Texts of others are escaped and cut, so that the page stays small and nothing in it runs. Its
colours follow the reader's choice of light or dark.
"""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import zip_longest
from typing import Any

from worldpm.records import Comparison, Conversation
from worldpm.report import svg
from worldpm.report.corpus import BIASES, Corpus, biases, octave, octaves, quantiles

MOST_SOURCES, MOST_CHARACTERS = 40, 1500

_STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1e; --soft: #6a6a70; --line: #d8d8de; --back: #fff;
  --blue: #0072b2 }
@media (prefers-color-scheme: dark) { :root { --ink: #ececf0; --soft: #9a9aa2; --line: #3a3a40;
  --back: #17171a; --blue: #56b4e9 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back);
  max-width: 46rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: 0 }
h2 { font-size: 1.1rem; margin: 2.2rem 0 .3rem }
p { margin: .3rem 0 }
.soft { color: var(--soft) }
svg { width: 100%; height: auto; margin: .6rem 0 }
text { font: 12px system-ui, sans-serif; fill: var(--ink) }
.l { text-anchor: end }
.m { text-anchor: middle }
.b { fill: var(--blue) }
.q { fill: var(--blue); opacity: .35 }
.d { stroke: var(--blue); stroke-width: 3 }
.h { stroke: var(--line) }
.t { stroke: var(--line); stroke-width: 2 }
table { border-collapse: collapse; width: 100%; font-size: .9rem }
td { padding: .15rem .6rem .15rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  overflow-wrap: anywhere }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font: inherit; font-size: .9rem;
  border-left: 3px solid var(--line); padding-left: .8rem; margin: .4rem 0 }
.won { border-color: var(--blue) }
"""


def corpus_page(
    name: str, manifest: Mapping[str, Any], corpus: Corpus, samples: Sequence[Comparison]
) -> str:
    """The page; `corpus` may be of a sample, whose size it states beside the whole count."""
    counts = manifest.get("counts", {})
    total, read = sum(counts.values()), corpus.num("comparisons")
    parts = [
        f"<h1>{escape(name)}</h1>",
        f'<p class="soft">{total:,} comparisons, made {escape(str(manifest.get("created", "")))} '
        f"by worldpm {escape(str(manifest.get('versions', {}).get('worldpm', '?')))}. "
        + (
            f"Distributions are of a sample of {read:,} comparisons."
            if read < total
            else "Distributions are of all of them."
        )
        + "</p>",
        _section("Splits", svg.bars(counts, "comparisons")),
        _sources(manifest, corpus),
        _section(
            "How far apart",
            svg.columns(octaves(corpus.margins), "edges") if corpus.margins else "",
            "The margin of an edge: the difference in the source's own units, votes or ratings.",
        ),
        _section(
            "Replies of a comparison",
            svg.columns(
                {str(size): count for size, count in sorted(corpus.replies_each.items())},
                "comparisons",
            ),
        ),
        _section("Characters of a reply", svg.columns(octaves(corpus.lengths), "replies")),
        _votes(corpus),
        _longer(corpus),
        _section(
            "When", svg.columns(dict(sorted(corpus.years.items())), "comparisons") if corpus.years
            else "", "The year of the question, or of the first reply with a date.",
        ),
        _dropped(manifest),
        _settings(manifest),
        "<h2>Samples</h2>" if samples else "",
        *map(_sample, samples),
    ]  # fmt: skip
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">"
        f"<title>{escape(name)}</title><style>{_STYLE}</style></head><body>{''.join(parts)}"
        "</body></html>\n"
    )


def _section(title: str, chart: str, words: str = "") -> str:
    if not chart:
        return ""
    note = f'<p class="soft">{escape(words)}</p>' if words else ""
    return f"<h2>{escape(title)}</h2>{note}{chart}"


def _sources(manifest: Mapping[str, Any], corpus: Corpus) -> str:
    """Comparisons by source: exact where the manifest has them, else of what was read."""
    splits = manifest.get("counts", {})
    found = {
        source: sum(counts.get(split, 0) for split in splits)
        for source, counts in (manifest.get("sources") or {}).items()
    } or {source: counts["comparisons"] for source, counts in corpus.sources.items()}
    ranked = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    shown = dict(ranked[:MOST_SOURCES])
    if rest := ranked[MOST_SOURCES:]:
        shown[f"{len(rest)} more"] = sum(count for _, count in rest)
    return _section("Comparisons by source", svg.bars(shown, "comparisons"))


def _votes(corpus: Corpus) -> str:
    """Votes against length: the quartiles in each octave that holds at least ten replies."""
    groups = {
        octave(bits): quantiles(counts, (0.25, 0.5, 0.75))
        for bits, counts in sorted(corpus.votes_by_length.items())
        if sum(counts.values()) >= 10
    }
    words = "Net votes of the replies of each length: the median, and the middle half."
    return _section("Length and votes", svg.bands(groups, "votes") if groups else "", words)


def _longer(corpus: Corpus) -> str:
    """How often the longer reply wins, and whatever else wins but quality."""
    found = {}
    bounds = sorted(corpus.longer_wins)
    for least, below in zip_longest(bounds, bounds[1:]):
        counts = corpus.longer_wins[least]
        if total := sum(counts.values()):
            label = (
                f"{least:g} times as long or more" if below is None else f"{least:g}-{below:g} x"
            )
            found[label] = (counts[True] / total, total)
    chart = svg.shares(found, "edges") if found else ""
    words = "; ".join(f"{BIASES[name]} {share:.1%}" for name, share in biases(corpus).items())
    note = f"By how many times the longer reply is as long. Over all edges: {words}."
    return _section("Does the longer reply win?", chart, note)


def _dropped(manifest: Mapping[str, Any]) -> str:
    dropped = manifest.get("dropped", {})
    ranked = dict(sorted(dropped.items(), key=lambda item: -item[1]))
    chart = svg.bars(ranked, "left out") if ranked else '<p class="soft">Nothing.</p>'
    return _section("What was left out, by reason", chart)


def _settings(manifest: Mapping[str, Any]) -> str:
    rows = [
        f"<tr><td>{escape(str(key))}</td><td>{escape(str(value))}</td></tr>"
        for key, value in manifest.get("settings", {}).items()
    ]
    rows += [
        f"<tr><td>read</td><td>{escape(str(each.get('path')))}, "
        f"SHA-256 {escape(str(each.get('sha256'))[:16])}...</td></tr>"
        for each in manifest.get("inputs", [])[:50]
    ]
    return f"<h2>How it was made</h2><table>{''.join(rows)}</table>" if rows else ""


def _sample(comparison: Comparison) -> str:
    winners = {e.winner for e in comparison.better} - {e.loser for e in comparison.better}
    replies = "".join(
        f"<pre{' class=won' if index in winners else ''}>{_text(reply)}</pre>"
        for index, reply in enumerate(comparison.replies[:4])
    )
    return (
        f'<h3>{escape(comparison.source)} {escape(comparison.id)}</h3><pre class="soft">'
        f"{_text(comparison.prompt)}</pre>{replies}"
    )


def _text(conversation: Conversation) -> str:
    text = "\n\n".join(message.content for message in conversation)
    return escape(text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + " …")
