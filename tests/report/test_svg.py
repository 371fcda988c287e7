"""Inline charts: well-formed, to scale, escaped, and whole where there is nothing to draw."""

import re
from xml.etree import ElementTree

import pytest

from worldpm.report import svg
from worldpm.report.evaluation_charts import LABELS, WIDTH, Dot, Row, diagram, dots

EVIL = "<script>&\"'</text>"


def parsed(text: str) -> ElementTree.Element:
    return ElementTree.fromstring(text)


def numbers(root: ElementTree.Element, tag: str, name: str, kind: str = "") -> list[float]:
    return [
        float(each.attrib[name])
        for each in root.iter(tag)
        if not kind or kind in each.attrib.get("class", "")
    ]


@pytest.mark.parametrize(
    "chart",
    [svg.bars({}, "u"), svg.shares({}, "u"), svg.columns({}, "u"), svg.bands({}, "u"),
     dots([], (0.4, 1.0)), diagram([])],
)  # fmt: skip
def test_nothing_to_draw_is_still_a_chart(chart):
    """No division by zero, and no box that reaches below nothing."""
    root = parsed(chart)
    assert root.tag == "svg"
    assert not [x for name in ("width", "height") for x in numbers(root, "rect", name) if x < 0]


@pytest.mark.parametrize(
    "chart",
    [svg.bars({EVIL: 1}, EVIL), svg.shares({EVIL: (0.5, 1)}, EVIL), svg.columns({EVIL: 1}, EVIL),
     svg.bands({EVIL: (1, 2, 3)}, EVIL), dots([Row(EVIL, (Dot(0.5, "model"),))], (0, 1))],
)  # fmt: skip
def test_labels_and_units_of_others_are_text(chart):
    """A label opens no tag and leaves no attribute, in the title and beside the bar."""
    root = parsed(chart)
    assert "script" not in {each.tag for each in root.iter()}
    assert all("".join(each.itertext()).startswith(EVIL) for each in root.iter("title"))
    assert [each for each in root.iter("text") if (each.text or "").startswith("<script>")]


def test_bars_are_as_long_as_their_values():
    """Half the value is half the length; the longest leaves room for its number."""
    root = parsed(svg.bars({"a": 10, "b": 5, "c": 0}, "rows"))
    widths = numbers(root, "rect", "width")
    assert widths == [widths[0], pytest.approx(widths[0] / 2, abs=0.1), 0.0]
    assert svg.LABELS + widths[0] <= svg.WIDTH - 60
    assert numbers(parsed(svg.bars({"a": 0, "b": 0}, "rows")), "rect", "width") == [0.0, 0.0]


def test_shares_stand_on_either_side_of_one_half():
    """A share of one half lies on the line, 0 and 1 at the ends."""
    root = parsed(svg.shares({"a": (0.0, 3), "b": (0.5, 1200), "c": (1.0, 1)}, "edges"))
    (middle,) = numbers(root, "line", "x1", "h")
    low, half, high = numbers(root, "circle", "cx")
    assert half == pytest.approx(middle, abs=0.1)
    assert middle - low == pytest.approx(high - middle, abs=0.2)
    assert "50.0% of 1,200" in "".join(root.itertext())


def test_columns_of_many_groups_label_only_some_and_draw_all():
    """Thirty years: thirty bars, each with its title, and labels that do not run together."""
    root = parsed(svg.columns({str(1990 + n): n for n in range(30)}, "rows"))
    assert len(numbers(root, "rect", "height")) == 30
    assert len(list(root.iter("title"))) == 30
    years = [each.text for each in root.iter("text") if re.fullmatch(r"(19|20)\d\d", each.text)]
    assert years == [str(1990 + n) for n in range(0, 30, 3)]


def test_bands_below_zero_stay_on_the_chart():
    """Votes may be negative: the box ends above the lower edge, with the line of zero within."""
    root = parsed(svg.bands({"a": (-20, -5, 0), "b": (1, 2, 2)}, "votes"))
    for top, tall in zip(numbers(root, "rect", "y"), numbers(root, "rect", "height"), strict=True):
        assert 0 <= top <= top + tall <= 220
    (zero,) = numbers(root, "line", "y1", "h")
    assert 20 <= zero < 200
    flat = parsed(svg.bands({"a": (0, 0, 0)}, "votes"))
    assert numbers(flat, "rect", "height") == [2.0]


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (950, "950"), (999.6, "1k"), (999_950, "1M"), (1000, "1k"), (12_345, "12.3k"),
     (4_500_000, "4.5M"), (7_000_000_000, "7G")],
)  # fmt: skip
def test_counts_are_brief(value, shown):
    """At most five characters, with the thousands as a letter."""
    assert svg._brief(value) == shown


def test_dots_outside_the_span_stay_on_its_edge_with_their_own_number():
    """The picture is cut, the title is not."""
    row = Row("a", (Dot(0.1, "floor"), Dot(0.75, "model", (0.2, 0.99))))
    root = parsed(dots([row], (0.5, 1.0)))
    floor, model = numbers(root, "circle", "cx")
    assert floor == LABELS
    assert model == pytest.approx(LABELS + (WIDTH - LABELS - 30) / 2, abs=0.1)
    assert min(numbers(root, "line", "x1", "model bar")) == LABELS
    titles = ["".join(each.itertext()) for each in root.iter("title")]
    assert titles == ["a, floor: 10.0 %", "a, model: 75.0 % (20.0 % to 99.0 %)"]


@pytest.mark.parametrize(("span", "lines"), [((0.4, 1.0), 1), ((0.6, 1.0), 0), ((0.5, 0.9), 1)])
def test_the_line_of_chance_is_drawn_where_it_is_in_view(span, lines):
    """A span above one half has no line of chance rather than one in a wrong place."""
    root = parsed(dots([Row("a", ())], span))
    assert len(numbers(root, "line", "x1", "even")) == lines
    losses = parsed(dots([Row("a", (Dot(0.69, "model"),))], (0.0, 1.0), line=0.693, percent=False))
    assert "a, model: 0.690" in "".join(losses.itertext())


def test_a_long_label_is_cut_beside_the_row_and_whole_in_the_title():
    """34 characters are shown; the title has them all."""
    root = parsed(dots([Row("x" * 40, (Dot(0.5, "model"),))], (0, 1)))
    assert "x" * 33 + "…" in [each.text for each in root.iter("text")]
    assert "x" * 40 + ", model" in "".join(next(root.iter("title")).itertext())


def test_a_diagrams_dot_grows_with_its_share_and_lies_on_the_line_where_claims_are_true():
    """Confidence equal to accuracy is on the diagonal; a bin below 30 % is where it is, too."""
    bins = [
        {"confidence": c, "accuracy": a, "accuracy_interval": [0.0, 1.0], "num_edges": 5,
         "share": s}
        for c, a, s in ((0.5, 0.5, 0.25), (1.0, 1.0, 0.64), (0.75, 0.1, 0.11))
    ]  # fmt: skip
    root = parsed(diagram(bins))
    x1, x2, y1, y2 = (numbers(root, "line", name, "even")[0] for name in ("x1", "x2", "y1", "y2"))
    (ax, bx, cx), (ay, by, cy) = (numbers(root, "circle", name) for name in ("cx", "cy"))
    assert (ax, ay) == (pytest.approx(x1, abs=0.1), pytest.approx(y1, abs=0.1))
    assert (bx, by) == (pytest.approx(x2, abs=0.1), pytest.approx(y2, abs=0.1))
    assert ax < cx < bx
    assert cy == pytest.approx(y1 + (y1 - y2) * (0.5 - 0.1) / (1.0 - 0.5), abs=0.2)
    assert numbers(root, "circle", "r")[:2] == [5.0, pytest.approx(6.8)]
    assert "claimed 75.0%, true 10.0% (0.0% to 100.0%), 5 pairs" in "".join(root.itertext())
