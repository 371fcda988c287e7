"""A base of random weights: by its seed alone, of the shape asked for, ready to be trained."""

import json
from pathlib import Path

import pytest
import torch
from checkpoints import read_state
from tiny import SMALL, tiny_tokenizer

from worldpm.errors import CheckpointError
from worldpm.model.config import parse_config
from worldpm.model.fresh import create_base, read_shape

SHAPES = Path(__file__).parents[2] / "recipes" / "shapes"
QWEN = {**SMALL, "model_type": "qwen2"}


@pytest.fixture
def tokenizer(tmp_path):
    return tiny_tokenizer(tmp_path / "tokenizer", merges=False)


def shape_file(folder, **changes):
    path = folder / "shape.json"
    fields = {key: value for key, value in {**QWEN, **changes}.items() if value is not None}
    path.write_text(json.dumps(fields))
    return path


def test_the_seed_decides_every_byte(tokenizer, tmp_path):
    """The same seed gives the same folder, another one other weights."""
    shape = shape_file(tmp_path)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        create_base(shape, tokenizer, tmp_path / name, seed=seed)
    a, b, c = ((tmp_path / n / "model.safetensors").read_bytes() for n in "abc")
    assert a == b
    assert a != c


def test_weights_begin_as_transformers_begins_them(tokenizer, tmp_path):
    """Matrices have the spread of the config, biases are 0, norms 1, and there is no head."""
    create_base(shape_file(tmp_path, initializer_range=0.5), tokenizer, tmp_path / "base", seed=0)
    state = read_state(tmp_path / "base")
    assert not any(name.startswith("score.") for name in state)
    assert "model.layers.1.self_attn.q_proj.bias" in state
    for name, tensor in state.items():
        if "norm" in name:
            assert torch.all(tensor == 1), name
        elif name.endswith("bias"):
            assert torch.all(tensor == 0), name
        else:
            assert 0.4 < float(tensor.std()) < 0.6, name


def test_the_vocabulary_is_the_tokenizers(tokenizer, tmp_path):
    """Without a size the tokenizer's is taken; a larger one stays, a smaller one is refused."""
    assert read_shape(shape_file(tmp_path, vocab_size=None), 260).vocab_size == 260
    assert read_shape(shape_file(tmp_path, vocab_size=300), 260).vocab_size == 300
    with pytest.raises(CheckpointError, match="vocab_size 99 is less than the tokenizer's 260"):
        create_base(shape_file(tmp_path, vocab_size=99), tokenizer, tmp_path / "base", seed=0)
    assert not (tmp_path / "base").exists()


@pytest.mark.parametrize(
    ("name", "millions"),
    [("ladder-200k", 0.201), ("ladder-1m", 1.1), ("ladder-3m", 3.15), ("ladder-10m", 9.96),
     ("ladder-28m", 28.2), ("qwen2.5-1.5b", 1310), ("qwen2.5-7b", 6526), ("qwen2.5-72b", 70215)],
)  # fmt: skip
def test_shipped_shapes_have_the_sizes_in_their_names(name, millions):
    """Parameters without embeddings; the 72B one is the released checkpoint's."""
    raw = json.loads((SHAPES / name / "config.json").read_text())
    config = parse_config({"vocab_size": 49152, **raw}, name)
    assert config.num_parameters() / 1e6 == pytest.approx(millions, rel=0.01)
