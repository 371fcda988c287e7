"""Errors carry the exit code that the command line ends with."""

import gzip

import pytest

from worldpm import errors


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("WorldPMError", 1),
        ("DataError", 1),
        ("UnreadError", 1),
        ("ConfigError", 1),
        ("CheckpointError", 1),
        ("NonFiniteError", 1),
        ("OutputExistsError", 1),
        ("GateError", 3),
        ("InterruptedRunError", 75),
    ],
)
def test_exit_codes(name, code):
    """One of the documented codes, and always a WorldPMError."""
    kind = getattr(errors, name)
    assert issubclass(kind, errors.WorldPMError)
    assert kind("x").exit_code == code


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(5, "Input/output error"), "Input/output error"),
        (OSError(24, "Too many open files"), "Too many open files"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
        (MemoryError(), "no memory left"),
        (FileNotFoundError(2, "No such file or directory"), None),
        (IsADirectoryError(21, "Is a directory"), None),
        (OSError(22, "Invalid argument"), None),  # where a damaged header leads to
        (gzip.BadGzipFile("Not a gzipped file"), None),
        (ValueError("x"), None),
    ],
)
def test_what_is_no_fault_of_the_file(error, reason):
    """A failing disk and a lack of memory are told from damage and from wrong paths."""
    found = errors.unread("a.7z", error)
    assert (found is None) == (reason is None)
    assert not found or str(found).startswith(f"a.7z: cannot be read now: {reason}; ")
