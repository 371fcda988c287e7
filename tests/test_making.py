"""Artefacts made in steps: whole or unfinished, gone on with only where nothing has changed."""

import pytest

from worldpm.errors import (
    ConfigError,
    DataError,
    InterruptedRunError,
    OutputExistsError,
    UnreadError,
    UnwrittenError,
)
from worldpm.making import fingerprint, making, partial_path
from worldpm.store import read_manifest

NUMBERS = {"inputs": [], "counts": {"a": 1}, "dropped": {"x": 2}, "notes": {"n": 3}}


@pytest.fixture
def dump(tmp_path):
    path = tmp_path / "dump.xml"
    path.write_bytes(b"x" * 100)
    return path


def begin(folder, dump, **more):
    settings = more.pop("settings", {"depth": 1})
    return making(folder, kind="threads", settings=settings, inputs=[dump], **more)


def stop(made):
    (made.work / "kept").touch()
    raise InterruptedRunError("stopped")


def interrupt(folder, dump, **more):
    """Begin, leave a file, and stop."""
    with pytest.raises(InterruptedRunError), begin(folder, dump, **more) as made:
        stop(made)


def test_a_finished_artefact_is_in_its_place_and_nothing_else(tmp_path, dump):
    """Its files and manifest are there, the partial folder is gone."""
    folder = tmp_path / "out"
    with begin(folder, dump) as made:
        made.out.mkdir()
        (made.out / "a.parquet").touch()
        (made.out / ".a.parquet.4711.tmp").touch()  # of a worker that was killed
        (made.work / "scratch").touch()
        made.finish(**NUMBERS)
    assert sorted(path.name for path in folder.iterdir()) == ["a.parquet", "manifest.json"]
    manifest = read_manifest(folder)
    assert (manifest["counts"], manifest["dropped"], manifest["n"]) == ({"a": 1}, {"x": 2}, 3)
    assert manifest["settings"] == {"depth": 1}
    assert sorted(tmp_path.iterdir()) == sorted([dump, folder])


def test_an_interrupted_one_is_gone_on_with(tmp_path, dump):
    """The same call finds what was done."""
    folder = tmp_path / "out"
    interrupt(folder, dump)
    assert not folder.exists()
    with begin(folder, dump) as made:
        assert (made.work / "kept").exists()
        made.finish(**NUMBERS)
    assert sorted(tmp_path.iterdir()) == sorted([dump, folder])


def change_settings(dump):
    return {"settings": {"depth": 2}}


def change_end(dump):
    dump.write_bytes(b"x" * 99 + b"y")
    return {}


def change_size(dump):
    dump.write_bytes(b"x" * 101)
    return {}


@pytest.mark.parametrize("change", [change_settings, change_end, change_size])
def test_another_plan_is_refused_and_force_starts_over(tmp_path, dump, change):
    """With other settings or inputs nothing is mixed: an error, or from the beginning."""
    folder = tmp_path / "out"
    interrupt(folder, dump)
    more = change(dump)
    with (
        pytest.raises(OutputExistsError, match=r"unfinished one.*--force starts over"),
        begin(folder, dump, **more),
    ):
        pass
    with begin(folder, dump, force=True, **more) as made:
        assert not (made.work / "kept").exists()
        made.finish(**NUMBERS)
    assert read_manifest(folder)["counts"] == {"a": 1}


def test_force_starts_over_where_there_is_no_output(tmp_path, dump):
    """Also with the same plan; where an output is to be replaced, it goes on."""
    folder = tmp_path / "out"
    interrupt(folder, dump)
    with begin(folder, dump, force=True) as made:
        assert not (made.work / "kept").exists()
        made.finish(**NUMBERS)
    interrupt(folder, dump, force=True)
    assert read_manifest(folder)["counts"] == {"a": 1}  # the old one stays until the new is done
    with begin(folder, dump, force=True) as made:
        assert (made.work / "kept").exists()
        made.finish(**NUMBERS | {"counts": {"a": 9}})
    assert read_manifest(folder)["counts"] == {"a": 9}


@pytest.mark.parametrize(
    ("error", "kept"),
    [
        (DataError("bad dump"), False),
        (InterruptedRunError("x"), True),
        (UnreadError("failing disk"), True),
        (UnwrittenError("disk full"), True),
        (ZeroDivisionError(), True),
        (KeyboardInterrupt(), True),
    ],
)
def test_what_the_user_must_mend_leaves_nothing(tmp_path, dump, error, kept):
    """A bad dump leaves nothing behind; an interruption, a full disk and a bug do."""
    folder = tmp_path / "out"
    with pytest.raises(type(error)), begin(folder, dump):
        raise error
    assert partial_path(folder).exists() == kept
    assert not folder.exists()


def test_a_full_disk_is_said_and_what_was_done_is_kept(tmp_path, dump):
    """An OSError inside becomes a message that names the output."""
    folder = tmp_path / "out"
    with pytest.raises(UnwrittenError, match="No space left"), begin(folder, dump):
        raise OSError(28, "No space left on device")
    assert partial_path(folder).exists()


def test_two_at_once_do_not_mix(tmp_path, dump):
    """While one makes it, another is refused; shares of one run may go side by side."""
    folder = tmp_path / "out"
    with begin(folder, dump) as made:
        for share in (None, (1, 2)):
            with (
                pytest.raises(OutputExistsError, match="another process"),
                begin(folder, dump, share=share),
            ):
                pass
        made.finish(**NUMBERS)
    folder = tmp_path / "shared"
    with (
        pytest.raises(InterruptedRunError),
        begin(folder, dump, share=(1, 2)),
        begin(folder, dump, share=(2, 2)) as made,
    ):
        stop(made)
    assert (partial_path(folder) / "kept").exists()


def test_a_share_that_fails_leaves_the_others_their_work(tmp_path, dump):
    """What one cannot read does not remove the folder that another is writing to."""
    folder = tmp_path / "out"

    def fail_beside(made):
        with pytest.raises(DataError), begin(folder, dump, share=(2, 2)):
            raise DataError("a damaged row")
        stop(made)

    with pytest.raises(InterruptedRunError), begin(folder, dump, share=(1, 2)) as made:
        fail_beside(made)
    assert (partial_path(folder) / "kept").exists()
    interrupt(folder, dump)  # the same plan, by one process: it goes on


def test_existing_outputs_need_force_and_shares_refuse_it(tmp_path, dump):
    """Nothing is overwritten unasked, and no share removes what another did."""
    folder = tmp_path / "out"
    folder.mkdir()
    with pytest.raises(OutputExistsError, match="--force"), begin(folder, dump):
        pass
    with pytest.raises(ConfigError, match="shares"), begin(folder, dump, force=True, share=(1, 2)):
        pass


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_refused_before_anything_is_made(tmp_path, dump, there):
    """A finished folder could not take its place, and all the work would be lost."""
    folder, target = tmp_path / "out", tmp_path / "disk"
    if there:
        target.mkdir()
    folder.symlink_to(target)
    with pytest.raises(OutputExistsError, match="out: is a link"), begin(folder, dump, force=True):
        pass
    assert not partial_path(folder).exists()


def test_an_output_that_cannot_be_replaced_costs_no_work(tmp_path, dump, monkeypatch):
    """What was made is still gone on with when the old output stands in the way no more."""
    folder = tmp_path / "out"
    with begin(folder, dump) as made:
        made.finish(**NUMBERS)

    def refuse(path, **more):
        raise PermissionError(13, "Permission denied")

    def finish(made):
        (made.work / "kept").touch()
        monkeypatch.setattr("shutil.rmtree", refuse)
        made.finish(**NUMBERS)

    with (
        pytest.raises(UnwrittenError, match="Permission denied; the same command goes on"),
        begin(folder, dump, force=True) as made,
    ):
        finish(made)
    monkeypatch.undo()
    with begin(folder, dump, force=True) as made:
        assert (made.work / "kept").exists()
        made.finish(**NUMBERS | {"counts": {"a": 9}})
    assert read_manifest(folder)["counts"] == {"a": 9}


def test_fingerprints_tell_folders_apart(tmp_path):
    """Names, sizes and both ends of every file count."""
    folder, found = tmp_path / "dump", set()
    folder.mkdir()
    for name, data in (("a", b"1"), ("b", b"1"), ("b", b"12"), ("b", b"1" * (3 << 20) + b"2")):
        (folder / name).write_bytes(data)
        found.add(fingerprint(folder)["edges_sha256"])
    assert len(found) == 4


def test_an_output_that_came_meanwhile_is_not_replaced(tmp_path, dump):
    """What another made under the name stays, and so does what was done here."""
    folder = tmp_path / "out"

    def finish(made):
        (made.work / "kept").touch()
        folder.mkdir()
        (folder / "theirs").touch()
        made.finish(**NUMBERS)

    with pytest.raises(OutputExistsError, match="exists already"), begin(folder, dump) as made:
        finish(made)
    assert [path.name for path in folder.iterdir()] == ["theirs"]
    folder.rename(tmp_path / "moved")
    with begin(folder, dump) as made:
        assert (made.work / "kept").exists()
        made.finish(**NUMBERS)
    assert not partial_path(folder).exists()


def test_an_output_inside_an_input_is_refused(tmp_path, dump):
    """What is written would be read as an input; a folder of which files are read is another."""
    with (
        pytest.raises(OutputExistsError, match="lies inside"),
        begin(tmp_path / "deep" / "out", tmp_path),
    ):
        pass
    assert list(tmp_path.iterdir()) == [dump]
    with begin(tmp_path / "out", dump) as made:
        made.finish(**NUMBERS)
