"""7z archives: pushed, never unpacked, and refused where they are not what they should be."""

import random

import py7zr
import pytest
from dumps import write_7z

from worldpm.errors import DataError, UnreadError
from worldpm.forum import archive
from worldpm.forum.archive import feed_members


def read(path, *names):
    chunks = {name: bytearray() for name in names}
    found = feed_members(path, {name: chunks[name].extend for name in names})
    return found, {name: bytes(data) for name, data in chunks.items()}


def test_wanted_members_arrive_whole_and_nothing_touches_the_disk(tmp_path):
    """Each wanted member's bytes reach its callable; the folder holds only the archive after."""
    posts = bytes(random.Random(0).randbytes(3_000_000))
    path = write_7z(tmp_path / "s.7z", Posts=posts, Votes=b"votes", Users=b"users")
    found, data = read(path, "Posts.xml", "Votes.xml", "Tags.xml")
    assert found == {"Posts.xml", "Votes.xml"}
    assert data == {"Posts.xml": posts, "Votes.xml": b"votes", "Tags.xml": b""}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("keep", [0, 10, 31, 200, 0.5, 0.9, -1])
def test_a_truncated_archive_is_an_error_naming_it(tmp_path, keep):
    """Cut anywhere, an archive is refused with its name and what to do."""
    path = write_7z(tmp_path / "cut.7z", Posts=random.Random(1).randbytes(5000))
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(DataError, match=r"cut\.7z: not a complete 7z archive .*download it again"):
        read(path, "Posts.xml")


def test_flipped_bits_never_pass(tmp_path):
    """A damaged archive gives the right bytes or a DataError: 60 random flips."""
    posts = b"".join(b"<row Id='%d' />" % number for number in range(2000))
    path = write_7z(tmp_path / "flip.7z", Posts=posts)
    data, chance, refused = path.read_bytes(), random.Random(2), 0
    for _ in range(60):
        damaged = bytearray(data)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        try:
            found, got = read(path, "Posts.xml")
            assert not found or got["Posts.xml"] == posts
        except DataError:
            refused += 1
    assert refused > 40


def test_a_bomb_is_stopped_at_the_limit(tmp_path, monkeypatch):
    """Unpacking stops soon after the allowed ratio, with an error that says why."""
    monkeypatch.setattr(archive, "RATIO_FLOOR_BYTES", 1_000_000)
    path = write_7z(tmp_path / "bomb.7z", Posts=bytes(50_000_000))
    with pytest.raises(DataError, match=r"bomb\.7z: Posts\.xml: unpacks to more than 1,\d+"):
        read(path, "Posts.xml")


@pytest.mark.parametrize(
    "name", ["../Posts.xml", "/tmp/Posts.xml", "a/../../b", "C:\\Posts.xml", "..\\x"]
)
def test_escaping_names_are_refused(tmp_path, monkeypatch, name):
    """A member named to land elsewhere condemns the archive, although nothing is unpacked."""
    path = write_7z(tmp_path / "s.7z", Posts=b"x")
    monkeypatch.setattr(py7zr.SevenZipFile, "getnames", lambda self: ["ok", name])
    with pytest.raises(DataError, match=r"s\.7z: holds a member with the escaping name"):
        read(path, "Posts.xml")


def test_an_encrypted_archive_is_named_as_such(tmp_path):
    """A password is neither asked for nor guessed."""
    path = tmp_path / "s.7z"
    with py7zr.SevenZipFile(path, "w", password="p") as packed:
        packed.writestr(b"x", "Posts.xml")
    with pytest.raises(DataError, match=r"s\.7z: is encrypted"):
        read(path, "Posts.xml")


def test_an_error_of_the_callable_passes_through(tmp_path):
    """What a sink raises as DataError arrives as it was raised."""

    def sink(data):
        raise DataError("row 3 is bad")

    with pytest.raises(DataError, match=r"^row 3 is bad$"):
        feed_members(write_7z(tmp_path / "s.7z", Posts=b"x"), {"Posts.xml": sink})


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MemoryError()])
def test_what_is_no_fault_of_the_archive_is_told_from_damage(tmp_path, monkeypatch, error):
    """No user is sent to download again what a failing disk or a lack of memory kept from us."""
    path = write_7z(tmp_path / "s.7z", Posts=b"x")

    def fail(*arguments, **more):
        raise error

    monkeypatch.setattr(py7zr.SevenZipFile, "extract", fail)
    with pytest.raises(UnreadError, match=r"s\.7z: cannot be read now: .*; the same command"):
        read(path, "Posts.xml")
