"""Errors carry the exit code that the command line ends with."""

import pytest

from worldpm import errors


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("WorldPMError", 1),
        ("DataError", 1),
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
