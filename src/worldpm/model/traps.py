"""Traps that leave every file whole and change what is scored, or what others make of it.

    config_traps(raw, config, ...)   the rotary base, the pad id, the class that is named
    template_traps(encoder, ...)     where the score is read, the system block, white space

Each has been met in a released checkpoint or a public wrapper around one. Those that only catch
other programs are said too: a checkpoint is there to be passed on.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from worldpm.errors import CheckpointError
from worldpm.model.checkpoint import ARCHITECTURES, read_json
from worldpm.model.config import ModelConfig
from worldpm.model.faults import Check, State, some
from worldpm.records import Message, turns
from worldpm.tokens.encode import Encoder
from worldpm.tokens.template import WORLDPM_TEMPLATE, ChatTemplate

# What the families' general models use. Qwen2.5-Math's reward models have 1e4 (and 4,096
# positions), and so does a config.json that lost the field.
ROTARY_BASE = {"qwen2": 1e6, "qwen3": 1e6}
PROBE = (Message("user", "Why?"), Message("assistant", "Because."))


def config_traps(
    raw: Mapping[str, Any], config: ModelConfig, head: str | None, dtype: str
) -> Iterator[Check]:
    """Traps of config.json; `dtype` is the precision of the stored weights."""
    usual = ROTARY_BASE.get(config.model_type)
    if usual is not None and config.rope_theta <= 1e4:
        yield Check(
            "config", "rope_theta", "warn",
            f"{config.rope_theta:g}, where {config.model_type} models have {usual:g}",
            "compare with the original's config.json: only the Math models have 10000",
        )  # fmt: skip
    else:
        yield Check("config", "rope_theta", "ok", f"{config.rope_theta:g}")
    named = raw.get("architectures")
    named = [str(name) for name in named] if isinstance(named, list) else []
    wanted = ARCHITECTURES.get((config.model_type, head == "mlp"))
    if head is not None and named != [wanted]:
        yield Check(
            "config", "architectures", "warn",
            f"{some(named) or 'none'}; for this head it is {wanted or 'one of no library'}",
            "other programs build the class that is named and silently leave the head out",
        )  # fmt: skip
    elif named == ["Qwen2ForRewardModel"]:
        yield Check(
            "config", "architectures", "ok",
            "Qwen2ForRewardModel; transformers' AutoModel drops its head, vLLM scores every token",
        )  # fmt: skip
    else:
        yield Check("config", "architectures", "ok", some(named) or "none")
    stated = str(raw.get("dtype") or raw.get("torch_dtype") or dtype).removeprefix("torch.")
    if stated != dtype:
        advice = "other programs convert to what config.json says, and their scores with it"
        text = f"config.json says {stated}, the weights are {dtype}"
        yield Check("config", "dtype", "warn", text, advice)
    else:
        yield Check("config", "dtype", "ok", dtype)
    if raw.get("auto_map"):
        text, advice = "asks for code: never run here", "read it before another program trusts it"
        yield Check("config", "auto_map", "warn", text, advice)


def pad_traps(folder: Path, raw: Mapping[str, Any], encoder: Encoder) -> Iterator[Check]:
    """The pad ids of config.json and the tokenizer against the tokens of a conversation."""
    ids = encoder.encode(PROBE)
    tokenizer = _tokenizer_pad(folder, encoder)
    for where, pad in (("config.json", raw.get("pad_token_id")), ("tokenizer", tokenizer)):
        if pad is None:
            text = f"{where}: none" + ("; transformers refuses batches" * (where == "config.json"))
            yield Check("config", "pad id", "ok", text)
        elif pad == ids[-1]:
            # The released reward models leave config.json without one, the tokenizer with this.
            state: State = "fail" if where == "config.json" else "warn"
            yield Check(
                "config", "pad id", state,
                f"{where}: {pad}, which is the scored token {encoder.token_text(ids[-1])}",
                "worldpm goes by position; other programs read the score one token too early: set "
                "it to a token that the template never writes",
            )  # fmt: skip
        elif pad in ids:
            yield Check(
                "config", "pad id", "warn",
                f"{where}: {pad} ({encoder.token_text(pad)}), in every conversation",
                "libraries that stop at the first pad score the prompt only",
            )  # fmt: skip
        else:
            yield Check("config", "pad id", "ok", f"{where}: {pad}, in no conversation")


def _tokenizer_pad(folder: Path, encoder: Encoder) -> int | None:
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        try:
            pad = read_json(folder / name).get("pad_token") if (folder / name).is_file() else None
        except CheckpointError:
            continue
        pad = pad.get("content") if isinstance(pad, dict) else pad
        if isinstance(pad, str):
            return encoder.control_id(pad)
    return None


def template_traps(encoder: Encoder, config: ModelConfig | None) -> Iterator[Check]:
    """Where the score is read, what is written around a conversation, whether the ids fit."""
    template = encoder.template
    last = encoder.encode(PROBE)[-1]
    text = f"{encoder.token_text(last)} (id {last})"
    if last in encoder.control_ids:
        yield Check("template", "scored token", "ok", text)
    else:
        yield Check(
            "template", "scored token", "warn", f"{text}, no control token",
            "WorldPM reads at <|endoftext|>; a template that ends in a line end was measured to "
            "move a reward by 0.45",
        )  # fmt: skip
    plain = turns(PROBE)
    explicit = [{"role": "system", "content": ""}, *plain]
    written = template.render(explicit)
    canonical = ChatTemplate(WORLDPM_TEMPLATE).render(explicit)
    if not all(message.content in written for message in PROBE):
        text, advice = "leaves out what was said", "take the original's template"
        yield Check("template", "contents", "fail", text, advice)
    if written != canonical and "".join(written.split()) == "".join(canonical.split()):
        yield Check(
            "template", "white space", "warn",
            "differs from WorldPM's template in white space only",
            "one line end more or less moves every score: compare with the original's template",
        )  # fmt: skip
    else:
        kind = "WorldPM's own string" if written == canonical else "a string of its own"
        yield Check("template", "white space", "ok", kind)
    try:
        implied = template.render(plain)
    except CheckpointError:
        implied = written
    if implied != written:
        yield Check(
            "template", "system block", "warn", "not the same without a system message",
            "worldpm always gives one, empty if need be; other programs must be told to",
        )  # fmt: skip
    else:
        yield Check("template", "system block", "ok", "the same with an empty system message")
    if config is not None and encoder.vocab_size > config.vocab_size:
        text = f"{encoder.vocab_size:,} tokens, {config.vocab_size:,} embeddings"
        yield Check("template", "vocabulary", "fail", text, "the tokenizer is of another model")
