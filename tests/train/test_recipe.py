"""The recipe: strict, documented, and the shipped ones valid."""

from pathlib import Path

import pytest
from pydantic import BaseModel

from worldpm.config import load_settings
from worldpm.errors import ConfigError
from worldpm.train.recipe import Recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


def keys(kind, prefix=""):
    for name, info in kind.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from keys(info.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", info


@pytest.mark.parametrize(("key", "info"), list(keys(Recipe)), ids=[k for k, _ in keys(Recipe)])
def test_every_key_is_documented(key, info):
    """Each key says what it means, without a full stop, in one line."""
    assert info.description, key
    assert "\n" not in info.description
    assert not info.description.endswith(".")


@pytest.mark.parametrize("path", RECIPES, ids=[path.name for path in RECIPES])
def test_shipped_recipes_are_valid(path):
    """Every recipe of the repository loads."""
    load_settings(Recipe, path)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.learning_rate=1e-3", "unknown key 'optim.learning_rate'; did you mean 'optim"),
        ("lora.rnak=8", "unknown key 'lora.rnak'; did you mean 'lora.rank'?"),
        ("sed=1", "unknown key 'sed'; did you mean 'seed'?"),
        ("optim.lr=0", "optim.lr"),
        ("optim.head_lr=-1", "optim.head_lr"),
        ("optim.betas=[0.9, 1.0]", "optim.betas"),
        ("optim.schedule='linear'", "optim.schedule"),
        ("optim.warmup_ratio=1.5", "optim.warmup_ratio"),
        ("data.batch_pairs=0", "data.batch_pairs"),
        ("data.repeats.hh=-1", "data.repeats.hh"),
        ("model.dtype='float16'", "model.dtype"),
        ("model.frozen_layers=-1", "model.frozen_layers"),
        ("run.keep_checkpoints=0", "run.keep_checkpoints"),
        ("seed=-1", "seed: input should be greater than or equal to 0"),
        ("seed=99999999999999999999", "seed: input should be less than"),
        ("loss.ties=1000", "loss.ties: input should be less than or equal to 100"),
        ("optim.max_grad_norm=inf", "optim.max_grad_norm: input should be a finite number"),
        ("run.checkpoint_every_seconds=inf", "input should be a finite number"),
        ("run.frozen_cache_gigabytes=inf", "input should be a finite number"),
        ("loss.attributes={helpfulness=nan}", "input should be a finite number"),
    ],
)
def test_wrong_settings_name_their_key(override, message):
    """A wrong value names its key, an unknown key the nearest known one."""
    with pytest.raises(ConfigError) as caught:
        load_settings(Recipe, None, [override])
    assert message in str(caught.value)


def test_defaults_are_the_papers():
    """Learning rate 3e-6, constant after a warm-up of a tenth (WorldPM, appendix A.3)."""
    optim = Recipe().optim
    assert (optim.lr, optim.warmup_ratio, optim.schedule) == (3e-6, 0.1, "constant")
    assert optim.weight_decay == 0.1
