"""The errors a user can cause, each with the exit code the command line ends with.

Raise a `WorldPMError` for what the user did, `assert` for what we did. A message says what is
wrong, where, and what to do about it, in one sentence.
"""

import errno


class WorldPMError(Exception):
    """Something the user can mend; shown as one message, without a traceback (exit code 1)."""

    exit_code = 1


class DataError(WorldPMError):
    """A file or row that cannot be read; the message names the file and the line or row."""


class UnreadError(DataError):
    """A file that cannot be read now (a failing disk, no memory); what it holds may be sound."""


class ConfigError(WorldPMError):
    """A setting that is unknown, missing or out of range; the message names its key."""


class CheckpointError(WorldPMError):
    """A model folder that is incomplete, unsafe or of an unsupported shape."""


class NonFiniteError(WorldPMError):
    """A score that is no finite number: the weights or the precision are at fault."""


class OutputExistsError(WorldPMError):
    """An output is already there and `--force` was not given."""


class UnwrittenError(WorldPMError):
    """An output could not be written: a full disk, a folder that may not be written to."""


class ServiceError(WorldPMError):
    """A server could not be reached, or went on failing; nothing is known of what was asked.

    `reached` tells whether it answered at all.
    """

    def __init__(self, message: str, *, reached: bool = True) -> None:
        super().__init__(message)
        self.reached = reached


class GateError(WorldPMError):
    """The work ran to its end, but a gate that the user set failed (exit code 3)."""

    exit_code = 3


class InterruptedRunError(WorldPMError):
    """Stopped by a signal after saving; the same command with `--resume` goes on (exit code 75)."""

    exit_code = 75


# Of a file's own: it is not there, no file, or sends its reader to a place that it does not have.
_OF_THE_FILE = {errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.EINVAL, None}


def unread(path: object, error: BaseException) -> UnreadError | None:
    """The error for a file that could not be read for no fault of its own, or None for its own.

    Libraries raise an OSError without a number for what is damaged.
    """
    if isinstance(error, OSError) and error.errno not in _OF_THE_FILE:
        reason = error.strerror or str(error)
    elif isinstance(error, MemoryError):
        reason = "no memory left"
    else:
        return None
    return UnreadError(f"{path}: cannot be read now: {reason}; the same command goes on")
