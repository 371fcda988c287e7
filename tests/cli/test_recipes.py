"""Every recipe that is shipped loads, and its run can be planned."""

import importlib.util
import sys
from pathlib import Path

import pytest
from tiny import small_model

RECIPES = Path(__file__).parents[2] / "recipes"
BASES = {"worldpm-1.5b": "qwen2.5-1.5b", "worldpm-7b": "qwen2.5-7b", "worldpm-72b": "qwen2.5-72b",
         "helpsteer2": "qwen2.5-7b", "ultrafeedback": "qwen2.5-7b", "rlhflow": "qwen2.5-7b",
}  # fmt: skip
NAMES = sorted(path.stem for path in RECIPES.glob("*.toml"))


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_dry_runs(worldpm, data, tmp_path, name):
    """Nothing is written, and the resolved recipe is shown, also where only a shape is at hand."""
    shape = RECIPES / "shapes" / BASES.get(name, "ladder-1m")
    command = ("train", RECIPES / f"{name}.toml", "--base", shape, "--data", data)
    told = worldpm(*command, "-o", tmp_path / "run", "--dry-run", "--json")
    assert (told.code, told.json["dry_run"]) == (0, True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("size", ["1.5b", "7b", "72b"])
def test_pre_training_is_the_papers(worldpm, data, tmp_path, size):
    """Appendix A.3: the same learning rate, batch, schedule, decay and context at all sizes."""
    command = ("train", RECIPES / f"worldpm-{size}.toml", "--data", data, "-o", tmp_path / "run")
    recipe = worldpm(*command, "--dry-run", "--json").json["settings"]["recipe"]
    optim, data_ = recipe["optim"], recipe["data"]
    assert (optim["lr"], optim["weight_decay"], optim["warmup_ratio"]) == (3e-6, 0.1, 0.1)
    assert (optim["schedule"], recipe["loss"]["kind"]) == ("constant", "bradley-terry")
    assert (data_["batch_pairs"], data_["epochs"], data_["max_tokens"]) == (10240, 1, 2048)
    assert (recipe["lora"]["rank"], recipe["model"]["head"]) == (0, "mlp")


@pytest.mark.parametrize(
    ("name", "batch"), [("helpsteer2", 128), ("ultrafeedback", 512), ("rlhflow", 512)]
)
def test_fine_tunes_are_the_papers(worldpm, data, tmp_path, name, batch):
    """Section 4.1: its batches, and two epochs or more."""
    command = ("train", RECIPES / f"{name}.toml", "--data", data, "-o", tmp_path / "run")
    recipe = worldpm(*command, "--dry-run", "--json").json["settings"]["recipe"]
    assert recipe["data"]["batch_pairs"] == batch
    assert recipe["data"]["epochs"] >= 2


def test_a_small_vocabulary_is_learnt_from_comparisons(data, tmp_path, monkeypatch):
    """So many tokens, control tokens and template as the base has them; a ladder's --base."""
    from worldpm.tokens.encode import Encoder

    path = RECIPES / "small_vocabulary.py"
    spec = importlib.util.spec_from_file_location("small_vocabulary", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    base, out = small_model(tmp_path / "base"), tmp_path / "vocabulary"
    monkeypatch.setattr(module, "fetch_base", lambda: base)
    command = ["small_vocabulary.py", str(data), "-o", str(out), "--size", "300"]
    monkeypatch.setattr(sys, "argv", command)
    module.main()
    small, whole = Encoder.from_folder(out), Encoder.from_folder(base)
    assert 260 < small.vocab_size <= 300
    assert small.vocab_size != whole.vocab_size
    assert small.template.hash == whole.template.hash
