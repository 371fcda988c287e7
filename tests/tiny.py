"""Tiny checkpoints with a tokenizer of their own, and a preference to learn in seconds.

`tiny_base` is a model of transformers for runs of training, `small_model` one of ours, smaller and
made in milliseconds, for tests of whole verbs.
"""

import json
import random
from pathlib import Path

import orjson
import torch
from checkpoints import write_layout
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from worldpm.config import load_settings
from worldpm.model.checkpoint import write_model
from worldpm.model.config import parse_config
from worldpm.model.decoder import PreferenceModel, linear_head
from worldpm.records import Comparison, Edge, Message
from worldpm.store import ArtifactWriter
from worldpm.tokens.template import WORLDPM_TEMPLATE
from worldpm.train.recipe import Recipe

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|reserved|>")
TEXT = "the cat saw red hills and green boats near old towns while rain fell"
WORDS = TEXT.split()
SMALL = {
    "model_type": "llama",
    "vocab_size": 260,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}


def tiny_tokenizer(folder: Path, *, merges: bool = True) -> Path:
    """Byte-level BPE with ChatML's tokens and the WorldPM template; without merges, a token a byte.

    It has 320 entries at most, or 260.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=316 if merges else 256,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([f"{TEXT} user assistant system good"] * 3, trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in CONTROL])
    assert tokenizer.get_vocab_size() <= 320
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",  # as Qwen's: the trap of the pad that is the scored token
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "chat_template.jinja").write_text(WORLDPM_TEMPLATE)
    return folder


def tiny_base(folder: Path, *, layers: int = 2, head: bool = False) -> Path:
    """A random Llama of 64 dimensions; a language model without a head unless `head`."""
    tiny_tokenizer(folder)
    write_layout(folder, "LlamaForSequenceClassification", seed=1, num_hidden_layers=layers,
                 rms_norm_eps=1e-5, attention_bias=False, mlp_bias=False)  # fmt: skip
    if not head:
        state = load_file(folder / "model.safetensors")
        state["lm_head.weight"] = state["model.embed_tokens.weight"].clone()
        del state["score.weight"]
        save_file(state, folder / "model.safetensors")
    return folder


def small_model(folder, *, head=True, seed=0, **shape):
    """A complete checkpoint; with `head=False` a base, as a language model is before training."""
    source = tiny_tokenizer(folder.with_name(f"{folder.name}-tokenizer"), merges=False)
    config = parse_config(SMALL | shape, "tiny")
    model = PreferenceModel(config, linear_head(config.hidden_size))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.5 * noise if "norm" in name else 0.5 * noise)
    write_model(model, folder, source, dtype=torch.float32)
    if not head:
        (folder / "worldpm.json").unlink()
        path = folder / "model.safetensors"
        state = {n: t for n, t in load_file(path).items() if not n.startswith("score.")}
        save_file(state, path, metadata={"format": "pt"})
        raw = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**raw, "architectures": ["Llama"]}))
    return folder


def toy_comparison(number: int, rng: random.Random, source: str = "toy") -> Comparison:
    """One prompt and two to four replies; the one that says "good" beats all others."""

    def text(extra=()):
        words = [*rng.sample(WORDS, 5), *extra]
        rng.shuffle(words)
        return " ".join(words)

    texts = [text(["good"]), *(text() for _ in range(rng.randint(1, 3)))]
    order = rng.sample(range(len(texts)), len(texts))
    best = order.index(0)
    return Comparison(
        id=str(number),
        source=source,
        subset=None,
        prompt=(Message("user", text()),),
        replies=tuple((Message("assistant", texts[i]),) for i in order),
        better=tuple(Edge(best, i) for i in range(len(order)) if i != best),
    )


def toy_data(folder: Path, num_train: int = 96, num_validation: int = 24) -> Path:
    """An artefact folder with both parts."""
    rng = random.Random(0)
    with ArtifactWriter(folder, Comparison, kind="comparisons", settings={}) as writer:
        for part, count in (("train", num_train), ("validation", num_validation)):
            for number in range(count):
                writer.add(part, toy_comparison(number, rng, "ab"[number % 2]))
    return folder


TOY = [
    "seed=3",
    "model.dtype='float32'",
    "lora.rank=0",
    "data.batch_pairs=12",
    "data.micro_batch_tokens=400",
    "optim.lr=3e-3",
    "run.validate_every_steps=4",
    "run.validation_comparisons=24",
]


def toy_recipe(*overrides: str) -> Recipe:
    """A recipe for the toy preference."""
    return load_settings(Recipe, None, [*TOY, *overrides])


def metrics(run: Path, *kinds: str) -> list[dict]:
    """The records of a run without the times."""
    records = [orjson.loads(line) for line in (run / "metrics.jsonl").read_bytes().splitlines()]
    return [
        {
            key: value
            for key, value in record.items()
            if "second" not in key and key != "matrix_share"
        }
        for record in records
        if record["kind"] in (kinds or ("step", "validation"))
    ]
