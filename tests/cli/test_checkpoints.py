"""model create and export: bases to train from scratch, folders for other programs."""

import json
from pathlib import Path

import pytest
from tiny import SMALL


@pytest.fixture
def recipe_file(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text('[model]\ndtype = "float32"\n[lora]\nrank = 0\n')
    return path


def test_create_then_train(worldpm, base, data, recipe_file, tmp_path):
    """`create` makes a base that `train` takes; the same seed draws the same weights."""
    shape = tmp_path / "shape.json"
    fields = {k: v for k, v in SMALL.items() if k != "vocab_size"}
    shape.write_text(json.dumps({**fields, "model_type": "qwen2"}))
    made = worldpm("model", "create", shape, "--tokenizer", base, "-o", tmp_path / "base", "--json")
    assert made.json["num_parameters_without_embeddings"] > 0
    again = worldpm("model", "create", shape, "--tokenizer", base, "-o", tmp_path / "base")
    assert (again.code, "exists already" in again.err) == (1, True)
    flags = ("--tokenizer", base, "--seed", 1, "--force", "-o", tmp_path / "base")
    assert "drawn by seed 1" in worldpm("model", "create", shape, *flags).out
    run = (
        "train",
        recipe_file,
        "--base",
        tmp_path / "base",
        "--data",
        data,
        "-o",
        tmp_path / "run",
    )
    assert worldpm(*run, "-q").code == 0
    assert (
        worldpm("model", "inspect", tmp_path / "run" / "model", "--json").json["head"] == "linear"
    )


def test_create_dry_run(worldpm, tmp_path, listing):
    """Nothing is fetched and nothing made."""
    before = listing()
    shape = Path(__file__).parents[2] / "recipes" / "shapes" / "ladder-1m"
    told = worldpm("model", "create", shape, "-o", tmp_path / "base", "--dry-run", "--json").json
    assert told["settings"] == {"seed": 0}
    assert listing() == before


def test_export_of_a_run(worldpm, base, data, recipe_file, tmp_path):
    """A run leaves with contract, card and the same scores; its data must be what it was."""
    run, out = tmp_path / "run", tmp_path / "out"
    assert worldpm("train", recipe_file, "--base", base, "--data", data, "-o", run, "-q").code == 0
    flags = ("--data", data, "--license", "mit", "--base-model", "tiny")
    made = worldpm("model", "export", run, "-o", out, *flags, "--json").json
    assert made["architecture"] == "LlamaForSequenceClassification"
    assert made["largest_difference"] < 1e-5
    card = (out / "README.md").read_text()
    trained_on = json.loads((data / "manifest.json").read_text())["counts"]["train"]
    assert f"| data | {trained_on} | " in card
    assert "`lora.rank` | `0`" in card
    assert "Validation: loss" in card
    assert worldpm("model", "doctor", out, "--engine", "torch", "--json").json["healthy"]
    again = worldpm("model", "export", run, "-o", out)
    assert (again.code, "exists already" in again.err) == (1, True)
    assert "read back: 6 golden" in worldpm("model", "export", run, "-o", out, "--force").out


def test_export_refuses_data_of_another_model(worldpm, base, data, recipe_file, tmp_path):
    """A card would otherwise name what the model has never seen; nothing is left behind."""
    run, out, other = tmp_path / "run", tmp_path / "out", tmp_path / "other"
    assert worldpm("train", recipe_file, "--base", base, "--data", data, "-o", run, "-q").code == 0
    rows = tmp_path / "other.jsonl"
    rows.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    assert worldpm("import", "pairs", rows, "-o", other, "-q").code == 0
    refused = worldpm("model", "export", run, "-o", out, "--data", other)
    assert refused.code == 1
    assert "is not among the data that the model was trained on" in refused.err
    assert not out.exists()


def test_export_of_a_checkpoint(worldpm, model, tmp_path, listing):
    """A folder with a linear head is no reward model; a dry run makes nothing."""
    before = listing()
    command = ("model", "export", model, "-o", tmp_path / "out")
    assert worldpm(*command, "--dry-run", "--json").json["reads"] == [str(model)]
    refused = worldpm(*command, "--form", "reward-model")
    assert (refused.code, "is an MLP" in refused.err) == (1, True)
    assert listing() == before
    assert worldpm("model", "export", tmp_path / "none", "-o", tmp_path / "out").code == 1
    assert worldpm("model", "export", model).code == 2
