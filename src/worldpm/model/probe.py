"""How fast this machine reads a layer, makes it and takes tokens through it: a second or a few.

measure_speeds(weights, engine)  ->  Speeds(bytes_per_second, pack_seconds, tokens_per_second)
outline_speeds(outline, make_engine)  ->  the same where there are no weights yet, an estimate
"""

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from worldpm.model.batch import TreeBatch
from worldpm.model.config import ModelConfig
from worldpm.model.decoder import Layer
from worldpm.model.engine import Engine, LayerRun
from worldpm.model.outline import Outline
from worldpm.model.reading import BLOCK, TensorReader, sequential_rate
from worldpm.model.weights import Weights

TOKENS = 1024
FILE_BYTES = 256 << 20
WIDTH = 2048  # of the layer that stands for a wider one: 50 million weights and more compute alike


class Speeds(NamedTuple):
    """What a quick probe measured on this machine."""

    bytes_per_second: float  # reads of weights
    pack_seconds: float  # making one layer
    tokens_per_second: float  # through one layer


def measure_speeds(weights: Weights, engine: Engine) -> Speeds:
    """Read the first layer, make it and take tokens through it."""
    names = weights.layer_names(0)
    reader = TensorReader(weights)
    buffer = reader.buffer(reader.buffer_bytes(names))
    buffer[::BLOCK] = bytes(len(buffer[::BLOCK]))  # pages are taken before the clock starts
    tensors = reader.read(names, buffer)
    rate = reader.num_bytes / reader.seconds
    started = time.perf_counter()
    for name, tensor in tensors.items():
        reader.check_finite(name, tensor)
    layer = engine.make_layer(
        {name.removeprefix("model.layers.0."): tensor for name, tensor in tensors.items()}
    )
    return Speeds(rate, time.perf_counter() - started, _rate(engine, layer, weights.config))


def outline_speeds(outline: Outline, make_engine: Callable[[ModelConfig], Engine]) -> Speeds:
    """Speeds of the disk that the folder is on, and of a narrower layer, scaled by their work."""
    config = outline.config
    small = narrow(config)
    engine = make_engine(small)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in Layer(small).state_dict().items()}
    dtype = next(iter(outline.places.values())).dtype
    tensors = {name: torch.full(shape, 0.01, dtype=dtype) for name, shape in shapes.items()}
    started = time.perf_counter()
    layer = engine.make_layer(tensors)
    packed = time.perf_counter() - started
    work = config.num_parameters() / config.num_hidden_layers / small.num_parameters()
    rate = _rate(engine, layer, small)
    return Speeds(_disk_rate(outline.folder), packed * work, rate / work)


def narrow(config: ModelConfig) -> ModelConfig:
    """One layer of the shape, at most WIDTH wide, its proportions kept."""
    share = min(1.0, WIDTH / config.hidden_size)
    keys = max(1, round(config.num_key_value_heads * share))
    return replace(
        config,
        num_hidden_layers=1,
        hidden_size=round(config.hidden_size * share),
        intermediate_size=max(1, round(config.intermediate_size * share)),
        num_attention_heads=keys * (config.num_attention_heads // config.num_key_value_heads),
        num_key_value_heads=keys,
    )


def _rate(engine: Engine, layer: LayerRun, config: ModelConfig) -> float:
    """Tokens a second through one layer, after a few to begin with."""
    for count in (64, min(TOKENS, config.max_position_embeddings)):
        places = torch.arange(count)
        batch = TreeBatch(
            torch.zeros_like(places), places, ((count,),), (((),),), places[-1:], (1,)
        )
        plan = engine.plan(batch)
        residual = torch.randn(count, config.hidden_size)
        with torch.inference_mode():
            started = time.perf_counter()
            layer(residual, plan)
            seconds = time.perf_counter() - started
    return count / seconds


def _disk_rate(folder: Path) -> float:
    """Of reading back a file that is written for that, in the folder if it may be."""
    place = folder if os.access(folder, os.W_OK) else Path(tempfile.gettempdir())
    with tempfile.NamedTemporaryFile(dir=place, prefix=".probe-") as file:
        block = os.urandom(BLOCK * 1024)
        for _ in range(FILE_BYTES // len(block)):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        return sequential_rate(Path(file.name))
