"""The untrained head scores by its seed alone, and the digest tells every model from the others."""

import pytest
import torch
from tiny import small_model

from worldpm.errors import CheckpointError
from worldpm.model.digest import score_digest
from worldpm.model.untrained import UntrainedWeights
from worldpm.tokens.encode import Encoder


@pytest.fixture
def base(tmp_path):
    return small_model(tmp_path / "base", head=False)


def test_the_head_is_random_by_its_seed(base):
    """The same seed gives the same head, another one another, of the size of the states."""
    first, again, other = (UntrainedWeights(base, seed=s).head() for s in (0, 0, 1))
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)
    assert first.weight.shape == (1, 16)
    assert first.bias is None
    assert 0.3 < float(first.weight.norm()) < 2.0


def test_a_trained_head_is_not_thrown_away(tmp_path):
    """A checkpoint that has a head is refused: its floor is its base."""
    with pytest.raises(CheckpointError, match=r"score\."):
        UntrainedWeights(small_model(tmp_path / "trained"), seed=0)


def test_the_digest_follows_weights_template_and_settings(base):
    """Any of them changes it; the same folder has the same one."""
    encoder = Encoder.from_folder(base)
    plain = score_digest(base, encoder, dtype="float32")
    assert plain == score_digest(base, encoder, dtype="float32")
    assert plain != score_digest(base, encoder, dtype="bfloat16")
    weights = base / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    moved = score_digest(base, encoder, dtype="float32")
    assert moved != plain
    template = base / "chat_template.jinja"
    template.write_text(template.read_text() + "!")
    assert score_digest(base, Encoder.from_folder(base), dtype="float32") != moved
