"""Every recipe that is shipped loads, and its run can be planned."""

from pathlib import Path

import pytest

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
