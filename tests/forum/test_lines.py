"""Lines of dumps: every form of packing, every kind of damage, any length."""

import bz2
import gzip
import lzma
import random
import tracemalloc
from collections import Counter

import pytest

from worldpm.errors import DataError
from worldpm.forum import lines as module
from worldpm.forum.lines import dump_name, json_rows, lines, text_lines, zstd

PACK = {
    ".jsonl": lambda data: data,
    ".zst": zstd.compress,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def read(path, limit=1000):
    dropped = Counter()
    rows = list(json_rows(path, lambda reason: dropped.update([reason]), limit))
    return rows, dropped


@pytest.mark.parametrize("ending", PACK)
def test_rows_are_the_same_however_they_are_packed(tmp_path, ending):
    """Zstandard, gzip, bzip2, xz and bare files give their objects in order."""
    path = tmp_path / f"RC{ending}"
    path.write_bytes(PACK[ending](b'\xef\xbb\xbf{"a":1}\r\n\n  \n{"b":"\xc3\xa9"}'))
    assert read(path) == ([{"a": 1}, {"b": "\u00e9"}], {})


def test_a_window_of_two_gigabytes_is_read(tmp_path):
    """A frame that asks for `--long=31`, written by hand, and frames one after another."""
    data = b'{"a":1}\n'
    # Magic number, no flags, window 2**(10 + 21), one raw block that is the last.
    frame = b"\x28\xb5\x2f\xfd\x00" + bytes([21 << 3]) + (len(data) << 3 | 1).to_bytes(3, "little")
    path = tmp_path / "RC.zst"
    path.write_bytes(frame + data + zstd.compress(data))
    assert read(path)[0] == [{"a": 1}] * 2


BAD_LINES = {
    "malformed_json": [
        b"{",
        b'{"a":1',
        b"nul",
        b'{"a":NaN}',
        b'"\\ud800"',
        b"\xff\xfe",
        b"[" * 900,
    ],
    "line_too_long": [b'{"a":"%s"}' % (b"x" * 1000), b"[" * 5000, b" " * 1001],
    "not_an_object": [b"[1]", b"3", b'"x"', b"null", b"true"],
}


def test_bad_lines_are_counted_exactly_and_good_ones_kept(tmp_path):
    """400 bad lines among 600 good ones: each under its reason, none lost."""
    chance = random.Random(0)
    bad = [(reason, line) for reason, lines_ in BAD_LINES.items() for line in lines_]
    mixed = [chance.choice(bad) for _ in range(400)] + [
        ("good", b'{"n":%d}' % n) for n in range(600)
    ]
    chance.shuffle(mixed)
    path = tmp_path / "RC.zst"
    path.write_bytes(zstd.compress(b"\n".join(line for _, line in mixed)))
    rows, dropped = read(path)
    assert sorted(row["n"] for row in rows) == list(range(600))
    assert dropped == Counter(reason for reason, _ in mixed if reason != "good")


@pytest.mark.parametrize("chunk", [1, 2, 7, 64])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_lines_are_those_of_a_plain_split(tmp_path, monkeypatch, chunk, end):
    """However the bytes arrive: lines up to the limit as they are, longer ones counted once."""
    monkeypatch.setattr(module, "CHUNK_BYTES", chunk)
    chance = random.Random(chunk)
    made = [
        bytes(chance.choices(b"abc", k=chance.choice([0, 1, 5, 9, 10, 11, 30]))) for _ in range(99)
    ]
    made.append(b"last")
    path = tmp_path / "x"
    path.write_bytes(b"\n".join(made) + end)
    long = []
    got = list(lines(path, lambda: long.append(1), 10))
    assert got == [line for line in made if len(line) <= 10]
    assert len(long) == sum(len(line) > 10 for line in made)


def test_a_line_of_100_mb_takes_no_memory(tmp_path):
    """It is skipped as it streams past, and the line after it is read."""
    path = tmp_path / "RC.zst"
    with zstd.ZstdFile(path, "w", level=1) as file:
        noise = random.Random(0).randbytes(500_000).hex().encode()  # so that it is no bomb
        for _ in range(100):
            file.write(noise)
        file.write(b'\n{"a":1}\n')
    tracemalloc.start()
    rows, dropped = read(path, 1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (rows, dropped) == ([{"a": 1}], {"line_too_long": 1})
    assert peak < 20e6


@pytest.mark.parametrize("ending", [".zst", ".gz", ".xz", ".bz2"])
@pytest.mark.parametrize("keep", [0.02, 0.5, 0.99])
def test_a_file_cut_short_is_an_error_that_names_it(tmp_path, ending, keep):
    """Never a smaller dump: the error says how far it was read and what to do."""
    data = b"".join(
        b'{"a":"%s"}\n' % random.Random(n).randbytes(20).hex().encode() for n in range(3000)
    )
    packed = PACK[ending](data)
    path = tmp_path / f"RC{ending}"
    path.write_bytes(packed[: int(keep * len(packed))])
    with pytest.raises(DataError, match=rf"RC\{ending}: cut short or damaged .*download it again"):
        read(path)


def test_flipped_bits_are_an_error_or_counted(tmp_path):
    """120 damaged files: a DataError, or rows and counted lines; never another exception."""
    data = b"".join(b'{"n":%d}\n' % number for number in range(2000))
    packed, chance, refused = zstd.compress(data), random.Random(3), 0
    path = tmp_path / "RC.zst"
    for _ in range(120):
        damaged = bytearray(packed)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            read(path)
        except DataError:
            refused += 1
    assert refused > 30


def test_a_bomb_is_stopped(tmp_path, monkeypatch):
    """What unpacks to hundreds of times its size is refused soon after the limit."""
    monkeypatch.setattr(module, "RATIO_FLOOR_BYTES", 1_000_000)
    path = tmp_path / "RC.zst"
    path.write_bytes(zstd.compress(b" " * 50_000_000))
    with pytest.raises(DataError, match="decompression bomb"):
        read(path)


@pytest.mark.parametrize("data", [b"", b"\n\n", b"<posts>\n<row/>\n</posts>", b"[1]\n2"])
def test_a_file_of_something_else_is_an_error(tmp_path, data):
    """Where no line is an object, all lines dropped would hide the mistake."""
    (tmp_path / "x.jsonl").write_bytes(data)
    with pytest.raises(
        DataError, match=r"x\.jsonl: (no line|none of its \d lines) is a JSON object"
    ):
        read(tmp_path / "x.jsonl")


def test_missing_files_and_folders_are_named(tmp_path):
    """What cannot be opened is a DataError."""
    for path in (tmp_path / "none.zst", tmp_path):
        with pytest.raises(DataError, match=path.name):
            read(path)


def test_text_lines_keep_their_ends_and_must_be_utf8(tmp_path):
    """Line ends stay for the CSV reader; bytes that are no UTF-8 name their line."""
    path = tmp_path / "x.csv"
    path.write_bytes(b"\xef\xbb\xbfa\r\nb\nc")
    assert list(text_lines(path)) == ["a\r\n", "b\n", "c"]
    path.write_bytes(b"a\n\xff\n")
    with pytest.raises(DataError, match=r"x\.csv:2: not UTF-8"):
        list(text_lines(path))


@pytest.mark.parametrize(
    "name", ["u3d.tar.gz", "u3d.tgz", "u3d.jsonl.zst", "u3d.CSV", "u3d", "u3d.json"]
)
def test_a_dump_has_its_name_without_endings(tmp_path, name):
    """The name of the part and of the source."""
    assert dump_name(tmp_path / name) == "u3d"
