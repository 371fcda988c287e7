"""Plain reads past the cache: the same bits as the library's, also where the system refuses."""

import errno
import fcntl
import os

import numpy as np
import pytest
import torch
from checkpoints import LAYOUTS, write_layout

from worldpm.errors import CheckpointError
from worldpm.model import reading
from worldpm.model.reading import BLOCK, TensorReader, sequential_rate
from worldpm.model.weights import EMBEDDING, Weights

needs_direct = pytest.mark.skipif(not hasattr(os, "O_DIRECT"), reason="no O_DIRECT here")


@pytest.fixture
def weights(tmp_path):
    return Weights(write_layout(tmp_path / "m", "Qwen2ForRewardModel", shards=3, seed=5))


def read(reader, names):
    """The tensors, copied out of the buffer."""
    buffer = reader.buffer(reader.buffer_bytes(names))
    return {name: tensor.clone() for name, tensor in reader.read(names, buffer).items()}


def assert_equal(found, weights, names):
    wanted = weights.read(list(names))
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in names)
    assert all(found[name].dtype == wanted[name].dtype for name in names)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("direct", [True, False])
def test_bits_are_the_librarys(tmp_path, layout, dtype, direct):
    """Every tensor of every layout and type, in any order of names, through the cache or past."""
    weights = Weights(write_layout(tmp_path / "m", layout, shards=2, dtype=dtype))
    reader = TensorReader(weights, direct=direct)
    names = sorted(weights.places, reverse=True)
    assert_equal(read(reader, names), weights, names)
    assert reader.num_bytes >= weights.num_bytes(names)
    assert reader.seconds > 0


@needs_direct
@pytest.mark.parametrize("at", ["open", "preadv"])
def test_a_file_system_without_direct_reads(weights, monkeypatch, at):
    """Refused when it is opened or only at the first read, the same bits come by the cache."""
    real_open, real_read = os.open, os.preadv
    refused = []

    def refuse():
        refused.append(at)
        raise OSError(errno.EINVAL, "Invalid argument")

    def opened(path, flags, *more):
        if at == "open" and flags & os.O_DIRECT:
            refuse()
        return real_open(path, flags, *more)

    def preadv(descriptor, buffers, offset):
        if at == "preadv" and fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            refuse()
        return real_read(descriptor, buffers, offset)

    monkeypatch.setattr(reading.os, "open", opened)
    monkeypatch.setattr(reading.os, "preadv", preadv)
    names = weights.layer_names(1)
    assert_equal(read(TensorReader(weights), names), weights, names)
    assert refused


@pytest.mark.parametrize("call", ["open", "preadv"])
def test_a_disk_that_fails_is_named(weights, monkeypatch, call):
    """Another error of the system is one of the checkpoint, with the file and the reason."""

    def fail(*arguments):
        raise OSError(errno.EIO, "Input/output error")

    reader = TensorReader(weights)
    monkeypatch.setattr(reading.os, call, fail)
    with pytest.raises(CheckpointError, match=r"\.safetensors: cannot be read: Input/output"):
        read(reader, weights.layer_names(0))


def test_short_reads_are_gone_on_with(weights, monkeypatch):
    """A system that gives a block at a time gives the same tensors."""
    real = os.preadv
    monkeypatch.setattr(
        reading.os, "preadv", lambda fd, buffers, offset: real(fd, [buffers[0][:BLOCK]], offset)
    )
    names = [*weights.layer_names(0), EMBEDDING]
    assert_equal(read(TensorReader(weights), names), weights, names)


@pytest.mark.parametrize("rows", [[0], [319], [0, 319], [3, 4, 5, 200], list(range(320))])
@pytest.mark.parametrize("chunk", [BLOCK, 1 << 24])
@pytest.mark.parametrize("near", [0, 1 << 20])
def test_rows_are_those_of_the_matrix(weights, monkeypatch, rows, chunk, near):
    """First and last rows, neighbours and gaps, in one read or in many."""
    monkeypatch.setattr(reading, "CHUNK", chunk)
    monkeypatch.setattr(reading, "NEAR", near)
    found = TensorReader(weights).read_rows(EMBEDDING, np.array(rows))
    assert torch.equal(found, weights.read([EMBEDDING])[EMBEDDING][rows])


def test_only_the_rows_neighbourhood_is_read(weights, monkeypatch):
    """Two rows far apart are two small reads, not the whole matrix."""
    monkeypatch.setattr(reading, "NEAR", 0)
    reader = TensorReader(weights)
    reader.read_rows(EMBEDDING, np.array([0, 319]))
    assert reader.num_bytes <= 4 * BLOCK < weights.num_bytes([EMBEDDING])


@pytest.mark.parametrize("dtype", reading.INFINITY)
def test_the_largest_finite_numbers_pass(weights, dtype):
    """Only infinities and what is no number are refused, of either sign and at any place."""
    reader = TensorReader(weights)
    largest = torch.finfo(dtype).max
    reader.check_finite("w", torch.tensor([[largest, -largest, 0.0, -0.0]], dtype=dtype))
    for bad in (float("inf"), float("-inf"), float("nan"), -float("nan")):
        values = torch.zeros((1 << 20) + 3, dtype=dtype)  # the last of more than one piece
        values[-1] = bad
        with pytest.raises(CheckpointError, match="w has values that are not finite"):
            reader.check_finite("w", values)


def test_a_rate_is_bytes_by_seconds(tmp_path):
    """A file of any length, aligned or not, is read to its end."""
    for size in (1, BLOCK, 3 * BLOCK + 7):
        path = tmp_path / str(size)
        path.write_bytes(os.urandom(size))
        assert sequential_rate(path) > 0


def test_tensors_that_are_not_aligned_are_copied(tmp_path):
    """A file whose header was written by another program may put tensors at odd places."""
    folder = write_layout(tmp_path / "m", "LlamaForSequenceClassification")
    path = folder / "model.safetensors"
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].rstrip()
    header += b" " * (1 + (-len(header)) % 8)  # one more than the library's alignment
    assert len(header) % 8 == 1
    path.write_bytes(len(header).to_bytes(8, "little") + header + data[8 + length :])
    weights = Weights(folder)
    assert_equal(read(TensorReader(weights), list(weights.places)), weights, weights.places)
