"""Small JSON files: their object, or an error of the caller's kind that names the file."""

import pytest

from worldpm.errors import CheckpointError, DataError
from worldpm.jsonfiles import json_bytes, read_object


def test_an_object(tmp_path):
    """What the file holds comes back."""
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, null], "你": "好"}', encoding="utf-8")
    assert read_object(path) == {"a": [1, None], "你": "好"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", r"a\.json: not valid JSON"),
        (b'{"a": "\xff"}', r"a\.json: not valid JSON"),
        (b"", r"a\.json: not valid JSON"),
        (b"[{}]", r"a\.json: holds a list, not a JSON object"),
        (b"null", r"a\.json: holds a NoneType, not a JSON object"),
        (None, r"a\.json: cannot be read: No such file or directory"),
    ],
)
def test_what_is_none(tmp_path, content, message):
    """Damaged, empty, of another kind or missing: the error says which, and then what to do."""
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_object(path)
    with pytest.raises(CheckpointError, match=rf"{message}.*; fetch it again$"):
        read_object(path, CheckpointError, "fetch it again")


def test_names_that_are_no_utf8_are_written_with_a_mark():
    """At any depth, as keys too; whatever JSON has no form for is refused as before."""
    name = b"s\xe9t".decode("utf-8", "surrogateescape")
    found = json_bytes({name: [{"path": (name, "睡", 1, None)}]})
    assert found.decode() == '{"s\ufffdt":[{"path":["s\ufffdt","睡",1,null]}]}'
    with pytest.raises(TypeError):
        json_bytes({"a": object()})
