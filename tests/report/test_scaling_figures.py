"""The figure and the page of a scaling study: whole, labelled, with their numbers beside them."""

import csv
import sys
from html.parser import HTMLParser

import pytest

from worldpm.errors import DataError, WorldPMError
from worldpm.report.scaling_figures import _finding, log_ticks, plot_scaling, size_text
from worldpm.report.scaling_page import scaling_page
from worldpm.report.scaling_tables import law_table, parameter_cells, trend_words

LAW = {
    "form": "power",
    "parameters": {
        "A": {"value": 1.5, "low": 1.4, "high": 1.6},
        "alpha": {"value": 0.0812, "low": None, "high": 0.09},
    },
    "num_points": 3,
    "spread": 0.02,
    "intervals": {"by": "residuals", "resamples": 100},
    "trend": {"slope": -0.08, "p": 0.0005, "how": "points", "is_there": True, "rate": 0.05},
    "warnings": ["alpha is <not> settled"],
}


def series(params, law=LAW):
    points = [{"data": 10.0**k, "value": 0.9**k, "seed": "1"} for k in (3, 4, 5)]
    curve = [
        {"data": p["data"], "value": p["value"], "low": 0.9 * p["value"], "high": 1.1 * p["value"]}
        for p in points
    ]
    found = {"params": params, "points": points, "law": law, "curve": curve if law else []}
    return found if law else {**found, "no_law": "power needs 4 points"}


def report(*panels):
    return {"x": "pairs", "y": "controlled_loss", "form": "power", "seed": 0, "panels": panels}


def panel(suite, *rows):
    return {"suite": suite, "class": "objective", "series": list(rows)}


TWO = report(panel("llmbar", series(1e6), series(1.35e8)), panel("<b>", series(1e6, law=None)))


def test_files_are_svg_png_and_every_number_as_csv(tmp_path):
    """Each point and each point of a curve is a row; the same report gives the same bytes."""
    pytest.importorskip("matplotlib")
    svg, png, table = plot_scaling(TWO, tmp_path / "scaling.html")
    assert [path.name for path in (svg, png, table)] == [
        "scaling.svg",
        "scaling.png",
        "scaling.csv",
    ]
    assert png.read_bytes().startswith(b"\x89PNG")
    rows = list(csv.DictReader(table.open()))
    assert [row["kind"] for row in rows].count("point") == 9
    assert [row["kind"] for row in rows].count("curve") == 6
    assert {row["suite"] for row in rows} == {"llmbar", "<b>"}
    assert float(rows[0]["controlled_loss"]) == 0.9**3
    again = plot_scaling(TWO, tmp_path / "again.html")
    assert again[0].read_bytes() == svg.read_bytes()


def test_a_joint_law_is_one_law_in_the_title():
    """It stands with each size of its panel; other forms have a law a size."""
    both = panel("a", series(1e6), series(1.35e8))
    assert _finding(report(both)).endswith("2 of 2 laws with a trend")
    joint = {**report(both, panel("b", series(1e6, law=None))), "form": "joint"}
    assert _finding(joint) == "controlled loss by pairs: 1 of 1 law with a trend"


def test_without_matplotlib_the_error_says_what_to_install(tmp_path, monkeypatch):
    """The light install and the one with a model have none: one message, no traceback."""
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(WorldPMError, match=r'pip install "worldpm\[plots\]"'):
        plot_scaling(report(panel("llmbar", series(1e6))), tmp_path / "x")


def test_a_report_without_points_is_refused(tmp_path):
    """There is nothing to draw."""
    with pytest.raises(DataError, match="no points"):
        plot_scaling(report(), tmp_path / "x.html")


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.41, 0.69), (1e3, 1e7), (0.5, 0.52), (90, 1100), (3, 1e12), (0.0123, 0.0125), (1, 9)],
)
def test_ticks_are_few_within_and_rising(low, high):
    """Two to seven round numbers in every range."""
    ticks = log_ticks(low, high)
    assert 2 <= len(ticks) <= 7
    assert ticks == sorted(set(ticks))
    assert all(low * 0.999 <= tick <= high * 1.001 for tick in ticks)
    assert all(float(f"{tick:.4g}") == pytest.approx(tick, rel=1e-9) for tick in ticks)


def test_sizes_have_three_digits():
    """In thousands, millions, billions."""
    found = [size_text(n) for n in (12, 5300, 1.345e8, 1.5e9, 7.2e10)]
    assert found == ["12", "5.3k", "134M", "1.5B", "72B"]


def test_an_end_that_is_not_settled_says_so():
    """And a trend says its p."""
    assert parameter_cells(LAW)[1] == ("alpha", "0.0812", "no end to 0.09")
    assert trend_words(LAW["trend"]) == "a trend (p = 0.0005)"
    flat = {**LAW["trend"], "is_there": False, "p": 0.4}
    assert trend_words(flat) == "no trend that chance would not make (p = 0.4)"
    assert law_table(LAW, ["llmbar"]).row_count == 2


class Balance(HTMLParser):
    """Counts elements that load something, and holds all text."""

    def __init__(self):
        super().__init__()
        self.loads, self.text = [], ""

    def handle_starttag(self, tag, attrs):
        names = dict(attrs)
        if tag in {"script", "link", "img", "iframe"} or "src" in names:
            self.loads.append(tag)

    def handle_data(self, data):
        self.text += data


def test_the_page_is_whole_and_escapes_names():
    """No script and nothing loaded; the figure is within, names of suites are text, remarks too."""
    page = scaling_page(TWO, '<?xml version="1.0"?>\n<!DOCTYPE svg>\n<svg id="figure"></svg>')
    found = Balance()
    found.feed(page)
    assert found.loads == []
    assert '<svg id="figure">' in page
    assert "<?xml" not in page
    assert "<b>" not in page.replace("<body>", "")
    for text in ("<b>", "135M", "alpha = 0.0812", "no end to 0.09", "power needs 4 points"):
        assert text in found.text
    assert "alpha is <not> settled" in found.text
