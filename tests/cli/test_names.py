"""Names of files that are no UTF-8, as old archives leave them: read, named in JSON, or refused."""

import os
import shutil

import orjson
import pytest
from suite_folders import write_lines

BAD = os.fsdecode(b"s\xe9t")
SEEN = "s\ufffdt"
ROWS = [{"id": f"p{i}", "prompt": "q", "chosen": f"good {i}", "rejected": "b"} for i in range(6)]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="names there are Unicode")


@pytest.fixture
def mine(tmp_path):
    """A file of pairs under such a name."""
    try:
        return write_lines(tmp_path / f"{BAD}.jsonl", ROWS)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")


def test_a_set_and_scores_of_such_names_are_evaluated(worldpm, mine, tmp_path):
    """The report and the manifest have a mark for the byte, and the folder can be shown."""
    rows = [{"id": row["id"], "scores": [1.0, 0.0]} for row in ROWS]
    scores, out = write_lines(tmp_path / f"{BAD}.scores.jsonl", rows), tmp_path / "out"
    found = worldpm("eval", mine, "--scores", scores, "-o", out, "--json", "-q").json
    assert (found["models"], found["evaluations"][0]["suite"]) == ([SEEN], SEEN)
    manifest = orjson.loads((out / "manifest.json").read_bytes())
    assert manifest["counts"] == {SEEN: 6}
    assert [each["path"] for each in manifest["inputs"]] == [mine.name.replace(BAD, SEEN), (
        f"{SEEN}.scores.jsonl"
    )]  # fmt: skip
    assert worldpm("show", out, "--json").json["evaluations"][0]["suite"] == SEEN


def test_such_names_are_shown_exported_and_imported(worldpm, mine, tmp_path):
    """As a source, in a list of files and in a manifest."""
    assert worldpm("show", mine, "--json").json["samples"][0]["source"] == SEEN
    out = tmp_path / BAD
    assert worldpm("export", mine, "-o", out, "--json").json["rows"] == {SEEN: 6}
    made = worldpm("import", "pairs", mine, "-o", tmp_path / "data", "--json", "-q").json
    assert made["inputs"][0]["path"] == f"{SEEN}.jsonl"
    assert BAD not in "".join(made["command"])


def test_a_dump_of_such_a_name_is_a_part(worldpm, dump, tmp_path):
    """Its site has the mark, in the manifest and in the name of the part."""
    try:
        path = shutil.copy(dump, tmp_path / f"{BAD}.7z")
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    flags = ("-q", "--json", "--set", "min_answers=0")
    made = worldpm("forum", "stackexchange", path, "-o", tmp_path / "threads", *flags).json
    assert list(made["counts"]) == [SEEN]
    assert worldpm("pairs", tmp_path / "threads", "-o", tmp_path / "data", "-q").code == 0


@pytest.mark.parametrize("verb", [("import", "pairs"), ("forum", "stackexchange"), ("pairs",)])
def test_folders_of_such_names_are_refused_in_one_line(worldpm, mine, tmp_path, verb):
    """Parquet takes no such name: said before the work, and nothing is left."""
    before = sorted(tmp_path.iterdir())
    source = mine if verb == ("import", "pairs") else tmp_path
    ended = worldpm(*verb, source, "-o", tmp_path / f"{BAD}-out")
    assert (ended.code != 0, ended.err.count("\n")) == (True, 1)
    assert "its name is no UTF-8" in ended.err
    assert sorted(tmp_path.iterdir()) == before
