"""The residual stream of a whole job between two layers: in memory, or in a file that survives.

    states.put(batch, residual); ...; states.commit(layers_done); states.get(batch)

The file has two regions. A layer reads one and writes the other, and only then is the small JSON
beside it replaced: wherever a run is killed, the region that the JSON names is whole. Plain reads
and writes, not a memory map: a full disk is then an error and no signal, and what is written
does not count as this process's memory.
"""

import errno
import fcntl
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import orjson
import torch
from torch import Tensor

from worldpm.errors import DataError, WorldPMError
from worldpm.store import write_atomic

DATA, STATE, LOCK = "states.bin", "states.json", "states.lock"
MADE = b"made"
FORMAT = "worldpm-states/1"
SUM_WORDS = 1 << 17
Say = Callable[[str], None]


class States(Protocol):
    """Residuals (tokens of a batch, hidden) float32 of every batch, after some layers."""

    layers_done: int

    def get(self, batch: int) -> Tensor:
        """The residual of a batch after `layers_done` layers."""

    def put(self, batch: int, residual: Tensor) -> None:
        """The residual of a batch after one layer more; batches come in order."""

    def commit(self, layers_done: int) -> None:
        """All batches are put: from now on `get` gives those."""

    def remove(self) -> None:
        """The job is done."""

    def close(self) -> None:
        """Let go of what is open; what is on disk stays."""


class MemoryStates:
    """All states in memory; nothing survives the process."""

    def __init__(self) -> None:
        self.layers_done = -1
        self._residuals: dict[int, Tensor] = {}

    def get(self, batch: int) -> Tensor:
        """See `States.get`; the layer may work in place."""
        return self._residuals[batch]

    def put(self, batch: int, residual: Tensor) -> None:
        """See `States.put`."""
        self._residuals[batch] = residual

    def commit(self, layers_done: int) -> None:
        """See `States.commit`."""
        self.layers_done = layers_done

    def remove(self) -> None:
        """See `States.remove`."""
        self._residuals.clear()

    def close(self) -> None:
        """See `States.close`."""


class FileStates:
    """States in a scratch folder, which belongs to one run at a time.

    `identity` names the job; a folder that another job began is refused with DataError, and one
    that is damaged (also after a power failure: the data are summed) is begun anew, which `say`
    is told. `layers_done` is -1 at a new beginning, when not even the embeddings are there.
    Raises WorldPMError when the disk has no room, before anything is computed.
    """

    def __init__(
        self,
        folder: Path,
        identity: Mapping[str, Any],
        tokens: Sequence[int],
        hidden_size: int,
        say: Say,
    ) -> None:
        self.folder = folder
        self._identity = dict(identity)
        self._shapes = [(count, hidden_size) for count in tokens]
        row_bytes = 4 * hidden_size
        self._starts = [0, *accumulate(count * row_bytes for count in tokens)]
        self._sum = 0
        self.layers_done = -1
        made = not folder.is_dir()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            if made:  # and goes again, whichever run ends the job
                os.pwrite(self._lock, MADE, 0)
            self._made = os.pread(self._lock, len(MADE), 0) == MADE
        except OSError as error:
            raise self._no_room(error) from None
        self._data = -1
        try:
            self._take()
            self._data = os.open(folder / DATA, os.O_RDWR | os.O_CREAT, 0o600)
            if not self._go_on(say):
                self._begin()
        except BaseException:
            self.close()
            raise

    def get(self, batch: int) -> Tensor:
        """See `States.get`."""
        residual = torch.empty(self._shapes[batch], dtype=torch.float32)
        self._read(residual, self.layers_done, batch)
        return residual

    def put(self, batch: int, residual: Tensor) -> None:
        """See `States.put`."""
        assert tuple(residual.shape) == self._shapes[batch]
        self._sum = _summed(residual, self._sum)
        view = residual.contiguous().numpy().data.cast("B")
        offset = self._offset(self.layers_done + 1, batch)
        done = 0
        while done < len(view):
            try:
                done += os.pwrite(self._data, view[done:], offset + done)
            except OSError as error:
                raise self._no_room(error) from None

    def commit(self, layers_done: int) -> None:
        """See `States.commit`."""
        assert layers_done == self.layers_done + 1
        state = {
            "format": FORMAT, "identity": self._identity, "layers_done": layers_done,
            "sum": self._sum,
        }  # fmt: skip
        write_atomic(self.folder / STATE, orjson.dumps(state))
        self.layers_done = layers_done
        self._sum = 0

    def remove(self) -> None:
        """See `States.remove`."""
        discard_scratch(self.folder, folder_too=self._made)
        self.close()

    def close(self) -> None:
        """See `States.close`."""
        for descriptor in (self._data, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._data = self._lock = -1

    def _take(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise WorldPMError(
                f"{self.folder}: another run works there; give this one a --scratch of its own"
            ) from None

    def _go_on(self, say: Say) -> bool:
        """Take up what is there, if anything is and it is whole."""
        path = self.folder / STATE
        if not path.exists():
            return False
        try:
            state = orjson.loads(path.read_bytes())
            identity, done = dict(state["identity"]), int(state["layers_done"])
            wanted = int(state["sum"])
            whole = state["format"] == FORMAT and done >= 0
        except (OSError, ValueError, TypeError, KeyError):
            whole = False
        if whole:
            differ = [key for key, value in self._identity.items() if identity.get(key) != value]
            if differ:
                raise DataError(
                    f"{self.folder}: holds the states of a job with another {', '.join(differ)}; "
                    "go on with that one, give another --scratch, or remove the folder"
                )
            self.layers_done = done
            whole = os.fstat(self._data).st_size == 2 * self._starts[-1] and self._check(wanted)
        if not whole:
            self.layers_done = -1
            say(f"{self.folder}: the states there are damaged; starting anew")
        return whole

    def _check(self, wanted: int) -> bool:
        total = 0
        for batch in range(len(self._shapes)):
            total = _summed(self.get(batch), total)
        return total == wanted

    def _begin(self) -> None:
        (self.folder / STATE).unlink(missing_ok=True)
        try:
            os.ftruncate(self._data, 0)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self._data, 0, 2 * self._starts[-1])
            else:
                os.ftruncate(self._data, 2 * self._starts[-1])
        except OSError as error:
            discard_scratch(self.folder, folder_too=self._made)
            raise self._no_room(error) from None

    def _no_room(self, error: OSError) -> WorldPMError:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return WorldPMError(f"{self.folder}: cannot be written: {error.strerror}")
        return WorldPMError(
            f"{self.folder}: has no room for the {2 * self._starts[-1] / 1e9:.2f} GB of states; "
            "free some, give another --scratch, or score fewer rows at a time"
        )

    def _offset(self, layers_done: int, batch: int) -> int:
        return self._starts[-1] * (layers_done % 2) + self._starts[batch]

    def _read(self, residual: Tensor, layers_done: int, batch: int) -> None:
        view = residual.numpy().data.cast("B")
        offset = self._offset(layers_done, batch)
        done = 0
        while done < len(view):
            count = os.preadv(self._data, [view[done:]], offset + done)
            if not count:
                raise WorldPMError(f"{self.folder}: the states were cut short by another program")
            done += count


def discard_scratch(folder: Path, *, folder_too: bool = True) -> None:
    """Remove our own files from a scratch folder, and the folder if that leaves it empty."""
    for name in (STATE, DATA, LOCK):  # the state first: without it nothing is taken up
        (folder / name).unlink(missing_ok=True)
    for half_written in folder.glob(f".{STATE}.*.tmp"):
        half_written.unlink(missing_ok=True)
    if folder_too and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _summed(residual: Tensor, before: int) -> int:
    """A check sum that depends on the order of blocks of a MiB: 3 GB/s, zlib's alone 0.9."""
    octets = residual.reshape(-1).view(torch.uint8).numpy()
    whole = octets.size // 8 * 8
    words = octets[:whole].view(np.uint64)
    sums = [words[i : i + SUM_WORDS].sum() for i in range(0, words.size, SUM_WORDS)]
    return zlib.crc32(octets[whole:].tobytes(), zlib.crc32(np.array(sums).tobytes(), before))
