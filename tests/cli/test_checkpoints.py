"""model create and export: bases to train from scratch, folders for other programs."""

import json
from pathlib import Path

from tiny import SMALL


def test_create_then_train(worldpm, base, data, tmp_path):
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
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[model]\ndtype = "float32"\n[lora]\nrank = 0\n')
    run = ("train", recipe, "--base", tmp_path / "base", "--data", data, "-o", tmp_path / "run")
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
