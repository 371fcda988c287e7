"""Qwen's real vocabulary as a tokenizer folder, rebuilt from the `dashscope` package.

The package carries the 151,643 byte strings with their ranks (`qwen.tiktoken`); the merges that a
`tokenizer.json` needs follow from the ranks. Known ids: Hello 9707, user 872, newline 198.
"""

import base64
import hashlib
import importlib.util
import json
import os
from itertools import pairwise
from pathlib import Path

import pytest

from worldpm.tokens.template import WORLDPM_TEMPLATE

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
FIRST_ADDED = 151643
SPECIAL = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
]
NOT_SPECIAL = [
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
]

# The shape of the language models' template: a default system text, every block ends in a newline.
CHATML_TEMPLATE = """\
{%- if messages[0]['role'] != 'system' %}
    {{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
TEMPLATES = {"worldpm": WORLDPM_TEMPLATE, "chatml": CHATML_TEMPLATE}


def qwen_folder(cache: Path, template: str) -> Path:
    """A tokenizer folder with one of TEMPLATES; skips if dashscope is not installed.

    The vocabulary is built once for each version of this file and kept in `cache`.
    """
    version = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    folder = cache / f"{version}-{template}"
    built = cache / f"{version}.json"
    if not built.is_file():
        write(built, json.dumps(tokenizer_json(), ensure_ascii=False).encode())
    if not (folder / "tokenizer.json").is_file():
        write(folder / "tokenizer.json", built.read_bytes())
    config = {
        "tokenizer_class": "Qwen2Tokenizer",
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(token["id"]): {k: v for k, v in token.items() if k != "id"} for token in added()
        },
        "bos_token": None,
        "eos_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "model_max_length": 131072,
        "chat_template": TEMPLATES[template],
    }
    write(folder / "tokenizer_config.json", json.dumps(config, indent=2).encode())
    return folder


def write(path: Path, data: bytes) -> None:
    """Write so that test processes side by side see the whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}")
    temporary.write_bytes(data)
    temporary.replace(path)


def ranks() -> dict[bytes, int]:
    spec = importlib.util.find_spec("dashscope")
    if spec is None or spec.origin is None:
        pytest.skip("needs Qwen's vocabulary from the package dashscope")
    path = Path(spec.origin).parent / "resources" / "qwen.tiktoken"
    lines = [line.split() for line in path.read_bytes().splitlines() if line]
    return {base64.b64decode(token): int(rank) for token, rank in lines}


def added() -> list[dict]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return [
        {"id": FIRST_ADDED + i, "content": token, **flags, "special": token in SPECIAL}
        for i, token in enumerate(SPECIAL + NOT_SPECIAL)
    ]


def tokenizer_json() -> dict:
    ranked = ranks()
    letters = byte_letters()

    def spell(token: bytes) -> str:
        return "".join(letters[byte] for byte in token)

    merges = [
        [spell(part) for part in split_in_two(token, ranked)] for token in ranked if len(token) > 1
    ]
    split = {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False}
    byte_level = {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": False,
        "use_regex": False,
    }
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added(),
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, byte_level]},
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {spell(token): rank for token, rank in ranked.items()},
            "merges": merges,
        },
    }


def byte_letters() -> dict[int, str]:
    """The printable letter that byte-level BPE writes for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in printable}
    others = [byte for byte in range(256) if byte not in letters]
    return letters | {byte: chr(256 + i) for i, byte in enumerate(others)}


def split_in_two(token: bytes, ranked: dict[bytes, int]) -> list[bytes]:
    """The two parts whose merge makes the token: what merges of lower rank leave of its bytes."""
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        joined = [ranked.get(a + b, FIRST_ADDED) for a, b in pairwise(parts)]
        i = joined.index(min(joined))
        assert joined[i] < ranked[token]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    return parts
