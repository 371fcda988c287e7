"""What leaves for other programs scores there as it does here, and is checked before it leaves."""

import json

import pytest
import torch
from checkpoints import Oracle, read_state, write_layout
from safetensors.torch import load_file, save_file
from tiny import small_model, tiny_tokenizer

from worldpm.errors import CheckpointError
from worldpm.model import export as module
from worldpm.model.checkpoint import read_model, save_weights, weight_files
from worldpm.model.contract import GOLDEN
from worldpm.model.export import check_golden, export_model
from worldpm.tokens.encode import Encoder

CLASSIFICATION = [
    "Qwen2ForSequenceClassification", "Qwen3ForSequenceClassification",
    "LlamaForSequenceClassification",
]  # fmt: skip


@pytest.fixture
def tokenizer(tmp_path):
    return tiny_tokenizer(tmp_path / "tokenizer")


@pytest.mark.parametrize("layout", CLASSIFICATION)
def test_plain_transformers_gives_the_same_scores(layout, tokenizer, tmp_path):
    """AutoModelForSequenceClassification, one by one and in a padded batch of its own tokenizer."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    source = write_layout(tmp_path / "source", layout, tokenizer=tokenizer)
    made = export_model(source, tmp_path / "out")
    assert (made.architecture, made.head, made.dtype) == (layout, "linear", "float32")
    encoder = Encoder.from_folder(tmp_path / "out")
    ids = [encoder.encode(each) for each in GOLDEN]
    oracle = Oracle(tmp_path / "out")
    alone = [oracle.score(each) for each in ids]
    assert alone == pytest.approx(made.golden_scores, abs=2e-5)
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    assert model.config.pad_token_id == made.pad_token_id
    assert made.pad_token_id not in {each[-1] for each in ids}
    pad = AutoTokenizer.from_pretrained(tmp_path / "out")
    batch = pad.pad({"input_ids": ids}, return_tensors="pt")
    with torch.inference_mode():
        padded = model(**batch).logits[:, 0].tolist()
    assert padded == pytest.approx(made.golden_scores, abs=2e-5)


def test_a_released_reward_model_comes_out_as_one(tokenizer, tmp_path):
    """The MLP head stays; the remote code's name and the language model's layer do not."""
    source = write_layout(tmp_path / "source", "Qwen2ForRewardModel", tokenizer=tokenizer)
    made = export_model(source, tmp_path / "out", form="reward-model")
    assert (made.architecture, made.head) == ("Qwen2ForRewardModel", "mlp")
    assert made.ignored == ("lm_head.weight",)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert "auto_map" not in config
    assert config["num_labels"] == 1
    state = read_state(tmp_path / "out")
    assert {n for n in state if n.startswith("score.")} == {
        "score.0.weight", "score.0.bias", "score.2.weight", "score.2.bias",
    }  # fmt: skip
    assert "lm_head.weight" not in state
    oracle = Oracle(source)
    encoder = Encoder.from_folder(source)
    theirs = [oracle.score(encoder.encode(each)) for each in GOLDEN]
    assert theirs == pytest.approx(made.golden_scores, abs=2e-5)


@pytest.mark.parametrize(
    ("layout", "form", "reason"),
    [
        ("Qwen2ForRewardModel", "classification", "transformers would drop it and score with ran"),
        ("Qwen2ForSequenceClassification", "reward-model", "is an MLP"),
    ],
)
def test_a_form_that_cannot_hold_the_head_is_refused(layout, form, reason, tokenizer, tmp_path):
    """The reason is said, and nothing is written."""
    source = write_layout(tmp_path / "source", layout, tokenizer=tokenizer)
    with pytest.raises(CheckpointError, match=reason):
        export_model(source, tmp_path / "out", form=form)
    assert not (tmp_path / "out").exists()


def test_a_bias_that_transformers_would_drop_is_taken_off_and_told(tmp_path):
    """Every score falls by it, no difference changes, and the folder says what it scores."""
    source = small_model(tmp_path / "source")
    before = check_golden(source)[0]
    state = load_file(source / "model.safetensors")
    save_file({**state, "score.bias": torch.tensor([0.75])}, source / "model.safetensors")
    (source / "worldpm.json").unlink()
    made = export_model(source, tmp_path / "out")
    assert made.shift == 0.75
    assert "score.bias" not in read_state(tmp_path / "out")
    assert made.golden_scores == pytest.approx(before, abs=1e-6)


def test_bfloat16_weights_score_as_their_contract_says(tmp_path):
    """The golden scores are those of the rounded weights, so reading back finds no difference."""
    source = small_model(tmp_path / "source")
    made = export_model(source, tmp_path / "out", dtype="bfloat16")
    assert made.dtype == "bfloat16"
    assert made.largest_difference < 1e-5
    assert made.golden_scores != pytest.approx(check_golden(source)[0], abs=1e-5)


@pytest.mark.parametrize("damage", [1e-1, float("nan")])
def test_a_save_that_scores_otherwise_is_an_error(damage, tmp_path, monkeypatch):
    """Weights that came out otherwise than they were in memory are seen by reading them back."""
    source = small_model(tmp_path / "source")
    read = module.read_model

    def damaged(folder):
        model = read(folder)
        if folder != source:
            model.model.layers[1].mlp.up_proj.weight[3] += damage
        return model

    monkeypatch.setattr(module, "read_model", damaged)
    with pytest.raises(CheckpointError, match="golden conversations score up to"):
        export_model(source, tmp_path / "out")


def test_shards_hold_everything_once(tmp_path):
    """A limit on the size of a file makes an index, and no tensor is lost, kept twice or cut."""
    source = small_model(tmp_path / "source")
    state = load_file(source / "model.safetensors")
    save_weights(state, source, shard_bytes=8000)
    files = weight_files(source)
    assert len(files) > 2
    assert not (source / "model.safetensors").exists()
    assert sum(len(load_file(path)) for path in files) == len(state)
    assert all(torch.equal(tensor, state[n]) for n, tensor in read_state(source).items())
    read_model(source)
    check_golden(source)
    save_weights(state, source)
    assert [path.name for path in weight_files(source)] == ["model.safetensors"]
    assert len(list(source.glob("*.safetensors*"))) == 1


def test_without_a_contract_there_is_nothing_to_check(tmp_path):
    """A folder of others is refused rather than called sound."""
    source = small_model(tmp_path / "source")
    (source / "worldpm.json").unlink()
    with pytest.raises(CheckpointError, match="has no contract"):
        check_golden(source)
