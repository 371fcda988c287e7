"""Settings: a TOML file plus `key.path=value` overrides -> frozen, strict settings, and back.

    settings = load_settings(TrainRecipe, Path("recipe.toml"), ["optim.lr=3e-6"])

An unknown key is an error that names the nearest known one. A name with dots in it is quoted as in
TOML: `data.repeats."ai.stackexchange.com"=2`.
"""

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from worldpm.errors import ConfigError


class Settings(BaseModel):
    """Base of every settings group: frozen, and strict about unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


SettingsT = TypeVar("SettingsT", bound=Settings)


def load_settings(
    kind: type[SettingsT], path: Path | None, overrides: Sequence[str] = ()
) -> SettingsT:
    """Read `path` (TOML), apply `key.path=value` overrides, and validate against `kind`.

    Raises ConfigError naming the file, the key and, for an unknown key, the nearest known one.
    """
    values: dict[str, Any] = {}
    where = "the settings"
    if path is not None:
        where = str(path)
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except FileNotFoundError:
            raise ConfigError(f"{path}: no such file; give the path of a recipe") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: not valid TOML: {error}") from None
    for override in overrides:
        _apply_override(values, override)
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(kind, where, error)) from None


def filled(kind: type[Settings], recorded: object) -> object:
    """Recorded settings as JSON has them; a key that came since they were recorded has its default.

    As they are where `kind` does not take them: of a version that had other keys, or damaged.
    """
    try:
        return kind.model_validate(recorded).model_dump(mode="json")
    except ValidationError:
        return recorded


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {override!r}: write it as key.path=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *groups, last = _names(key.strip())
    for group in groups:
        inner = values.setdefault(group, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {override!r}: {group!r} is a value, not a group of settings")
        values = inner
    values[last] = value


def _names(key: str) -> list[str]:
    """The names of a dotted key as TOML reads it: one that has dots itself stands in quotes."""
    try:
        inner: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return key.split(".")
    names = []
    while isinstance(inner, dict):
        ((name, inner),) = inner.items()
        names.append(name)
    return names


def _known_keys(kind: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, info in kind.model_fields.items():
        inner = info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            keys += _known_keys(inner, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys


def _explain(kind: type[BaseModel], where: str, error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        key = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(key, _known_keys(kind), n=1, cutoff=0.0)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            lines.append(f"{where}: unknown key {key!r}{hint}")
        else:
            lines.append(f"{where}: {key}: {problem['msg'].lower()}")
    return "\n".join(lines)
