"""The report of a scaling study and its figure -> one HTML page, whole in itself.

scaling_page(report, svg)   ->  "<!doctype html>..."
"""

import re
from collections.abc import Mapping
from html import escape
from typing import Any

from worldpm.report.evaluation_page import STYLE, safe_text
from worldpm.report.scaling_figures import size_text
from worldpm.report.scaling_tables import parameter_cells, trend_words

Json = Mapping[str, Any]

WORDS = (
    "Fitted by Huber's loss on log residuals. An interval holds the values whose best fit is not "
    "much worse than the best of all, where the bar comes from fits to resampled residuals; a "
    "missing end is one that these points do not settle."
)
TREND_WORDS = (
    "Trend: values exchanged among amounts of data, or whole runs turned round; flat data shows "
    "one in 5 of 100 cases."
)


def scaling_page(report: Json, svg: str) -> str:
    """The page: the figure as it is, then every law with its intervals, trend and remarks."""
    drawing = re.sub(r"^.*?(?=<svg)", "", svg, flags=re.DOTALL)
    title = f"{report['y'].replace('_', ' ')} by {report['x']}"
    parts = [
        f"<h1>{safe_text(title)}</h1>",
        f"<figure class='whole' style='width:100%;background:#fff'>{drawing}</figure>",
        f"<h2>Laws</h2><p class='soft'>{escape(WORDS)} {escape(TREND_WORDS)}</p>",
    ]
    for panel in report["panels"]:
        name = panel["suite"] or "all"
        kind = f" <span class='soft'>{safe_text(panel['class'])}</span>" if panel["class"] else ""
        parts.append(f"<h3>{safe_text(name)}{kind}</h3>{_panel(panel)}")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{safe_text(title)}</title><style>{STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def _panel(panel: Json) -> str:
    rows, remarks = [], []
    for series in panel["series"]:
        size = "all" if series["params"] is None else size_text(series["params"])
        law = series["law"]
        if law is None:
            rows.append(_row(size, "", "", "", safe_text(series["no_law"])))
            continue
        for place, (name, value, interval) in enumerate(parameter_cells(law)):
            first = place == 0
            rows.append(
                _row(
                    size if first else "",
                    f"{law['form']}, n = {law['num_points']}" if first else "",
                    f"{name} = {value}",
                    interval,
                    trend_words(law["trend"]) if first else "",
                )
            )
        remarks += [f"<li>{safe_text(f'{size}: {each}')}</li>" for each in law["warnings"]]
    head = "<tr><th>size<th>form<th>parameter<th>95 % interval<th>trend</tr>"
    notes = f"<ul class='soft'>{''.join(remarks)}</ul>" if remarks else ""
    return f"<div class='scroll'><table>{head}{''.join(rows)}</table></div>{notes}"


def _row(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
