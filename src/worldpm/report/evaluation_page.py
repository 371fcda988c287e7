"""The report of a run of `eval` as JSON -> one HTML page, whole in itself: no network, no script.

    evaluation_page(report)  ->  "<!doctype html>..."       under 5 MB if its tables are

Texts of others are escaped, cut, and set apart from the page's own direction of writing. Colours
follow the reader's choice of light or dark.
"""

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from worldpm.report.evaluation_charts import Dot, Row, diagram, dots
from worldpm.report.evaluation_tables import (
    best_of_n_table,
    class_table,
    contrast_table,
    figures_tables,
    left_out_table,
    probe_table,
    style_table,
    suite_table,
)

MOST_BYTES = 5_000_000
MOST_MISTAKES, MOST_CHARACTERS = 240, 1500
Json = Mapping[str, Any]

# What a text must not do to the page: control characters other than line ends and tabs.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff]")

STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1e; --soft: #6a6a70; --line: #d8d8de; --back: #fff;
  --blue: #0072b2; --red: #c44e00; --green: #00785a }
@media (prefers-color-scheme: dark) { :root { --ink: #ececf0; --soft: #9a9aa2; --line: #3a3a40;
  --back: #17171a; --blue: #56b4e9; --red: #ee8844; --green: #3fc9a0 } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back);
  max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.5rem; margin-bottom: 0 }
h2 { font-size: 1.15rem; margin: 2.4rem 0 .3rem }
h3 { font-size: 1rem; margin: 1.2rem 0 .2rem }
p { margin: .3rem 0; max-width: 46rem }
.soft, figcaption { color: var(--soft) }
.scroll { overflow-x: auto }
svg { width: 100%; height: auto; margin: .6rem 0 }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink) }
svg .s { font-size: 11px; fill: var(--soft) }
.l { text-anchor: end } .m { text-anchor: middle }
.grid { stroke: var(--line) } .even { stroke: var(--soft); stroke-dasharray: 4 3 }
circle.model { fill: var(--blue) } .bar.model { stroke: var(--blue); stroke-width: 3; opacity: .55 }
circle.longer { fill: none; stroke: var(--soft); stroke-width: 2 }
circle.style-only { fill: var(--red) }
circle.style-only-in-sample { fill: none; stroke: var(--red); stroke-width: 2 }
circle.controlled { fill: var(--green) }
.key::before { content: "\\25cf  "; } .key { margin-right: 1.2rem; white-space: nowrap }
.key.model::before { color: var(--blue) } .key.controlled::before { color: var(--green) }
.key.style-only::before { color: var(--red) }
.key.style-only-in-sample::before { content: "\\25cb  "; color: var(--red) }
.key.longer::before { content: "\\25cb  "; color: var(--soft) }
.small { display: flex; flex-wrap: wrap; gap: 1rem } figure { margin: 0; width: 14rem }
table { border-collapse: collapse; font-size: .88rem; width: 100% }
th { text-align: left; font-weight: 600; border-bottom: 2px solid var(--line) }
td, th { padding: .2rem .7rem .2rem 0; vertical-align: top }
td:nth-child(-n+2) { min-width: 6.5rem; overflow-wrap: anywhere }
td { border-bottom: 1px solid var(--line) }
.n { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums }
.up { color: var(--green) } .down { color: var(--red) }
details { border-bottom: 1px solid var(--line); padding: .3rem 0 }
summary { cursor: pointer; overflow-wrap: anywhere }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem }
@media (max-width: 40rem) { .two { grid-template-columns: 1fr } }
pre { white-space: pre-wrap; overflow-wrap: anywhere; font: inherit; font-size: .9rem;
  margin: .4rem 0; border-left: 3px solid var(--line); padding-left: .8rem; unicode-bidi: isolate }
.right { border-color: var(--green) } .wrong { border-color: var(--red) }
"""


def evaluation_page(report: Json) -> str:
    """The page of a `report` as `worldpm eval` writes it to report.json.

    Mistakes are left out, the least bad of each set first, until it is below `MOST_BYTES`.
    """
    head = [
        f"<h1>{escape(', '.join(report['models']))}</h1>",
        _lead(report),
        _section("Classes", class_table(report["classes"]), CLASS_WORDS),
        _section("Accuracies", _forest(report), FOREST_WORDS),
        _section("Suites", suite_table(report["evaluations"]), SUITE_WORDS),
        _section("Left out", left_out_table(report.get("left_out", ())), LEFT_OUT_WORDS),
        _section("Models compared", contrast_table(report["contrasts"]), report["testing"]),
        _section("Published figures", figures_tables(report["figures"])),
        _section("Can its probabilities be believed?", _diagrams(report), DIAGRAM_WORDS),
        _section("Style", _styles(report), STYLE_WORDS),
        _section("Best of n", best_of_n_table(report["evaluations"]), BEST_WORDS),
        _section("Probes", probe_table(report["probes"]), PROBE_WORDS),
    ]
    most = MOST_MISTAKES
    while True:
        mistakes = _in_turn(report["mistakes"], most)
        page = _document(report, [*head, _mistakes(mistakes, len(report["mistakes"]))])
        if len(page.encode()) < MOST_BYTES or not mistakes:
            return page
        most = len(mistakes) // 2


def _in_turn(mistakes: Sequence[Json], most: int) -> list[Json]:
    """At most so many: the first of each set and model, then the second of each; in their order."""
    places: dict[tuple[str, str], int] = {}
    turns = []
    for index, each in enumerate(mistakes):
        key = (each["suite"], each["model"])
        places[key] = places.get(key, 0) + 1
        turns.append((places[key], index))
    return [mistakes[index] for _, index in sorted(sorted(turns)[:most], key=lambda turn: turn[1])]


CLASS_WORDS = (
    "Each suite counts once. Longer, style only and chance are what no model is needed for."
)
FOREST_WORDS = (
    "Accuracy with its 95 % interval; a tie is worth one half. The broken line is chance."
)
SUITE_WORDS = (
    "Losses in nats, 0.693 is a coin's. The fitted loss forgives the scores' unit by a factor from "
    "other prompts. p and q are of the accuracy over the longer reply's: see Models compared, or "
    "the guide, for how many tests are accounted for."
)
LEFT_OUT_WORDS = (
    "Rows that no figure above is made of: dropped where they compare nothing, undecided where "
    "neither reply is known to be better. The latter are scored all the same."
)
DIAGRAM_WORDS = (
    "Across: the modelled probability of the preferred reply. Upwards: how often it was the better "
    "one. On the broken line a probability means what it says; below it, the model boasts."
)
STYLE_WORDS = (
    "R = alpha D + beta Z is fitted to the labels from the score difference D and the differences "
    "of style Z. In sample, as the paper does, style alone is credited for what it memorised; held "
    "out, each prompt is judged by a fit on others. What counts is score and style less style "
    "alone. phi: how far the winner is the one with more of it, from -1 to 1."
)
BEST_WORDS = (
    "The mean worth of the reply kept among n drawn at random. Regret is what a perfect judge "
    "would have gained on top."
)
PROBE_WORDS = (
    "Edits that keep the meaning, and edits that flatter. Shift: the mean change of the edited "
    "reply's score. Lifted: the lower reply, edited, overtakes. Dropped: the higher one, edited, "
    "falls behind."
)


def safe_text(text: str, most: int = MOST_CHARACTERS) -> str:
    """A text of others as HTML: escaped, its control characters replaced, cut after `most`."""
    cut = text[:most] + (f" [… {len(text) - most:,} more characters]" if len(text) > most else "")
    return escape(_CONTROL.sub("\ufffd", cut.replace("\r\n", "\n")))


def _document(report: Json, parts: Sequence[str]) -> str:
    return _CONTROL.sub(
        "\ufffd",  # names of sets and models come from files too
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'; img-src data:\">"
        '<link rel="icon" href="data:,">'
        f"<title>{escape(', '.join(report['models']))}: evaluation</title>"
        f"<style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n",
    )


def _section(title: str, content: str, words: str = "") -> str:
    if not content:
        return ""
    note = f'<p class="soft">{escape(words)}</p>' if words else ""
    return f"<h2>{escape(title)}</h2>{note}{content}"


def _lead(report: Json) -> str:
    evaluations = report["evaluations"]
    suites = list(dict.fromkeys(each["suite"] for each in evaluations))
    count = sum(
        each["lines"][0]["outcome"]["num_comparisons"]
        for each in evaluations
        if each["model"] == evaluations[0]["model"]
    )
    made = f", made {report['created']}" if report.get("created") else ""
    return (
        f'<p class="soft">{count:,} comparisons of {len(suites)} sets'
        f"{escape(made)} by worldpm {escape(str(report.get('version', '?')))}.</p>"
    )


def _label(report: Json, evaluation: Json) -> str:
    if len(report["models"]) == 1:
        return str(evaluation["suite"])
    return f"{evaluation['suite']}, {evaluation['model']}"


def _keys(*names: str) -> str:
    spans = [f'<span class="key {name}">{escape(name.replace("-", " "))}</span>' for name in names]
    return f"<p>{''.join(spans)}</p>"


def _forest(report: Json) -> str:
    rows = []
    for evaluation in sorted(report["evaluations"], key=lambda each: str(each["suite"])):
        line = evaluation["lines"][0]
        outcome, floors = line["outcome"], line["floors"]
        rows.append(
            Row(
                _label(report, evaluation),
                (
                    Dot(floors["longer (characters)"]["accuracy"], "longer"),
                    Dot(floors["style only"]["accuracy"], "style-only"),
                    Dot(outcome["accuracy"], "model", outcome["accuracy_interval"]),
                ),
            )
        )
    return _keys("model", "longer", "style-only") + dots(rows, _span(rows))


def _span(rows: Sequence[Row]) -> tuple[float, float]:
    values = [end for row in rows for d in row.dots for end in (d.value, *(d.interval or ()))]
    low = int(5 * min([0.4, *values])) / 5  # so that the four steps up to 100 % are whole
    return max(0.0, low), 1.0


def _diagrams(report: Json) -> str:
    figures = []
    for evaluation in report["evaluations"]:
        line = evaluation["lines"][0]
        words = (
            f"{_label(report, evaluation)}: calibration error "
            f"{100 * line['outcome']['calibration_error']:.1f} points, best factor "
            f"{line['temperature']['factor']:.2f}"
        )
        figures.append(
            f"<figure>{diagram(line['reliability'])}<figcaption>{escape(words)}</figcaption>"
            "</figure>"
        )
    return f'<div class="small">{"".join(figures)}</div>' if figures else ""


def _styles(report: Json) -> str:
    rows = []
    for evaluation in report["evaluations"]:
        line = evaluation["lines"][0]
        style = line["style"]
        rows.append(
            Row(
                _label(report, evaluation),
                (
                    Dot(style["style_only"]["accuracy"], "style-only-in-sample"),
                    Dot(style["style_only"]["held_out_accuracy"], "style-only"),
                    Dot(style["controlled"]["held_out_accuracy"], "controlled"),
                    Dot(line["outcome"]["accuracy"], "model"),
                ),
            )
        )
    keys = _keys("model", "controlled", "style-only", "style-only-in-sample")
    return keys + dots(rows, _span(rows)) + style_table(report["evaluations"])


def _mistakes(mistakes: Sequence[Json], found: int) -> str:
    if not mistakes:
        return ""
    parts = []
    heading = None
    for each in mistakes:
        if (each["suite"], each["model"]) != heading:
            heading = (each["suite"], each["model"])
            parts.append(f"<h3>{escape(', '.join(heading))}</h3>")
        sides = "".join(
            f'<div><p class="soft">{words}</p><pre dir="auto" class="{kind}">'
            f"{safe_text(each[key])}</pre></div>"
            for key, kind, words in (
                ("better", "right", "known to be better"),
                ("worse", "wrong", "scored higher"),
            )
        )
        parts.append(
            f"<details><summary>{-each['difference']:.2f} too low: <bdi>"
            f"{safe_text(each['prompt'].strip()[:120] or each['id'])}</bdi></summary>"
            f'<p class="soft">{safe_text(each["id"])}</p>'
            f'<pre dir="auto">{safe_text(each["prompt"])}</pre><div class="two">{sides}</div>'
            "</details>"
        )
    words = "Where the better reply scored lowest against the other, in log-odds, a set at a time."
    if found > len(mistakes):
        words += f" {found - len(mistakes):,} more are in report.json."
    return _section("The worst mistakes", "".join(parts), words)
