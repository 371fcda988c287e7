"""Artefacts at rest: whole or absent, readable by anyone, exact both ways."""

import gzip
import signal
import subprocess
import sys
from dataclasses import replace

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from worldpm.errors import DataError, OutputExistsError, WorldPMError
from worldpm.records import Comparison, Edge, Message, Post, Thread
from worldpm.store import (
    ROWS_PER_GROUP,
    ArtifactWriter,
    file_sha256,
    is_own_parquet,
    read_artifact,
    read_json_lines,
    read_manifest,
    read_parquet,
    read_parquet_rows,
    versions,
    write_atomic,
)

ONE = Comparison(
    "1",
    "s",
    None,
    (Message("user", "\u4f60\u597d"),),
    ((Message("assistant", ""),), (Message("assistant", "b\r\n"), Message("user", "c"))),
    (Edge(1, 0, margin=2.5, weight=0.5), Edge(0, 1)),
    {"k": [1, {"x": None}]},
)
POST = Post("1", None, "me", "2016", "text", -3, True, "http://u", 1, 4)
THREAD = Thread("1", "s", "t", ("a", "b"), (POST, Post("2", "1", None, None, "", 0)), None, "CC")

CHAIN = replace(THREAD, num_prompt_posts=2)


def writer(folder, record_type=Comparison, **more):
    return ArtifactWriter(folder, record_type, kind="k", settings={"a": 1}, **more)


@pytest.mark.parametrize("record", [ONE, THREAD, CHAIN])
def test_records_come_back_as_they_were(tmp_path, record):
    """Every field survives: None, empty text, CRLF, Chinese, margins, weights, meta."""
    with writer(tmp_path / "out", type(record)) as out:
        out.add("part", record)
    assert list(read_artifact(tmp_path / "out", type(record))) == [record]


def test_threads_of_before_there_were_chains_are_read(tmp_path):
    """Without the column the prompt is the question; a number beyond the posts is refused."""
    with writer(tmp_path / "out", Thread) as out:
        out.add("part", THREAD)
    path = tmp_path / "out" / "part.parquet"
    table = pq.read_table(path)
    pq.write_table(table.drop_columns("num_prompt_posts"), path)
    assert is_own_parquet(path, Thread)
    assert list(read_artifact(tmp_path / "out", Thread)) == [THREAD]
    for wrong in (0, 3):
        column = table.schema.get_field_index("num_prompt_posts")
        pq.write_table(table.set_column(column, "num_prompt_posts", pa.array([wrong])), path)
        with pytest.raises(DataError, match=f"num_prompt_posts is {wrong} of 2"):
            list(read_artifact(tmp_path / "out", Thread))


def test_a_folder_is_one_input(tmp_path):
    """Its bytes and its hash are those of all its files; names and contents change the hash."""
    folder, hashes = tmp_path / "topics", set()
    (folder / "a").mkdir(parents=True)
    for name, data in (("a/1.json", b"one"), ("2.json", b"two"), ("2.json", b"six")):
        (folder / name).write_bytes(data)
        with writer(tmp_path / "out", force=True) as out:
            out.input(folder)
        (entry,) = read_manifest(tmp_path / "out")["inputs"]
        assert (entry["path"], entry["bytes"]) == ("topics", 3 if name == "a/1.json" else 6)
        hashes.add(entry["sha256"])
    assert len(hashes) == 3


_text = st.text(st.characters(codec="utf-8"), max_size=12)
_talk = st.lists(
    st.builds(Message, st.sampled_from(["system", "user", "assistant"]), _text), max_size=3
).map(tuple)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.builds(
            Comparison,
            id=_text,
            source=_text,
            subset=st.none() | _text,
            prompt=_talk,
            replies=st.lists(_talk.filter(bool), min_size=1, max_size=3).map(tuple),
            meta=st.dictionaries(_text, _text | st.integers(-(2**31), 2**31), max_size=2),
        ),
        max_size=5,
    )
)
def test_any_comparisons_round_trip(tmp_path, records):
    """Parquet and back is the identity, whatever the text."""
    with writer(tmp_path / "out", force=True) as out:
        for record in records:
            out.add("part", record)
    assert list(read_artifact(tmp_path / "out", Comparison)) == records


def test_many_rows_keep_their_order_over_row_groups(tmp_path):
    """Writing is streamed in groups, reading gives the order of writing, part by part."""
    total = 2 * ROWS_PER_GROUP + 7
    with writer(tmp_path / "out") as out:
        for number in range(total):
            record = Comparison(str(number), "s", None, (), ((Message("assistant", "a"),),))
            out.add("b" if number % 2 else "a", record)
    ids = [int(c.id) for c in read_artifact(tmp_path / "out", Comparison)]
    assert ids == [*range(0, total, 2), *range(1, total, 2)]
    assert [int(c.id) for c in read_artifact(tmp_path / "out", Comparison, "b")] == [
        *range(1, total, 2)
    ]
    assert pq.ParquetFile(tmp_path / "out" / "a.parquet").num_row_groups == 2


def test_the_manifest_tells_what_went_in_and_what_was_dropped(tmp_path):
    """Counts, drops by reason, settings, inputs with hashes, notes, versions."""
    source = tmp_path / "in.txt"
    source.write_bytes(b"abc")
    with writer(tmp_path / "out") as out:
        out.input(source)
        out.add("train", ONE)
        out.drop("empty")
        out.drop("tie", 3)
        out.notes["extra"] = {"n": 1}
    manifest = read_manifest(tmp_path / "out")
    assert manifest["counts"] == {"train": 1}
    assert manifest["dropped"] == {"empty": 1, "tie": 3}
    assert manifest["settings"] == {"a": 1}
    assert manifest["extra"] == {"n": 1}
    assert manifest["inputs"] == [{"path": "in.txt", "bytes": 3, "sha256": file_sha256(source)}]
    assert file_sha256(source).startswith("ba7816bf")
    assert set(manifest["versions"]) >= {"python", "pyarrow"}


def test_an_error_inside_leaves_nothing(tmp_path):
    """An exception in the block removes the partial folder and keeps what was there before."""
    with writer(tmp_path / "out") as out:
        out.add("part", ONE)

    def fail():
        with writer(tmp_path / "out", force=True) as out:
            out.add("part", ONE)
            out.add("part", ONE)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [each.name for each in tmp_path.iterdir()] == ["out"]
    assert len(list(read_artifact(tmp_path / "out", Comparison))) == 1


def test_a_kill_in_the_middle_leaves_no_artefact(tmp_path):
    """After SIGKILL the folder does not exist, and the same command works."""
    script = (
        "import sys, time, pathlib\n"
        "from worldpm.records import Comparison, Message\n"
        "from worldpm.store import ArtifactWriter\n"
        "row = Comparison('1', 's', None, (), ((Message('assistant', 'a'),),))\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "with ArtifactWriter(folder, Comparison, kind='k', settings={}) as out:\n"
        "    for _ in range(2500): out.add('part', row)\n"
        "    print('writing', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"writing\n"
        child.send_signal(signal.SIGKILL)
    assert not (tmp_path / "out").exists()
    with pytest.raises(DataError, match="not an artefact"):
        list(read_artifact(tmp_path / "out", Comparison))
    with writer(tmp_path / "out") as out:
        out.add("part", ONE)
    assert len(list(read_artifact(tmp_path / "out", Comparison))) == 1


def test_an_existing_output_needs_force(tmp_path):
    """Nothing is overwritten unasked; with force the old parts are gone."""
    with writer(tmp_path / "out") as out:
        out.add("old", ONE)
    with pytest.raises(OutputExistsError, match="--force"):
        writer(tmp_path / "out")
    with writer(tmp_path / "out", force=True) as out:
        out.add("new", ONE)
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [
        "manifest.json",
        "new.parquet",
    ]


def test_of_two_at_once_the_later_replaces_nothing(tmp_path):
    """An output that another made meanwhile stays, unless the writer was told to replace it."""
    folder = tmp_path / "out"

    def make_first():
        with writer(folder) as first:
            first.drop("first")

    with pytest.raises(OutputExistsError, match="exists already"), writer(folder):
        make_first()
    assert read_manifest(folder)["dropped"] == {"first": 1}
    with writer(folder, force=True) as later:
        later.drop("later")
    assert read_manifest(folder)["dropped"] == {"later": 1}


def test_a_link_is_refused_before_anything_is_written(tmp_path):
    """A finished folder could not take its place."""
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    with pytest.raises(OutputExistsError, match="out: is a link"):
        writer(tmp_path / "out", force=True)


def test_an_artefact_of_nothing_is_complete(tmp_path):
    """No rows is a result too: a manifest, no parts, nothing to read."""
    with writer(tmp_path / "out") as out:
        out.drop("all")
    assert list(read_artifact(tmp_path / "out", Comparison)) == []
    assert list(read_artifact(tmp_path / "out", Comparison, "test")) == []


def test_what_is_no_artefact_says_so(tmp_path):
    """A folder without manifest, a broken manifest, a missing part, the wrong records."""
    with pytest.raises(DataError, match=r"no manifest\.json"):
        read_manifest(tmp_path)
    with writer(tmp_path / "out") as out:
        out.add("train", ONE)
    with pytest.raises(DataError, match="has no part 'test'; it has train"):
        list(read_artifact(tmp_path / "out", Comparison, "test"))
    with pytest.raises(DataError, match="lacks the columns license, posts"):
        list(read_artifact(tmp_path / "out", Thread))
    (tmp_path / "out" / "manifest.json").write_text("{")
    with pytest.raises(DataError, match="not valid JSON"):
        read_manifest(tmp_path / "out")
    damaged = tmp_path / "bad.parquet"
    damaged.write_bytes(b"PAR1 nothing PAR1")
    for read in (lambda p: list(read_parquet(p, Thread)), lambda p: list(read_parquet_rows(p))):
        with pytest.raises(DataError, match=r"bad\.parquet: cannot be read as Parquet"):
            read(damaged)
    with pytest.raises(DataError, match="cannot be read as Parquet"):
        is_own_parquet(tmp_path / "none.parquet", Thread)


def test_own_parquet_is_told_by_its_columns(tmp_path):
    """Our comparisons are recognised, and anybody's rows can be read with their numbers."""
    with writer(tmp_path / "out") as out:
        out.add("train", ONE)
    path = tmp_path / "out" / "train.parquet"
    assert is_own_parquet(path, Comparison)
    assert not is_own_parquet(path, Thread)
    ((number, row),) = read_parquet_rows(path)
    assert (number, row["id"]) == (1, "1")


def test_json_lines_are_numbered_and_bad_ones_named(tmp_path):
    """Line numbers count blank lines; bad JSON, surrogates, long lines are errors."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n\n  \n[2]')
    assert list(read_json_lines(path)) == [(1, {"a": 1}), (4, [2])]  # a row's kind is its reader's
    for bad in (b'{"a": 1}\n{oops', b'1\n"\\ud800"', b"1\nNaN", b"1\n\xff"):
        path.write_bytes(bad)
        with pytest.raises(DataError, match=r"a\.jsonl:2: not valid JSON"):
            list(read_json_lines(path))
    path.write_bytes(b"1\n[" + b" " * 50 + b"]")
    with pytest.raises(DataError, match=r"a\.jsonl:2: line over 40 bytes"):
        list(read_json_lines(path, max_line_bytes=40))
    with pytest.raises(DataError, match=r"none\.jsonl: cannot be read: No such file"):
        list(read_json_lines(tmp_path / "none.jsonl"))


def test_gzipped_json_lines_are_read_and_damage_is_an_error(tmp_path):
    """`*.gz` is unpacked on the way; a truncated file never passes as a shorter one."""
    path = tmp_path / "a.jsonl.gz"
    lines = b"".join(orjson.dumps({"n": number}) + b"\n" for number in range(5000))
    packed = gzip.compress(lines)
    path.write_bytes(packed)
    assert sum(1 for _ in read_json_lines(path)) == 5000
    for bad in (packed[: len(packed) // 2], packed[:-4], b"plain"):
        path.write_bytes(bad)
        with pytest.raises(DataError, match=r"a\.jsonl\.gz: cannot be read"):
            list(read_json_lines(path))


def test_atomic_writes_replace_whole_files(tmp_path):
    """The new bytes are there, no temporary file is, and a failure says where."""
    path = tmp_path / "deep" / "f.json"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two"
    assert [each.name for each in path.parent.iterdir()] == ["f.json"]
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").write_bytes(b"")
    with pytest.raises(WorldPMError, match="could not be written"):
        write_atomic(tmp_path / "folder", b"x")


def test_versions_name_what_is_installed():
    """Installed packages have a version, others are left out."""
    found = versions("pyarrow", "no-such-package-at-all")
    assert set(found) == {"python", "pyarrow"}


@pytest.mark.parametrize("text", [b"[1]", b'{"name": "a web site"}', b'{"counts": 3}'])
def test_a_manifest_of_others_says_so(tmp_path, text):
    """Other programs write manifest.json too; theirs is an error that names the file."""
    (tmp_path / "manifest.json").write_bytes(text)
    with pytest.raises(DataError, match=r"manifest\.json: has no counts"):
        read_manifest(tmp_path)


def test_rows_edited_by_others_are_named(tmp_path):
    """Our columns with a hole in a row: the row's number, not a traceback."""
    with writer(tmp_path / "out") as out:
        out.add("part", ONE)
        out.add("part", ONE)
    path = tmp_path / "out" / "part.parquet"
    rows = pq.read_table(path).to_pylist()
    rows[1]["meta"] = None
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(path)), path)
    with pytest.raises(DataError, match=r"part\.parquet:2: not a row of ours"):
        list(read_parquet(path, Comparison))


ROW_FAULTS = {
    "there is no reply": {"replies": [], "better": []},
    "reply 1 holds no message": {"replies": [[{"role": "user", "content": "a"}], []]},
    r"better\[0\] must be two different numbers from 0 to 1": {"better": [[0, 2]]},
    r"better\[1\] must be two different numbers from 0 to 1": {"better": [[0, 1], [-1, 0]]},
    r"better\[0\] must be two": {"better": [[1, 1]]},
    r"better\[0\] weight must be over 0": {"better": [[0, 1, 0.0]]},
    r"better\[0\] weight": {"better": [[0, 1, float("nan")]]},
    "message 0 is of the role 'robot'": {"prompt": [{"role": "robot", "content": "a"}]},
    "message 1 is of the role None": {
        "prompt": [{"role": "user", "content": "a"}, {"role": None, "content": "b"}]
    },
    "message 0 has no text": {"prompt": [{"role": "user", "content": None}]},
    "not subscriptable": {"prompt": [None]},
    "not iterable": {"prompt": None},
    "id or source": {"source": None},
    "meta is not": {"meta": "[1]"},
    "unexpected character": {"meta": "{oops}"},
}


@pytest.mark.parametrize("fault", ROW_FAULTS)
def test_damaged_rows_of_ours_are_refused(tmp_path, fault):
    """Whatever a row of our own columns cannot mean is a DataError with file, row and reason."""
    with writer(tmp_path / "out") as out:
        out.add("part", ONE)
        out.add("part", ONE)
    path = tmp_path / "out" / "part.parquet"
    rows = pq.read_table(path).to_pylist()
    changes = dict(ROW_FAULTS[fault])
    if "better" in changes:
        names = ("winner", "loser", "weight")
        changes["better"] = [
            {"margin": None, "weight": 1.0} | dict(zip(names, e, strict=False))
            for e in changes["better"]
        ]
    rows[1] |= changes
    pq.write_table(pa.Table.from_pylist(rows, pq.read_schema(path)), path)
    found = read_artifact(tmp_path / "out", Comparison)
    assert next(found) == ONE
    with pytest.raises(DataError, match=rf"part\.parquet:2: not a row of ours \(.*{fault}"):
        next(found)


@pytest.mark.parametrize("text", [b'[{"a": 1}, {"a": 2}]', b'\n \n[\n  {"a": 1}\n]\n', b"["])
def test_one_big_list_is_told_from_json_lines(tmp_path, text):
    """A JSON list in the place of JSON lines gets a hint, on one line or on many."""
    path = tmp_path / "rows.json"
    path.write_bytes(text)
    line = text[: text.index(b"[")].count(b"\n") + 1
    with pytest.raises(DataError, match=rf"rows\.json:{line}: one JSON list, not JSON lines.*jq"):
        list(read_json_lines(path, max_line_bytes=5))


def test_a_byte_order_mark_is_no_json(tmp_path):
    """Files saved by Windows' editors begin with a mark; their first line is read all the same."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n{"a": 2}\n')
    assert [row["a"] for _, row in read_json_lines(path)] == [1, 2]
