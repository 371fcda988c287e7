"""What the verbs share: outputs that appear whole, sizes for people, where --force may write."""

import os

import orjson
import pytest

from worldpm.cli.common import (
    announce,
    check_inputs,
    check_output,
    new_file,
    new_folder,
    resumable_file,
    show_bytes,
)
from worldpm.errors import DataError, OutputExistsError
from worldpm.store import size_bytes


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (98_362_432, "98.4 MB"),
     (145 * 10**9, "145.0 GB"), (3 * 10**15, "3000000.0 GB")],
)  # fmt: skip
def test_sizes_for_people(size, text):
    """Powers of 1000 up to GB, bytes without a point."""
    assert show_bytes(size) == text


def test_size_of_a_folder_is_that_of_its_files(tmp_path):
    """Sub-folders count, and folders themselves do not."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "x").write_bytes(b"12345")
    (tmp_path / "a" / "b" / "y").write_bytes(b"678")
    assert size_bytes(tmp_path) == 8
    assert size_bytes(tmp_path / "x") == 5


def test_a_dry_run_says_what_and_how_much(tmp_path, capsys):
    """Sizes of what is there, names of what is not a path, settings; or all as one object."""
    (tmp_path / "in").write_bytes(b"x" * 1500)
    announce([tmp_path / "in", "stdin"], tmp_path / "out", {"lr": 0.1}, as_json=False)
    assert capsys.readouterr().out.splitlines() == [
        f"would read   {tmp_path / 'in'} (1.5 kB)",
        "would read   stdin",
        f"would write  {tmp_path / 'out'}",
        "with         lr = 0.1",
    ]
    announce([tmp_path / "in"], tmp_path / "out", {"lr": 0.1}, as_json=True)
    found = orjson.loads(capsys.readouterr().out)
    assert found == {
        "dry_run": True, "reads": [str(tmp_path / "in")], "writes": str(tmp_path / "out"),
        "settings": {"lr": 0.1},
    }  # fmt: skip


def test_the_first_missing_input_is_named(tmp_path):
    """Of several inputs the one that is not there."""
    with pytest.raises(DataError, match="gone: no such file or folder"):
        check_inputs([tmp_path, tmp_path / "gone", tmp_path / "too"])


def test_outputs_without_a_name(tmp_path, monkeypatch):
    """The folder one stands in, or the one above, is nobody's output, with --force or without."""
    monkeypatch.chdir(tmp_path)
    for name in (".", "..", "a/.."):
        with pytest.raises(OutputExistsError, match="a name of its own"):
            check_output(type(tmp_path)(name), force=True)


def test_force_is_for_our_own_folders(tmp_path):
    """A folder with a manifest or of a run, or an empty one; no other, and none with an input."""
    out = tmp_path / "out"
    out.mkdir()
    check_output(out, force=True)
    (out / "thesis.txt").write_text("ten years")
    with pytest.raises(OutputExistsError, match="is not a folder that worldpm made"):
        check_output(out, force=True)
    for mark in ("manifest.json", "run.json"):
        (out / mark).write_text("{}")
        check_output(out, force=True)
        with pytest.raises(OutputExistsError, match="holds the input"):
            check_output(out, [out / mark], force=True)
        (out / mark).unlink()
    link = tmp_path / "link"
    link.symlink_to(out)
    with pytest.raises(OutputExistsError, match="is the input itself"):
        check_output(link, [out], force=True)


def test_no_folder_takes_the_place_of_a_link(tmp_path):
    """It is said before anything is made, and what the link leads to stands."""
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "worldpm.json").write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "made")
    check_output(tmp_path / "link", force=True)
    with pytest.raises(OutputExistsError, match="is a link"), new_folder(tmp_path / "link"):
        pytest.fail("hours of work were begun")
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["worldpm.json"]


@pytest.mark.parametrize("make", [new_file, new_folder])
def test_an_output_appears_whole_or_not_at_all(tmp_path, make):
    """Nothing of a block that fails stays, and what stood there still does."""
    path = tmp_path / "deep" / "out"

    def fill(place, text):
        if make is new_file:
            place.write(text)
        else:
            (place / "file").write_bytes(text)

    def content():
        return (path if make is new_file else path / "file").read_bytes()

    def begin(text, error):
        with make(path) as place:
            fill(place, text)
            raise error

    with pytest.raises(KeyboardInterrupt):
        begin(b"half", KeyboardInterrupt)
    assert list(path.parent.iterdir()) == []
    with make(path) as place:
        fill(place, b"first")
        assert not path.exists()
    with pytest.raises(ValueError, match="bug"):
        begin(b"second", ValueError("bug"))
    assert content() == b"first"
    with make(path) as place:
        fill(place, b"second")
    assert content() == b"second"
    assert [each.name for each in path.parent.iterdir()] == ["out"]


def write_and_fail(path, data, identity, **flags):
    """Write lines and stop; returns what had been kept from before."""
    found = []

    def run():
        with resumable_file(path, identity, **{"resume": False, "force": False, **flags}) as opened:
            found.extend(opened[1])
            opened[0].write(data)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        run()
    return found


def test_lines_go_on_after_a_failure(tmp_path, capsys):
    """Whole lines are kept and handed back, a line cut by a kill is not; the end is one file."""
    path, job = tmp_path / "o.jsonl", {"model": "m"}
    write_and_fail(path, b"1\n2\n3", job)
    assert "go on with --resume" in capsys.readouterr().err
    assert not path.exists()
    with resumable_file(path, job, resume=True, force=False) as (file, kept):
        assert kept == [b"1\n", b"2\n"]
        file.write(b"3\n")
    assert path.read_bytes() == b"1\n2\n3\n"
    assert os.listdir(tmp_path) == ["o.jsonl"]


def test_a_failure_before_the_first_line_leaves_nothing(tmp_path, capsys):
    """There is nothing to go on with, so nothing stands in the way of the next run."""
    write_and_fail(tmp_path / "o", b"", {})
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == ""


def test_kept_lines_are_not_lost_by_accident(tmp_path):
    """Without --resume an unfinished file is refused, another job's too; --force begins anew."""
    path = tmp_path / "o"
    write_and_fail(path, b"1\n", {"model": "m"})
    with (
        pytest.raises(OutputExistsError, match="--resume, or start anew"),
        resumable_file(path, {"model": "m"}, resume=False, force=False),
    ):
        pass
    with (
        pytest.raises(DataError, match="another model"),
        resumable_file(path, {"model": "n"}, resume=True, force=False),
    ):
        pass
    assert write_and_fail(path, b"9\n", {"model": "m"}, resume=True) == [b"1\n"]
    with resumable_file(path, {"model": "n"}, resume=False, force=True) as (file, kept):
        assert kept == []
        file.write(b"7\n")
    assert path.read_bytes() == b"7\n"
