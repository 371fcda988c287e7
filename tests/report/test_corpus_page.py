"""The page about a corpus: one well-formed file, small, without a network, inert."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from worldpm.records import Comparison, Edge, Message
from worldpm.report import svg
from worldpm.report.corpus import Corpus, summarise
from worldpm.report.corpus_page import MOST_SOURCES, corpus_page

EVIL = "</pre><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"
MANIFEST = {
    "created": "2026-01-01T00:00:00+00:00",
    "versions": {"worldpm": "0.1.0"},
    "settings": {"max_replies": 8},
    "inputs": [{"path": "manifest.json", "sha256": "ab" * 32}],
    "counts": {"train": 2, "test": 1},
    "dropped": {"no_answer": 5},
    "sources": {"beer": {"train": 2, "test": 1}},
}
VOID = {"meta", "rect", "line", "circle", "img"}


class Outline(HTMLParser):
    """Collects tags, their nesting and what they refer to."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.refers = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.refers += [value for name, value in attrs if name in ("src", "href", "onerror")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def outline(page):
    """The tags of a page in order, after a check that all are closed in turn."""
    parser = Outline()
    parser.feed(page)
    assert parser.open == []
    return parser


def comparison(name="1", texts=("good answer", "bad"), prompt="Why?", source="beer", **meta):
    replies = tuple((Message("assistant", text),) for text in texts)
    return Comparison(
        name, source, None, (Message("user", prompt),), replies, (Edge(0, 1, 2.0),), meta
    )


def page_of(records, manifest=MANIFEST):
    return corpus_page("data", manifest, summarise(records), records)


def test_the_page_is_whole_and_refers_to_nothing():
    """All tags are closed; no script, link or picture from elsewhere, and a policy says so."""
    posts = [{"votes": 3, "created": "2020-01-02"}, {"votes": 1, "created": "2020-01-01"}]
    page = page_of([comparison(posts=posts, created="2020-01-01")] * 20)
    found = outline(page)
    assert found.refers == []
    assert not {"script", "link", "iframe", "object", "img", "a"} & set(found.tags)
    assert "url(" not in page
    assert "@import" not in page
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    assert found.tags.count("svg") == 9
    assert "Distributions are of a sample" not in page


def test_the_numbers_are_on_the_page():
    """Splits, sources, drops, settings and biases, with their counts."""
    page = page_of([comparison(), comparison("2"), comparison("3")])
    for text in ("train: 2 comparisons", "beer: 3 comparisons", "no_answer: 5 left out"):
        assert f"<title>{text}</title>" in page, text
    assert "the longer reply wins 100.0%" in page
    assert "<td>max_replies</td><td>8</td>" in page
    assert "made 2026-01-01T00:00:00+00:00 by worldpm 0.1.0" in page


def test_texts_of_others_are_escaped():
    """Whatever a text, name, source or reason holds, it adds no tag to the page."""
    plain = page_of([comparison()])
    manifest = MANIFEST | {
        "created": EVIL,
        "dropped": {EVIL: 1},
        "settings": {EVIL: EVIL},
        "inputs": [{"path": EVIL, "sha256": EVIL}],
        "counts": {EVIL: 1, "test": 2},
        "sources": {EVIL: {"test": 1}},
        "versions": {"worldpm": EVIL},
    }
    record = comparison(EVIL, (EVIL, "b"), EVIL, EVIL, created=EVIL)
    page = corpus_page(EVIL, manifest, summarise([record]), [record])
    assert outline(page).tags == outline(plain).tags
    assert "<script>" not in page
    assert outline(page).refers == []


def test_the_page_stays_small():
    """Endless texts and thousands of sources: cut, gathered, and under 5 MB."""
    records = [comparison(str(n), ("x" * 500_000, "y"), "z" * 500_000, f"s{n}") for n in range(50)]
    manifest = MANIFEST | {"sources": {f"s{n}": {"train": 1} for n in range(5000)}}
    page = corpus_page("data", manifest, summarise(records), records[:20])
    assert len(page.encode()) < 500_000
    assert f"{5000 - MOST_SOURCES} more: {5000 - MOST_SOURCES:,} comparisons" in page


def test_a_sample_is_said_to_be_one():
    """Where not all was read, the page says of how many the distributions are."""
    page = page_of([comparison()], MANIFEST | {"counts": {"train": 1_000_000}})
    assert "1,000,000 comparisons" in page
    assert "Distributions are of a sample of 1 comparisons." in page


def test_an_empty_set_has_a_page():
    """No comparison, no margin, no votes, no dates: what is not known is not drawn."""
    empty = {"counts": {}, "dropped": {}}
    page = corpus_page("none", empty, Corpus(), [])
    assert "Nothing." in page
    assert "Length and votes" not in outline(page).tags
    assert "When" not in re.findall(r"<h2>(.*?)</h2>", page)


def test_lone_surrogates_do_not_break_the_page():
    """A text that is no valid Unicode is still a page."""
    assert page_of([comparison(texts=("\ud800", "b"))]).encode("utf-8", "replace")


@pytest.mark.parametrize(
    "chart",
    [
        svg.bars({"a<b": 3, "long" * 20: 0, "c": 1.5}, "rows"),
        svg.columns({str(n): n for n in range(40)}, "rows"),
        svg.shares({"x": (0.25, 1200), "y": (1.0, 1)}, "edges"),
        svg.bands({"1": (-2, 0, 3), "2": (1, 1, 1)}, "votes"),
        svg.bars({}, "rows"),
        svg.columns({}, "rows"),
        svg.shares({}, "rows"),
        svg.bands({}, "rows"),
        svg.bars({"zero": 0}, "rows"),
    ],
)
def test_charts_are_well_formed_and_stay_inside(chart):
    """Each chart is XML; every shape lies between its edges, with no negative size."""
    root = ElementTree.fromstring(chart)
    _, _, width, height = map(float, root.get("viewBox").split())
    for shape in root.iter():
        place = {
            key: float(shape.get(key)) for key in ("x", "y", "width", "height") if shape.get(key)
        }
        if shape.tag == "rect":
            assert place["width"] >= 0
            assert place["height"] >= 0
            assert place["x"] + place["width"] <= width
            assert place["y"] + place["height"] <= height + 0.1
        if shape.tag == "text":
            assert 0 <= place["x"] <= width
            assert -1 <= place["y"] <= height


def test_bars_are_as_long_as_their_values():
    """Lengths are in proportion to the values; every bar says its name and number."""
    root = ElementTree.fromstring(svg.bars({"a": 10, "b": 5, "c": 0}, "rows"))
    lengths = [float(rect.get("width")) for rect in root.iter("rect")]
    assert lengths[0] == pytest.approx(2 * lengths[1], abs=0.2)
    assert lengths[2] == 0
    assert [title.text for title in root.iter("title")] == ["a: 10 rows", "b: 5 rows", "c: 0 rows"]


def test_shares_lie_beside_the_middle():
    """One half is at the line; a larger share is to its right."""
    root = ElementTree.fromstring(svg.shares({"a": (0.5, 1), "b": (0.75, 1)}, "edges"))
    middle = float(root.find("line").get("x1"))
    first, second = (float(circle.get("cx")) for circle in root.iter("circle"))
    assert first == pytest.approx(middle, abs=0.1)
    assert second > middle + 50
