"""The tables of published sets, and what every reader refuses."""

import pytest
from published_sets import read, write

from worldpm.errors import DataError
from worldpm.pairs.published import ABOUT, PUBLISHED


def test_every_reader_is_described():
    """The two tables have the same names; ratings are what the reader takes."""
    assert sorted(PUBLISHED) == sorted(ABOUT)
    assert {name for name, about in ABOUT.items() if about.ratings} == {
        "helpsteer2",
        "ultrafeedback",
    }
    for name, about in ABOUT.items():
        assert about.url.startswith("https://") or name == "pairs"
        assert "huggingface.co" not in about.url or about.hub_files


BAD = {
    "hh-rlhf": ("a.jsonl", [{"chosen": "plain", "rejected": "b"}], "a.jsonl:1: does not begin"),
    "qa-feedback": ("a.json", [{"preference": [1]}], "a.json: row 1: preference must be a list"),
    "oasst-zh": ("a.json", [{"output": "x"}], "output must be a list of texts"),
    "tldr": ("a.jsonl", [{"label": "C"}], "a.jsonl:1: label must be A or B, not 'C'"),
    "helpsteer2": (
        "train.jsonl",
        [{"prompt": "p", "response": "a"}],
        "helpfulness must be a number",
    ),
    "helpsteer2-preference": (
        "preference.jsonl",
        [{"prompt": "p"}],
        "preference_strength must be a number",
    ),
    "oasst": ("a.jsonl", [{"message_id": "x"}], "a.jsonl:1: prompt must be a message"),
    "rlhflow": ("a.jsonl", [{"chosen": "x"}], "a.jsonl:1: chosen must be a list"),
    "shp": ("a.json", [{"labels": 3}], "labels must be 1"),
    "skywork": ("a.jsonl", [{}], "a.jsonl:1: chosen must be a list"),
    "ultrafeedback": ("a.jsonl", [{"completions": [{}, {}]}], r"a.jsonl:1: completions\[0\]"),
    "pairs": ("a.jsonl", [{"prompt": "p"}], "a.jsonl:1: has none of the keys"),
}


@pytest.mark.parametrize("name", BAD)
def test_rows_of_another_kind_are_errors(tmp_path, name):
    """A file of something else is named with its row, never half read."""
    file, rows, message = BAD[name]
    write(tmp_path / file, rows)
    with pytest.raises(DataError, match=message):
        read(name, tmp_path / file)


@pytest.mark.parametrize(
    ("name", "file", "row", "message"),
    [
        ("oasst-zh", "a.json", {"history": [["x"]]}, "history must hold pairs"),
        ("oasst-zh", "a.json", {"history": [7]}, "history must hold pairs"),
        ("oasst-zh", "a.json", {"input": 3}, "input must be text"),
    ],
)
def test_fields_of_another_kind_are_errors(tmp_path, name, file, row, message):
    """A field that is not what its authors publish is an error with the row, not a traceback."""
    write(tmp_path / file, [{"instruction": "?", "output": ["a", "b"], **row}])
    with pytest.raises(DataError, match=message):
        read(name, tmp_path / file)
