"""train: everything wrong is found before torch; a run ends in a model that scores."""

import json

import pytest

RECIPE = """
[model]
dtype = "float32"
[lora]
rank = 2
[data]
max_tokens = 200
batch_pairs = 8
[optim]
lr = 1e-3
"""


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE)
    return path


def test_train_then_score(worldpm, recipe, base, data, pair_rows, tmp_path):
    """A run makes RUN/model, which scores; show tells its recipe and last numbers."""
    run = tmp_path / "run"
    flags = ("--base", base, "--data", data, "-o", run, "--set", "optim.lr=2e-3", "-q")
    result = worldpm("train", recipe, *flags, "--json")
    assert (result.code, result.err) == (0, "")
    assert result.json["model"] == str(run / "model")
    assert 0 < result.json["validation_loss_nats"] < 2
    scored = worldpm("score", pair_rows, "--model", run / "model", "-q")
    assert len(scored.rows) == 40
    shown = worldpm("show", run, "--json").json
    assert (shown["kind"], shown["finished"]) == ("run", True)
    assert shown["recipe"]["optim"]["lr"] == 2e-3
    assert shown["last"]["step"]["step"] == shown["last"]["validation"]["step"] > 0
    text = worldpm("show", run).out
    assert "optim.lr = 0.002" in text
    assert "validation_accuracy" in text
    assert "LORA" in worldpm("show", run / "adapter").out
    again = worldpm("train", recipe, *flags)
    assert again.code == 1
    assert "exists already" in again.err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--set", "optim.head_rl=1"), "did you mean 'optim.head_lr'?"),
        (("--set", "optim.lr=-1"), "optim.lr: input should be greater than 0"),
        (("--data", "none"), "none: no such file or folder"),
        (("--base", "none"), "none: no such file or folder"),
        (("--adapter", "none"), "none: no such file or folder"),
    ],
)
def test_wrong_settings(worldpm, recipe, base, data, tmp_path, change, message):
    """A wrong setting or path is one message, and no run is begun."""
    command = ("train", recipe, "--data", data, "--base", base, "-o", tmp_path / "run", *change)
    result = worldpm(*command)
    assert (result.code, result.out) == (1, "")
    assert message in result.err
    assert not (tmp_path / "run").exists()


def test_data_of_another_kind(worldpm, recipe, base, threads, tmp_path):
    """Threads are not comparisons: the verb that makes them is named."""
    command = ("train", recipe, "--data", threads, "--base", base, "-o", tmp_path / "run")
    result = worldpm(*command)
    assert result.code == 1
    assert "holds threads, not comparisons" in result.err
    assert "worldpm pairs" in result.err


def test_missing_recipe(worldpm, data, tmp_path):
    """A recipe that is not there is named."""
    result = worldpm("train", tmp_path / "no.toml", "--data", data, "-o", tmp_path / "run")
    assert result.code == 1
    assert "no.toml: no such file; give the path of a recipe" in result.err


def test_dry_run(worldpm, recipe, base, data, tmp_path, listing):
    """The resolved recipe is shown, nothing is made, nothing is fetched."""
    before = listing()
    command = ("train", recipe, "--data", data, "-o", tmp_path / "run", "--dry-run")
    plan = worldpm(*command, "--json").json
    assert plan["settings"]["recipe"]["lora"]["rank"] == 2
    assert plan["reads"] == [str(recipe), str(data), "the embedded default's base"]
    plan = worldpm(*command, "--base", base, "--adapter", base, "--json").json
    assert plan["reads"] == [str(recipe), str(data), str(base), str(base)]
    assert listing() == before


def test_train_on_from_an_adapter(worldpm, recipe, base, data, tmp_path):
    """--adapter goes on from RUN/adapter, and a recipe of another rank is refused."""
    flags = ("--base", base, "--data", data, "-q", "--json")
    first, second = tmp_path / "first", tmp_path / "second"
    ended = worldpm("train", recipe, *flags, "-o", first).json
    going_on = ("train", recipe, *flags, "-o", second, "--adapter", first / "adapter")
    refused = worldpm(*going_on, "--set", "lora.rank=4")
    assert refused.code == 1
    assert "(layers, modules, rank, alpha and head must be the recipe's)" in refused.err
    assert worldpm(*going_on).code == 0
    lines = (second / "metrics.jsonl").read_text().splitlines()
    looks = [line for line in map(json.loads, lines) if line["kind"] == "validation"]
    assert looks[0]["step"] == 0
    assert looks[0]["validation_loss_nats"] == ended["validation_loss_nats"]
    inside = worldpm(
        "train", recipe, *flags, "-o", first, "--adapter", first / "adapter", "--force"
    )
    assert inside.code == 1
    assert "holds the input" in inside.err
