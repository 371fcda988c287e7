"""Tiny random checkpoints, made with our own modules in milliseconds, for tests of whole verbs."""

import json

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from worldpm.tokens.template import WORLDPM_TEMPLATE

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|reserved|>"]
CONFIG = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
}


def byte_tokenizer(folder):
    """A byte-level tokenizer without merges (a token a byte), and the WorldPM template."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {letter: i for i, letter in enumerate(letters)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True) for text in SPECIAL])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(WORLDPM_TEMPLATE, encoding="utf-8")
    return folder


def small_model(folder, *, head=True, seed=0):
    """A complete checkpoint; with `head=False` a base, as a language model is before training."""
    import torch
    from safetensors.torch import load_file, save_file

    from worldpm.model.checkpoint import write_model
    from worldpm.model.config import parse_config
    from worldpm.model.decoder import PreferenceModel, linear_head

    source = byte_tokenizer(folder.with_name(f"{folder.name}-tokenizer"))
    config = parse_config({**CONFIG, "vocab_size": 256 + len(SPECIAL)}, "tiny")
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
