"""What a user calls a model -> the folder it is in, from the Hugging Face hub if need be.

    locate(None)                        the embedded default
    locate("runs/model")                a folder; a folder that exists always wins
    locate("Qwen/WorldPM-72B@1a2b3c4")  a model on the hub, at a branch, tag or commit

Only configuration, tokenizer and safetensors files are fetched, no code and no pickle. The files
that decide whether we can read it come first, so that a model of another family is refused before
its weights are downloaded. HF_HUB_OFFLINE, HF_HOME and HF_TOKEN act as everywhere.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from worldpm.errors import CheckpointError
from worldpm.hub import HubError, parse_hub_id, snapshot
from worldpm.model.checkpoint import CONTRACT, TOKENIZER_FILES, read_config, weight_files
from worldpm.model.default import Say, to_stderr

SETTINGS = ("config.json", "model.safetensors.index.json", CONTRACT, *TOKENIZER_FILES)
WEIGHTS = ("*.safetensors",)
# A pattern's * goes across folders; Mistral's and Meta's repositories hold everything twice.
NOT_WANTED = ("*/*", "consolidated*")


@dataclass(frozen=True, slots=True)
class Located:
    """A checkpoint's folder and what to call it; of a hub's model also the commit."""

    folder: Path
    name: str
    commit: str | None = None


def locate(model: str | Path | None, *, say: Say = to_stderr, with_weights: bool = True) -> Located:
    """Find `model`: None for the embedded default, a folder, or a Hugging Face id.

    The commit that a hub's model was resolved to is said, so that it can be pinned. Without
    `with_weights` a hub's model comes as its settings and tokenizer. Raises
    CheckpointError if there is no such folder and the hub's model cannot be had.
    """
    if model is None:
        from worldpm.model.default import fetch

        folder = fetch(say=say)
        return Located(folder, folder.name)
    folder = Path(model).expanduser()
    hub_id = None if isinstance(model, Path) else parse_hub_id(model)
    if folder.exists() or hub_id is None:
        return Located(folder, folder.name)
    return _from_hub(*hub_id, say, with_weights)


def told_apart(names: Sequence[str], models: Sequence[str | Path | None]) -> list[str]:
    """The models' names; of two folders of one name, as all runs leave them, with that above it.

    told_apart(["model", "model", "b"], ["with/model", "without/model", "b"])
    ->  ["with/model", "without/model", "b"]
    """
    often = Counter(names)
    found = []
    for name, model in zip(names, models, strict=True):
        folder = None if model is None else Path(model).expanduser().absolute()
        if folder is not None and often[name] > 1 and folder.is_dir():
            name = f"{folder.parent.name}/{name}"
        found.append(name)
    return found


def _from_hub(name: str, revision: str | None, say: Say, with_weights: bool) -> Located:
    settings = _snapshot(name, revision, SETTINGS)
    read_config(settings)  # refuses what we do not have before the weights come
    commit = settings.name
    if commit != revision:
        say(f"{name}: {revision or 'main'} is commit {commit}; pin it with {name}@{commit}")
    if not with_weights:
        return Located(settings, f"{name}@{commit[:8]}", commit)
    # By commit, so that the weights belong to the settings whatever is pushed meanwhile.
    folder = _snapshot(name, commit, (*SETTINGS, *WEIGHTS))
    try:
        weight_files(folder)
    except CheckpointError as error:
        raise CheckpointError(
            f"{name}: commit {commit} has no complete safetensors weights here ({error}); if it "
            "has them on the hub, fetch it once with a network"
        ) from None
    return Located(folder, f"{name}@{commit[:8]}", commit)


def _snapshot(name: str, revision: str | None, patterns: tuple[str, ...]) -> Path:
    try:
        return snapshot(name, revision, kind="model", patterns=patterns, not_wanted=NOT_WANTED)
    except HubError as error:
        called = f"{name}@{revision}" if revision else name
        raise CheckpointError(f"{called}: no such folder, and {error}") from None
