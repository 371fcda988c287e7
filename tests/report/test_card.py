"""The data card: a header that the hub reads, whole counts, and texts that start no markup."""

import pytest

from worldpm.records import Comparison, Edge, Message
from worldpm.report.card import FORMS, ROW_OWN, ROW_TRL, card_of, links_of
from worldpm.report.corpus import summarise
from worldpm.schema import SCHEMAS

yaml = pytest.importorskip("yaml")

MANIFEST = {
    "kind": "comparisons",
    "versions": {"worldpm": "0.1.0"},
    "settings": {"max_replies": 8, "split": {"test": 0.05, "held_out_sources": []}},
    "inputs": [{"path": "manifest.json", "bytes": 1234, "sha256": "ab" * 32}],
    "counts": {"train": 1900, "test": 100},
    "dropped": {"only_one_answer": 7, "all_scores_equal": 3},
    "sources": {"beer": {"train": 1900, "test": 60}, "tea": {"test": 40}},
}


def comparison(number, source="beer", **meta):
    """A comparison whose longer reply wins, by an author at a link."""
    meta = {"url": f"https://{source}/q/{number}", "author": f"u{number}", **meta}
    replies = tuple((Message("assistant", text),) for text in ("long" * 3, "short"))
    return Comparison(
        str(number), source, None, (Message("user", "?"),), replies, (Edge(0, 1),), meta
    )


def make(manifest=MANIFEST, records=(), form="parquet", name="data"):
    """The card and its header as YAML reads it."""
    records = list(records)
    files = {part: f"{part}.jsonl" for part in manifest["counts"]}
    text = card_of(name, manifest, summarise(records), links_of(records), files, form)
    _, header, body = text.split("---\n", 2)
    return yaml.safe_load(header), body


def test_the_header_is_what_the_hub_reads():
    """Licence, size and the files of each split."""
    header, _ = make(records=[comparison(1, license="CC BY-SA 4.0")])
    assert header["license"] == "cc-by-sa-4.0"
    assert header["size_categories"] == ["1K<n<10K"]
    assert header["configs"] == [
        {
            "config_name": "default",
            "data_files": [
                {"split": "train", "path": "train.jsonl"},
                {"split": "test", "path": "test.jsonl"},
            ],
        }
    ]
    assert header["pretty_name"] == "data"


@pytest.mark.parametrize(
    ("licenses", "published", "expected"),
    [
        (["CC BY-SA 3.0", "CC BY-SA 4.0"], None, ("other", "CC BY-SA 3.0, CC BY-SA 4.0")),
        (["house rules: ours"], None, ("other", "house rules: ours")),
        ([], {"set": "hh-rlhf", "url": "https://x", "license": "MIT"}, ("mit", None)),
        ([], {"set": "shp", "url": "https://x", "license": None}, ("other", "unstated")),
        ([], None, ("other", "unstated")),
    ],
)
def test_licences_are_stated_or_said_to_be_unstated(licenses, published, expected):
    """One known licence is named as the hub does; several, or a house's own, are spelt out."""
    manifest = MANIFEST | ({"published": published} if published else {})
    header, body = make(manifest, [comparison(n, license=each) for n, each in enumerate(licenses)])
    assert (header["license"], header.get("license_name")) == expected
    assert ("No licence is stated" in body) == (expected[1] == "unstated")
    if published:
        assert f"`{published['set']}`: https://x" in body


def test_the_counts_are_the_manifests():
    """Splits, sources, drops, settings and inputs stand in the card, however few rows were read."""
    _, body = make(records=[comparison(1)])
    assert "2,000 comparisons" in body
    assert "| train | 1,900 | 1,900 |" in body
    assert "| beer | 60 | 1,900 |" in body
    assert "| tea | 40 | 0 |" in body
    assert "| `only_one_answer` | 7 |" in body
    assert "| `max_replies` | `8` |" in body
    assert "| `split.test` | `0.05` |" in body
    assert f"| manifest.json | 1,234 | {'ab' * 8} |" in body
    assert "the longer reply wins 100.0% of the edges" in body
    _, nothing = make(MANIFEST | {"dropped": {}})
    assert "## What was left out\n\nNothing." in nothing


def test_rows_that_are_no_comparisons_are_counted():
    """A row an edge makes more rows than comparisons, and the size is that of the rows."""
    records = [comparison(1)]
    files = {"train": "train.jsonl"}
    text = card_of(
        "data", MANIFEST, summarise(records), links_of(records), files, "trl", {"train": 12_345}
    )
    _, header, body = text.split("---\n", 2)
    assert yaml.safe_load(header)["size_categories"] == ["10K<n<100K"]
    assert "2,000 comparisons" in body
    assert "| train | 1,900 | 12,345 |" in body
    assert "| test | 100 | 0 |" in body


def test_every_column_is_described():
    """The rows that `export` writes have exactly the columns that the card names."""
    own = {name for names, _, _ in ROW_OWN for name in names.split(", ")}
    assert own == set(SCHEMAS[Comparison].names)
    trl = {name for names, _, _ in ROW_TRL for name in names.split(", ")}
    for form, columns in (("jsonl", own), ("trl", trl)):
        header, body = make(form=form)
        features = header["dataset_info"]["features"]
        assert {each["name"] for each in features} == columns
        assert all(f"| {names} |" in body for names, _, _ in FORMS[form][0])
    assert "dataset_info" not in make()[0]
    assert trl == {"id", "source", "url", "prompt", "chosen", "rejected", "difference", "weight"}


def test_links_are_of_every_source():
    """A small source is seen beside a large one; what has no link or author is said so."""
    records = [comparison(n) for n in range(50)]
    records += [
        comparison(1, "tea"),
        comparison(2, "tea", author=None),
        comparison(3, "x", url=None),
    ]
    links = links_of(records, most=4)
    assert links == [
        ("https://beer/q/0", "u0"),
        ("https://tea/q/1", "u1"),
        ("https://beer/q/1", "u1"),
        ("https://tea/q/2", "not named"),
    ]
    _, body = make(records=records)
    assert "- <https://beer/q/0> by u0" in body
    assert "names its author and links to the post" in body


def test_texts_of_others_start_no_markup():
    """A name with markup, table cells, tags or line ends stays one plain line."""
    evil = 'x | y\n# <script>alert(1)</script> `"---'
    manifest = MANIFEST | {
        "sources": {evil: {"train": 1}},
        "inputs": [{"path": evil, "bytes": 1, "sha256": "c"}],
        "settings": {"held": evil},
    }
    records = [comparison(1, author=evil, url=evil, license=evil)]
    header, body = make(manifest, records, name=evil)
    assert header["pretty_name"] == evil
    assert header["license_name"] == evil
    assert "<script>" not in body
    assert not any(line.startswith("# <") for line in body.splitlines())
    rows = [line for line in body.splitlines() if line.startswith("| x ")]
    assert rows
    assert all(line.replace("\\|", "").count("|") in (4, 3) for line in rows)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("[x](http://example.invalid)", "\\[x\\](http://example.invalid)"), ("**b** _i_ ~s~",
      "\\*\\*b\\*\\* \\_i\\_ \\~s\\~"), ("&lt;b&gt;", "&amp;lt;b&amp;gt;"), ("a\\", "a\\\\"),
     ("`code`", "\\`code\\`"), ("tab\there\u2028", "tab here ")],
)  # fmt: skip
def test_a_source_named_like_markup_is_shown_as_written(text, shown):
    """Links, emphasis, entities and code of a name are its characters, in a cell and as title."""
    records = [Comparison("1", text, None, (), ())]
    manifest = {"counts": {"train": 1}, "sources": {text: {"train": 1}}}
    made = card_of(text, manifest, summarise(records), [], {"train": "x"})
    assert f"\n# {shown}\n" in made
    assert f"| {shown} | 1 |" in made


def test_an_address_cannot_end_its_brackets_and_a_setting_its_code():
    """A space, a bracket or a backtick would; underscores of an address stay as they are."""
    links = [("http://a.invalid/x_y z><b>", "_me_")]
    manifest = {"counts": {}, "settings": {"k|1": {"in`ner": "a|b`c"}}, "dropped": {"too|short": 2}}
    made = card_of("n", manifest, summarise([]), links, {})
    assert "- <http://a.invalid/x_y%20z%3E%3Cb%3E> by \\_me\\_" in made
    assert "| `k\\|1.in'ner` | `a\\|b'c` |" in made
    assert "| `too\\|short` | 2 |" in made
