"""Settings: strict, frozen, and helpful about mistakes."""

import pytest
from pydantic import Field, ValidationError

from worldpm.config import Settings, load_settings
from worldpm.errors import ConfigError


class Optim(Settings):
    lr: float = Field(default=1e-3, gt=0)
    steps: int = 10


class Recipe(Settings):
    optim: Optim = Optim()
    name: str = "run"
    sources: tuple[str, ...] = ()
    limit: int | None = None
    weights: dict[str, int] = Field(default={})


def load(text, tmp_path, *overrides):
    path = tmp_path / "r.toml"
    path.write_text(text, encoding="utf-8")
    return load_settings(Recipe, path, overrides)


def test_file_and_overrides_in_order(tmp_path):
    """Defaults, then the file, then each override; the last word wins."""
    settings = load(
        'name = "a"\n[optim]\nlr = 0.5', tmp_path, "optim.steps=3", "name=b", "optim.steps=4"
    )
    assert settings == Recipe(name="b", optim=Optim(lr=0.5, steps=4))
    assert load_settings(Recipe, None) == Recipe()


def test_a_file_of_windows(tmp_path):
    """Its editors put a mark before the first line, and end lines in their own way."""
    assert load('\ufeffname = "a"\r\nlimit = 3\r\n', tmp_path) == Recipe(name="a", limit=3)


def test_quoted_names_in_an_override(tmp_path):
    """A name with dots, as a forum's source has, is quoted as in a file; others need no quotes."""
    file = 'weights = {"ai.stackexchange.com" = 1}'
    settings = load(file, tmp_path, 'weights."ai.stackexchange.com"=3', "weights.'b.c' = 2")
    assert settings.weights == {"ai.stackexchange.com": 3, "b.c": 2}
    assert load("", tmp_path, "weights.plain name=2").weights == {"plain name": 2}


def test_override_values_are_toml_or_plain_text(tmp_path):
    """Numbers, lists and quoted strings are TOML, everything else is the text as written."""
    settings = load(
        "", tmp_path, 'sources=["a", "b"]', "limit=5", "name=two words", "optim.lr=3e-6"
    )
    assert settings.sources == ("a", "b")
    assert (settings.limit, settings.name, settings.optim.lr) == (5, "two words", 3e-6)


def test_settings_survive_their_own_dump(tmp_path):
    """What a manifest records is what validates to the same settings."""
    settings = load('sources = ["x"]\n[optim]\nsteps = 2', tmp_path)
    assert Recipe.model_validate(settings.model_dump(mode="json")) == settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nam = 1", "r.toml: unknown key 'nam'; did you mean 'name'?"),
        ("[optim]\nstep = 1", "unknown key 'optim.step'; did you mean 'optim.steps'?"),
        ("[optim]\nlr = -1", "optim.lr: input should be greater than 0"),
        ("[optim]\nlr = 'fast'", "optim.lr: input should be a valid number"),
        ("name = ", "r.toml: not valid TOML"),
        ("a = 1\nb = 2", "unknown key 'b'"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path, text, message):
    """File, key, and the nearest known key."""
    with pytest.raises(ConfigError) as caught:
        load(text, tmp_path)
    assert message in str(caught.value)


@pytest.mark.parametrize("override", ["lr", "=3", "name.x=1"])
def test_mistakes_in_an_override_are_named(tmp_path, override):
    """`--set` must be key=value, and a value is not a group."""
    with pytest.raises(ConfigError, match="--set"):
        load('name = "a"', tmp_path, override)


def test_missing_file_and_frozen_settings(tmp_path):
    """A recipe that is not there is an error; settings cannot be changed after."""
    with pytest.raises(ConfigError, match="no such file"):
        load_settings(Recipe, tmp_path / "none.toml")
    with pytest.raises(ValidationError):
        Recipe().name = "other"
