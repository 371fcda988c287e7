"""Random checkpoints in the released layouts, made and scored with transformers alone.

Every parameter is perturbed and the hyper-parameters are loud, so that none of them can be lost
without moving a score: on the libraries' own initialisation, norms and biases do nothing.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 88,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-2,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
}
LAYOUTS = {
    "Qwen2ForRewardModel": ("qwen2", {"rope_theta": 1e6}),
    "Qwen2ForSequenceClassification": ("qwen2", {"rope_theta": 1e4}),
    "Qwen3ForSequenceClassification": ("qwen3", {"rope_theta": 1e6, "head_dim": 24}),
    "LlamaForSequenceClassification": (
        "llama",
        {"rope_theta": 1e4, "attention_bias": True, "mlp_bias": True},
    ),
}
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


class RewardModel(nn.Module):
    """The modules of `Qwen2ForRewardModel`, and the language head its files still hold."""

    def __init__(self, config):
        super().__init__()
        from transformers import Qwen2Model

        self.model = Qwen2Model(config)
        size = config.hidden_size
        self.score = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, 1))
        self.lm_head = nn.Linear(size, config.vocab_size, bias=False)


def hf_model(layout, vocab_size=320, **changes):
    """A model of transformers in one of LAYOUTS; scores are of order one."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    family, own = LAYOUTS[layout]
    fields = {**SHAPE, **own, "vocab_size": vocab_size, **changes}
    config = AutoConfig.for_model(family, num_labels=1, pad_token_id=None, **fields)
    if layout == "Qwen2ForRewardModel":
        return config, RewardModel(config)
    return config, AutoModelForSequenceClassification.from_config(config)


@torch.no_grad()
def perturb(model, seed):
    """Draw every parameter anew, each at a scale where losing it shows."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in name:
            parameter.copy_(1 + 0.5 * noise)
        elif name.endswith("bias"):
            parameter.copy_(0.5 * noise)
        elif "embed" in name:
            parameter.copy_(noise)
        else:
            parameter.copy_(1.5 * noise / parameter.shape[1] ** 0.5)


def write_layout(folder, layout, *, tokenizer=None, shards=1, seed=0, dtype=None, **changes):
    """Write a random checkpoint; the reward model's has the marks of the released ones."""
    config, model = hf_model(layout, **changes)
    perturb(model, seed)
    folder.mkdir(parents=True, exist_ok=True)
    raw = config.to_dict() | {"architectures": [layout]}
    if layout == "Qwen2ForRewardModel":
        raw["auto_map"] = {"AutoModel": "modeling_qwen2_rm.Qwen2ForRewardModel"}
        raw.pop("pad_token_id")
        # Older files have the base where newer ones have rope_parameters.
        raw["rope_theta"] = raw.pop("rope_parameters")["rope_theta"]
    (folder / "config.json").write_text(json.dumps(raw))
    state = {name: t.detach().to(dtype or t.dtype) for name, t in model.state_dict().items()}
    write_shards(folder, state, shards)
    for name in TOKENIZER_FILES if tokenizer else ():
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, folder / name)
    return folder


def write_shards(folder, state, shards=1):
    """One safetensors file, or several and the index over them."""
    if shards == 1:
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
        return
    weight_map = {}
    for number in range(shards):
        file = f"model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = dict(list(state.items())[number::shards])
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def read_state(folder):
    """All the tensors of a folder, whatever files they stand in."""
    state = {}
    for path in sorted(Path(folder).glob("*.safetensors")):
        state |= load_file(path)
    return state


class Oracle:
    """The released README's loop: one conversation at a time, the score at its last token."""

    def __init__(self, folder):
        from transformers import AutoConfig, AutoModelForSequenceClassification, Qwen2Model

        architecture = json.loads((folder / "config.json").read_text())["architectures"][0]
        self.mlp = architecture == "Qwen2ForRewardModel"
        if self.mlp:
            config = AutoConfig.from_pretrained(folder)
            config.pad_token_id = None
            state = read_state(folder)
            model = RewardModel(config)
            assert isinstance(model.model, Qwen2Model)
            model.load_state_dict(state, strict=True)
        else:
            model = AutoModelForSequenceClassification.from_pretrained(folder)
        self.model = model.to(torch.float32).eval()

    @torch.inference_mode()
    def score(self, ids):
        ids = torch.tensor([ids])
        if self.mlp:
            hidden = self.model.model(input_ids=ids).last_hidden_state
            return float(self.model.score(hidden)[0, -1, 0])
        return float(self.model(input_ids=ids).logits[0, 0])
