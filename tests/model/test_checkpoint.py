"""Checkpoint folders: the released layouts, everything that is refused, and the way back."""

import json
import os
import subprocess
import sys

import pytest
import torch
from checkpoints import LAYOUTS, Oracle, read_state, write_layout, write_shards
from tiny import small_model, tiny_tokenizer

from worldpm.errors import CheckpointError, WorldPMError
from worldpm.model import checkpoint
from worldpm.model.batch import collate
from worldpm.model.checkpoint import (
    iter_tensors,
    read_config,
    read_model,
    weight_files,
    write_model,
)
from worldpm.model.decoder import PreferenceModel, mlp_head
from worldpm.records import Message
from worldpm.tokens.encode import Encoder
from worldpm.tokens.tree import build_tree

SEQUENCES = [list(range(3, 20)), [7, 9, 200]]


@torch.inference_mode()
def scores(model, sequences=SEQUENCES):
    return model(collate([build_tree([s]) for s in sequences])).tolist()


@pytest.fixture
def folder(tmp_path):
    """A small linear-head checkpoint, to be damaged."""
    return write_layout(tmp_path / "model", "Qwen2ForSequenceClassification", seed=1)


@pytest.fixture
def sharded(tmp_path):
    """The same in three files under an index."""
    return write_layout(tmp_path / "sharded", "Qwen2ForSequenceClassification", shards=3, seed=1)


def rewrite(folder, change):
    """Write the folder's tensors again after `change` of their dict."""
    state = read_state(folder)
    change(state)
    write_shards(folder, state)


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, shards, tmp_path):
    """Every released layout is read, whole or sharded, as transformers reads it."""
    folder = write_layout(tmp_path / "m", layout, shards=shards)
    model = read_model(folder)
    oracle = Oracle(folder)
    assert scores(model) == pytest.approx([oracle.score(s) for s in SEQUENCES], abs=1e-5)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


def test_marks_of_the_released_reward_model(tmp_path):
    """The reward layout has an auto_map, no pad id and a language head, and none of it matters."""
    folder = write_layout(tmp_path / "m", "Qwen2ForRewardModel")
    raw = json.loads((folder / "config.json").read_text())
    assert "auto_map" in raw
    assert "pad_token_id" not in raw
    assert "lm_head.weight" in dict(iter_tensors(folder))
    kept = scores(read_model(folder))
    assert isinstance(read_model(folder).score, torch.nn.Sequential)
    rewrite(folder, lambda state: state.pop("lm_head.weight"))
    assert scores(read_model(folder)) == kept


def test_half_precision_files_are_read_into_float32(tmp_path):
    """Weights stored in bfloat16 are computed in the precision that was asked for."""
    folder = write_layout(tmp_path / "m", "Qwen3ForSequenceClassification", dtype=torch.bfloat16)
    assert {p.dtype for p in read_model(folder).parameters()} == {torch.float32}
    low = read_model(folder, torch.bfloat16)
    assert {p.dtype for p in low.model.parameters()} == {torch.bfloat16}
    assert low.score.weight.dtype == torch.float32


def test_head_with_a_bias(folder):
    """A linear head's bias is added."""
    before = scores(read_model(folder))
    rewrite(folder, lambda state: state.update({"score.bias": torch.tensor([0.75])}))
    assert scores(read_model(folder)) == pytest.approx([s + 0.75 for s in before], abs=1e-6)


NORM = "model.layers.1.input_layernorm.weight"
DAMAGE = {
    "lacks 1 tensors, first model.layers.1.input": lambda s: s.pop(NORM),
    "no scalar head that we know .*found: none": lambda s: s.pop("score.weight"),
    "found: score.0.weight": lambda s: s.update({"score.0.weight": s.pop("score.weight")}),
    "has 1 tensors that .* model.extra": lambda s: s.update({"model.extra": torch.ones(1)}),
    r"input_layernorm.weight has shape \(63,\)": lambda s: s.update({NORM: torch.ones(63)}),
    r"score.weight has shape \(3, 64\)": lambda s: s.update({"score.weight": torch.ones(3, 64)}),
    "not finite": lambda s: s[NORM].__setitem__(5, float("nan")),
    "input_layernorm.weight has values": lambda s: s[NORM].__setitem__(0, float("inf")),
    "torch.int8; give bf16": lambda s: s.update({NORM: torch.ones(64, dtype=torch.int8)}),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_damaged_tensors(folder, message):
    """A missing, unknown, misshapen, integer or non-finite tensor is an error that names it."""
    rewrite(folder, DAMAGE[message])
    with pytest.raises(CheckpointError, match=message) as caught:
        read_model(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize("keep", [0, 4, 200, -1])
def test_truncated_files(folder, keep):
    """A file cut short anywhere is called damaged, not read."""
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: damaged or cut short"):
        read_model(folder)


def test_truncated_shard(sharded):
    """The damaged one of several files is named."""
    path = sharded / "model-00002-of-00003.safetensors"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CheckpointError, match="model-00002-of-00003"):
        read_model(sharded)


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("model-00009-of-00003.safetensors", "not in the folder"),
        ("../outside/model.safetensors", "not in the folder"),
        ("{outside}/model.safetensors", "not in the folder"),
        ("sub/../../outside/model.safetensors", "not in the folder"),
        ("pytorch_model.bin", "only safetensors"),
        (7, "only safetensors"),
        (["x"], "only safetensors"),
    ],
)
def test_index_names_only_its_own_files(sharded, tmp_path, named, message):
    """An index cannot name a missing file, one outside of the folder, or another format."""
    outside = write_layout(tmp_path / "outside", "Qwen2ForSequenceClassification")
    path = sharded / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"][NORM] = named.format(outside=outside) if isinstance(named, str) else named
    path.write_text(json.dumps(index))
    (sharded / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=message):
        read_model(sharded)


@pytest.mark.parametrize("text", ["", "[]", "{", "{}", '{"weight_map": []}', '{"weight_map": {}}'])
def test_broken_index(sharded, text):
    """An index that is no index is an error that names it."""
    (sharded / "model.safetensors.index.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"index\.json"):
        weight_files(sharded)


def test_pickles_are_never_opened(folder, tmp_path):
    """With only a pickle in the folder nothing is loaded, and the pickle does not run."""
    ran = tmp_path / "ran"

    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(ran),)

    (folder / "model.safetensors").unlink()
    torch.save({"model": Payload()}, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="only safetensors are read"):
        read_model(folder)
    assert not ran.exists()


def test_scoring_starts_without_the_compiler(tmp_path):
    """Loading and scoring import no part of torch's compiler: a second of every command's start."""
    folder = small_model(tmp_path / "model")
    script = (
        "import sys; from worldpm import load; load(sys.argv[1]).rank('Why?', ['So.', 'No.']);"
        "print('torch._dynamo' in sys.modules)"
    )
    command = [sys.executable, "-c", script, str(folder)]
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"False\n"


def test_missing_folders_and_files(tmp_path):
    """What is not there is named, with what to do."""
    with pytest.raises(CheckpointError, match="no such folder"):
        read_config(tmp_path / "nothing")
    with pytest.raises(
        CheckpointError, match=r"config\.json: cannot be read: No such file .*complete checkpoint"
    ):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(CheckpointError, match="not a JSON object"):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CheckpointError, match="not valid JSON"):
        read_config(tmp_path)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if "Reward" not in name])
def test_written_models_score_the_same_in_transformers(layout, tokenizer, tmp_path):
    """AutoModelForSequenceClassification on its own tokenizer's padded batches gives our scores.

    The pad token must not be the scored <|endoftext|>, in the config nor in the tokenizer.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = read_model(write_layout(tmp_path / "m", layout, seed=3))
    out = tmp_path / "written"
    write_model(model, out, tokenizer, dtype=torch.float32)
    theirs = AutoModelForSequenceClassification.from_pretrained(out).eval()
    reader = AutoTokenizer.from_pretrained(out)
    chats = [
        [{"role": "system", "content": ""}, {"role": "user", "content": u},
         {"role": "assistant", "content": a}]
        for u, a in (("Hi", "Hello"), ("the cat", "saw red hills and green boats"), ("", ""))
    ]  # fmt: skip
    texts = [reader.apply_chat_template(chat, tokenize=False) for chat in chats]
    encoder = Encoder.from_folder(out)
    sequences = [encoder.encode(tuple(Message(**m) for m in chat)) for chat in chats]
    expected = scores(model, sequences)
    with torch.inference_mode():
        for side in ("right", "left"):
            reader.padding_side = side
            batch = reader(texts, padding=True, return_tensors="pt", add_special_tokens=False)
            found = theirs(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
            assert found.logits[:, 0].tolist() == pytest.approx(expected, abs=1e-5)
        theirs.config.pad_token_id = encoder.encode((Message("user", "x"),))[-1]
        trapped = theirs(**{k: batch[k] for k in ("input_ids", "attention_mask")}).logits[:, 0]
    assert max(abs(a - b) for a, b in zip(trapped.tolist(), expected, strict=True)) > 1e-2


def test_transformers_leaves_out_the_bias_of_a_head(folder, tokenizer, tmp_path):
    """A written linear head's bias is ours alone: their scores lack it, all by the same amount."""
    rewrite(folder, lambda state: state.update({"score.bias": torch.tensor([0.75])}))
    model = read_model(folder)
    write_model(model, tmp_path / "written", tokenizer, dtype=torch.float32)
    again = scores(read_model(tmp_path / "written"))
    assert again == scores(model)
    theirs = [Oracle(tmp_path / "written").score(sequence) for sequence in SEQUENCES]
    assert theirs == pytest.approx([score - 0.75 for score in again], abs=1e-5)


def test_write_and_read_back(tokenizer, tmp_path):
    """A written model is read back to the same bits, its tokenizer and template beside it."""
    model = read_model(write_layout(tmp_path / "m", "Qwen2ForRewardModel", seed=3))
    write_model(model, tmp_path / "w", tokenizer, dtype=torch.float32)
    again = read_model(tmp_path / "w")
    assert again.model.config == model.model.config
    assert (tmp_path / "w" / "model.safetensors").stat().st_mode & 0o044 == 0o044
    assert scores(again) == scores(model)
    chat = (Message("user", "Hi"), Message("assistant", "Hello"))
    copied, first = (Encoder.from_folder(f) for f in (tmp_path / "w", tokenizer))
    assert copied.encode(chat) == first.encode(chat)
    assert sorted(p.name for p in (tmp_path / "w").iterdir()) == [
        "chat_template.jinja", "config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json", "worldpm.json",
    ]  # fmt: skip


def test_write_into_its_own_folder(tokenizer, tmp_path):
    """A folder can be its own source of tokenizer files, by whatever path."""
    folder = write_layout(tmp_path / "m", "Qwen2ForRewardModel", tokenizer=tokenizer)
    write_model(read_model(folder), tmp_path / "m" / ".." / "m", folder, dtype=torch.bfloat16)
    assert read_model(folder).score[0].weight.dtype == torch.float32


def test_special_tokens_travel(tokenizer, tmp_path):
    """A template that names bos_token renders the same beside the written model."""
    source = tiny_tokenizer(tmp_path / "tokenizer")
    template = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}"
    (source / "chat_template.jinja").write_text(template)
    (source / "special_tokens_map.json").write_text('{"bos_token": "<|im_start|>"}')
    model = read_model(write_layout(tmp_path / "m", "Qwen2ForRewardModel"))
    write_model(model, tmp_path / "w", source, dtype=torch.float32)
    chat = (Message("user", "Hi"), Message("assistant", "Hello"))
    expected = Encoder.from_folder(source).encode(chat)
    assert Encoder.from_folder(tmp_path / "w").encode(chat) == expected


def test_mlp_heads_only_where_a_layout_has_them(tokenizer, tmp_path):
    """An MLP head on Llama has no released layout, and is refused before anything is written."""
    config = read_config(write_layout(tmp_path / "m", "LlamaForSequenceClassification"))
    model = PreferenceModel(config, mlp_head(64))
    with pytest.raises(CheckpointError, match="MLP head cannot be written for llama"):
        write_model(model, tmp_path / "w", tokenizer, dtype=torch.float32)
    assert not (tmp_path / "w").exists()


def test_full_disk(tokenizer, tmp_path, monkeypatch):
    """A disk that fills up leaves no config.json, so nobody takes the folder for complete."""
    model = read_model(write_layout(tmp_path / "m", "Qwen2ForRewardModel"))

    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(WorldPMError, match="No space left"):
        write_model(model, tmp_path / "w", tokenizer, dtype=torch.float32)
    assert not (tmp_path / "w" / "config.json").exists()
    assert not list((tmp_path / "w").glob(".*"))
