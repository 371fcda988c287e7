"""What the scoring benchmarks score: real conversations, long prompts, and the work they are.

WORK/stackexchange -> Workload(comparisons, sequences): prompts with 2 to 8 replies each
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
import torch

from worldpm.model.checkpoint import write_model
from worldpm.model.config import ModelConfig, parse_config
from worldpm.model.decoder import PreferenceModel, linear_head
from worldpm.records import Comparison, Message
from worldpm.store import read_artifact
from worldpm.tokens.encode import Encoder
from worldpm.tokens.tree import build_tree

REPLY_TOKENS = (50, 800)
MAX_REPLIES = 8
PROMPT_TOKENS = 1000
QWEN_SHAPE = {  # Qwen2.5-0.5B's config.json
    "model_type": "qwen2",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151_936,
    "rms_norm_eps": 1e-6,
    "rope_theta": 1e6,
    "max_position_embeddings": 32_768,
}


@dataclass(frozen=True)
class Workload:
    """Comparisons, and their conversations one after the other as the peers take them."""

    name: str
    comparisons: tuple[Comparison, ...]
    sequences: tuple[list[int], ...]

    @property
    def num_tokens(self) -> int:
        """Tokens as if nothing were shared."""
        return sum(map(len, self.sequences))

    @property
    def unique_tokens(self) -> int:
        """Tokens once those that replies share are counted once."""
        own = iter(self.sequences)
        trees = (build_tree([next(own) for _ in c.replies]) for c in self.comparisons)
        return sum(tree.tokens.size for tree in trees)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """All pairs of conversations with the same prompt, by their places."""
        found, first = [], 0
        for comparison in self.comparisons:
            own = range(first, first + len(comparison.replies))
            found += combinations(own, 2)
            first = own.stop
        return found


def workload(name: str, comparisons: Sequence[Comparison], encoder: Encoder) -> Workload:
    sequences = [ids for c in comparisons for ids in encoder.encode_replies(c)]
    return Workload(name, tuple(comparisons), tuple(sequences))


def real_conversations(
    data: Path, encoder: Encoder, count: int, seed: int = 0, max_tokens: int = 4096
) -> list[Comparison]:
    """Threads of the held-out sites, at least `count` conversations, replies of REPLY_TOKENS."""
    rows = list(read_artifact(data / "stackexchange", Comparison, "test"))
    chosen: list[Comparison] = []
    total = 0
    for i in np.random.default_rng(seed).permutation(len(rows)):
        sequences = encoder.encode_replies(rows[i])
        prompt = len(encoder.encode((*rows[i].prompt, Message("assistant", ""))))
        fits = [
            REPLY_TOKENS[0] <= len(ids) - prompt <= REPLY_TOKENS[1] and len(ids) <= max_tokens
            for ids in sequences
        ]
        replies = [r for r, fit in zip(rows[i].replies, fits, strict=True) if fit][:MAX_REPLIES]
        if len(replies) < 2:
            continue
        chosen.append(replace(rows[i], replies=tuple(replies), better=()))
        total += len(replies)
        if total >= count:
            break
    return chosen


def long_prompts(
    comparisons: Sequence[Comparison], encoder: Encoder, count: int
) -> list[Comparison]:
    """`count` prompts of PROMPT_TOKENS made of real questions, eight real replies to each."""
    words = [w for c in comparisons for m in c.prompt for w in m.content.split(" ")]
    replies = [reply for c in comparisons for reply in c.replies]
    made = []
    for i in range(count):
        start = len(words) * i // count

        def prompt(n: int, start: int = start) -> tuple[Message, ...]:
            return (Message("user", " ".join(words[start : start + n])),)

        low, high = 1, PROMPT_TOKENS  # a word has a token at least
        while low < high:
            middle = (low + high + 1) // 2
            fits = len(encoder.encode(prompt(middle))) <= PROMPT_TOKENS
            low, high = (middle, high) if fits else (low, middle - 1)
        own = tuple(replies[(i * MAX_REPLIES + k) % len(replies)] for k in range(MAX_REPLIES))
        made.append(Comparison(str(i), "long-prompt", None, prompt(low), own))
    return made


def random_checkpoint(folder: Path, tokenizer_from: Path, shape: dict[str, object]) -> Path:
    """A bfloat16 checkpoint of `shape` with random weights whose scores have a spread of one."""
    if (folder / "config.json").exists():
        return folder
    config = parse_config(shape, "random")
    model = PreferenceModel(config, linear_head(config.hidden_size))
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                continue
            fan_in = 1 if "embed" in name or parameter.dim() == 1 else parameter.shape[-1]
            size = 0.02 if parameter.dim() == 1 else fan_in**-0.5
            parameter.normal_(0.0, size, generator=generator)
    write_model(model, folder, tokenizer_from, dtype=torch.bfloat16)
    return folder


def flops(config: ModelConfig, lengths: Sequence[int]) -> float:
    """Multiplications and additions of the products, each conversation by itself.

    Linear layers 2 a weight and token; attention 4 a head's channel for every visible pair.
    """
    queries = config.num_attention_heads * config.head_dim
    linear = 2.0 * config.num_parameters()
    pairs = sum(n * (n + 1) / 2 for n in lengths)
    return linear * sum(lengths) + 4.0 * queries * config.num_hidden_layers * pairs
