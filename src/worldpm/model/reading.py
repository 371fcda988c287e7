"""Tensors of a checkpoint by plain reads, past the page cache where the system lets us.

    reader = TensorReader(weights)
    buffer = reader.buffer(reader.buffer_bytes(names))  # used again for the next layer
    reader.read(names, buffer)  ->  {name: a tensor in the buffer}
    reader.read_rows(name, rows) -> (rows, width)

Read this way (O_DIRECT, 16 MB at a time) a disk gave 1.8 GB/s here against 1.3 for buffered reads
whose pages are dropped again, and a model larger than memory pushes nothing else out of the cache.
"""

import errno
import mmap
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldpm.errors import CheckpointError
from worldpm.model.weights import Weights

BLOCK = 4096  # O_DIRECT's alignment of offset, length and memory
CHUNK = 16 << 20  # bytes of one read
NEAR = 256 << 10  # a gap smaller than this is read along: cheaper than another request
# For each float type, its bits as an integer: the mask of all but the sign, and infinity.
INFINITY = {
    torch.bfloat16: (np.uint16, 0x7FFF, 0x7F80),
    torch.float16: (np.uint16, 0x7FFF, 0x7C00),
    torch.float32: (np.uint32, 0x7FFFFFFF, 0x7F800000),
    torch.float64: (np.uint64, 0x7FFFFFFFFFFFFFFF, 0x7FF0000000000000),
}


@dataclass(frozen=True, slots=True)
class _Range:
    """Aligned bytes of a file, and the tensors that begin in them: one sequential read."""

    file: Path
    first: int
    last: int
    names: list[str]


class TensorReader:
    """Reads tensors of one checkpoint; counts the bytes and the seconds that took."""

    def __init__(self, weights: Weights, *, direct: bool = True) -> None:
        self.folder = weights.folder
        self.places = weights.places
        self.direct = direct
        self.num_bytes = 0
        self.seconds = 0.0

    def buffer_bytes(self, names: Sequence[str]) -> int:
        """Bytes of memory that `read` needs for the named tensors."""
        return sum(part.last - part.first for part in self._ranges(names))

    def buffer(self, size: int) -> mmap.mmap:
        """Memory to read into, aligned; in huge pages where there are any."""
        memory = mmap.mmap(-1, max(size, BLOCK))
        if hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)  # first touches of small pages run at 0.4 GB/s
        return memory

    def read(self, names: Sequence[str], buffer: mmap.mmap) -> dict[str, Tensor]:
        """The named tensors in the checkpoint's dtypes, in `buffer`, which is overwritten."""
        tensors = {}
        place = 0
        with memoryview(buffer) as view:
            for part in self._ranges(names):
                needed = max(self._end(name) for name in part.names)
                with _File(part.file, self.direct) as file:
                    own = view[place : place + part.last - part.first]
                    self._fill(file, own, part.first, needed)
                for name in part.names:
                    start = place + self.places[name].start - part.first
                    tensors[name] = self._tensor(name, buffer, start)
                place += part.last - part.first
        return tensors

    def timed(self, names: Sequence[str], buffer: mmap.mmap) -> tuple[dict[str, Tensor], float]:
        """`read`, and the seconds it took."""
        started = time.perf_counter()
        return self.read(names, buffer), time.perf_counter() - started

    def read_rows(self, name: str, rows: NDArray[np.int64]) -> Tensor:
        """Rows (N, width) of a matrix, `rows` (N,) rising; only their neighbourhood is read."""
        at = self.places[name]
        count, width = at.shape
        assert rows.size
        assert rows[0] >= 0
        assert rows[-1] < count
        row_bytes = at.num_bytes // count
        found = np.empty((rows.size, row_bytes), dtype=np.uint8)
        # A block is what one read of CHUNK covers; a gap that is not worth reading ends one, too.
        per_block = max(1, CHUNK // row_bytes)
        memory = mmap.mmap(-1, per_block * row_bytes + 2 * BLOCK)
        with _File(at.file, self.direct) as file, memoryview(memory) as view:
            start = 0
            while start < rows.size:
                near = rows[start : start + per_block]
                gaps = (np.diff(near) * row_bytes > NEAR) | (near[1:] - near[0] >= per_block)
                stop = start + (int(gaps.argmax()) + 1 if gaps.any() else near.size)
                begin = at.start + int(rows[start]) * row_bytes
                end = at.start + (int(rows[stop - 1]) + 1) * row_bytes
                first, last = begin // BLOCK * BLOCK, -(-end // BLOCK) * BLOCK
                self._fill(file, view[: last - first], first, end)
                block = np.frombuffer(view[begin - first : end - first], dtype=np.uint8)
                found[start:stop] = block.reshape(-1, row_bytes)[rows[start:stop] - rows[start]]
                del block
                start = stop
        return torch.from_numpy(found.reshape(-1)).view(at.dtype).view(-1, width)

    def check_finite(self, name: str, tensor: Tensor) -> None:
        """CheckpointError for a value that is not finite.

        On the bits, a piece in the cache at a time: 4.0 GB/s on one thread, `isfinite` 0.1.
        """
        kind, mask, infinity = INFINITY[tensor.dtype]
        bits = tensor.reshape(-1).view(torch.uint8).numpy().view(kind)
        for start in range(0, bits.size, 1 << 20):
            if (bits[start : start + (1 << 20)] & kind(mask)).max() >= infinity:
                raise CheckpointError(f"{self.folder}: {name} has values that are not finite")

    def _fill(self, file: "_File", view: memoryview, offset: int, needed: int) -> None:
        started = time.perf_counter()
        self.num_bytes += file.fill(view, offset, needed)
        self.seconds += time.perf_counter() - started

    def _end(self, name: str) -> int:
        return self.places[name].start + self.places[name].num_bytes

    def _ranges(self, names: Sequence[str]) -> list[_Range]:
        ordered = sorted(names, key=lambda n: (self.places[n].file, self.places[n].start))
        ranges: list[_Range] = []
        for name in ordered:
            at = self.places[name]
            first, last = at.start // BLOCK * BLOCK, -(-self._end(name) // BLOCK) * BLOCK
            before = ranges[-1] if ranges else None
            if before and before.file == at.file and first <= before.last + NEAR:
                merged = max(last, before.last)
                ranges[-1] = _Range(at.file, before.first, merged, [*before.names, name])
            else:
                ranges.append(_Range(at.file, first, last, [name]))
        return ranges

    def _tensor(self, name: str, buffer: mmap.mmap, start: int) -> Tensor:
        at = self.places[name]
        if not at.num_bytes:
            return torch.empty(at.shape, dtype=at.dtype)
        flat = torch.frombuffer(buffer, dtype=torch.uint8, count=at.num_bytes, offset=start)
        if start % at.dtype.itemsize:  # a file that was not written by the library
            flat = flat.clone()
        return flat.view(at.dtype).view(at.shape)


def sequential_rate(path: Path) -> float:
    """Bytes a second of reading a file from its beginning to its end, past the page cache."""
    memory = mmap.mmap(-1, CHUNK)
    memory[::BLOCK] = bytes(CHUNK // BLOCK)  # pages are taken before the clock starts
    size, done = path.stat().st_size, 0
    started = time.perf_counter()
    with _File(path, direct=True) as file, memoryview(memory) as view:
        while done < size:
            done += file.fill(view, done, min(size, done + CHUNK))
    return size / (time.perf_counter() - started)


class _File:
    """A file read in aligned blocks: directly, or where that is not to be had through the cache."""

    def __init__(self, path: Path, direct: bool) -> None:
        self.path = path
        self.direct = direct and hasattr(os, "O_DIRECT")
        self._descriptor = self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._descriptor)

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDONLY | (os.O_DIRECT if self.direct else 0))
        except OSError as error:
            if not self.direct or error.errno != errno.EINVAL:
                raise CheckpointError(f"{self.path}: cannot be read: {error.strerror}") from None
        self.direct = False
        return self._open()

    def fill(self, view: memoryview, offset: int, needed: int) -> int:
        """Read from `offset` on into `view`, and say how many bytes there were.

        The file may end before the view is full, but not before the byte `needed`.
        """
        done = 0
        while done < len(view):
            count = self._read(view[done : done + CHUNK], offset + done)
            done += count
            if not count or done % BLOCK:
                break  # the end of the file
        if offset + done < needed:
            raise CheckpointError(f"{self.path}: cut short while it was read")
        return done

    def _read(self, view: memoryview, offset: int) -> int:
        try:
            count = os.preadv(self._descriptor, [view], offset)
        except OSError as error:
            if not self.direct or error.errno != errno.EINVAL:
                raise CheckpointError(f"{self.path}: cannot be read: {error.strerror}") from None
            os.close(self._descriptor)
            self.direct = False
            self._descriptor = self._open()
            return self._read(view, offset)
        if not self.direct and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._descriptor, offset, count, os.POSIX_FADV_DONTNEED)
        return count
