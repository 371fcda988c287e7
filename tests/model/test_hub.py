"""Models by their Hugging Face id: an allow-list of files, a pinned commit, clear errors."""

import fnmatch
import json
import os
import shutil
import subprocess
import sys

import huggingface_hub
import pytest
from huggingface_hub import errors
from tiny import small_model

from worldpm.errors import CheckpointError
from worldpm.hub import parse_hub_id
from worldpm.model.hub import locate, told_apart

COMMIT = "0123456789abcdef0123456789abcdef01234567"
STRANGERS = (
    "pytorch_model.bin", "modeling_own.py", "training_args.bin", "original/model.safetensors",
    "onnx/config.json", "consolidated.safetensors", "vocab.pkl", "README.md",
)  # fmt: skip


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    """What the hub's repository holds: a checkpoint, and files that are nobody's business."""
    folder = small_model(tmp_path_factory.mktemp("remote") / "model")
    for name in STRANGERS:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"import os")
    return folder


@pytest.fixture
def hub(remote, tmp_path, monkeypatch):
    """A stand-in for `snapshot_download` that copies what its patterns allow, and keeps notes."""
    calls = []

    def snapshot_download(name, *, repo_type, revision, allow_patterns, ignore_patterns):
        assert repo_type == "model"
        calls.append((name, revision))
        folder = tmp_path / "snapshots" / COMMIT
        for path in remote.rglob("*"):
            relative = path.relative_to(remote).as_posix()
            wanted = any(fnmatch.fnmatch(relative, pattern) for pattern in allow_patterns)
            if any(fnmatch.fnmatch(relative, pattern) for pattern in ignore_patterns):
                wanted = False
            if path.is_file() and wanted:
                (folder / relative).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, folder / relative)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return calls


def failing(monkeypatch, error):
    def snapshot_download(name, **options):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)


def test_only_settings_tokenizer_and_safetensors_come(hub, remote):
    """No code, no pickle, nothing from sub-folders; everything that a checkpoint needs."""
    said = []
    found = locate("org/model", say=said.append)
    names = {path.relative_to(found.folder).as_posix() for path in found.folder.rglob("*")}
    own = {path.relative_to(remote).as_posix() for path in remote.rglob("*") if path.is_file()}
    assert names == own - set(STRANGERS)
    assert "worldpm.json" in names


def test_commit_is_stated_and_used_for_the_weights(hub):
    """The weights are asked for by the commit that the settings came from, and it is said."""
    said = []
    found = locate("org/model@v1.0", say=said.append)
    assert hub == [("org/model", "v1.0"), ("org/model", COMMIT)]
    assert said == [f"org/model: v1.0 is commit {COMMIT}; pin it with org/model@{COMMIT}"]
    assert (found.name, found.commit) == ("org/model@01234567", COMMIT)


def test_pinned_commit_needs_no_remark(hub):
    """Who gives a whole commit is told nothing new."""
    said = []
    assert locate(f"org/model@{COMMIT}", say=said.append).commit == COMMIT
    assert said == []


def test_folders_win(hub, remote, tmp_path, monkeypatch):
    """A folder of that name is taken and the hub is not asked; so are all that cannot be ids."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(remote, tmp_path / "org" / "model")
    assert locate("org/model").folder.resolve() == tmp_path / "org" / "model"
    (tmp_path / "org" / "model@v1").mkdir()
    assert locate("org/model@v1").commit is None
    for path in ("./org/other", "/org/other", "~/x/y", "a/b/c", "plain", tmp_path / "none"):
        assert locate(path).commit is None
    assert hub == []


def test_folders_of_one_name_are_told_apart(tmp_path, monkeypatch):
    """By the folder above, however the path is written; what has a name of its own keeps it."""
    monkeypatch.chdir(tmp_path)
    for name in ("a/model", "b/model"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir("b")
    found = told_apart(["model", "model", "other", "model"], ["../a/model", "model", None, "x/y"])
    assert found == ["a/model", "b/model", "other", "model"]
    assert told_apart(["model"], ["model"]) == ["model"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Qwen/WorldPM-72B", ("Qwen/WorldPM-72B", None)),
        ("a/b@refs/pr/3", ("a/b", "refs/pr/3")),
        ("a/b.c_d@v1.0", ("a/b.c_d", "v1.0")),
        ("../b", None),
        ("a/..", None),
        ("a/b@", None),
        ("a/b@x y", None),
        ("https://huggingface.co/a/b", None),
        ("a\\b/c", None),
    ],
)
def test_what_is_an_id(text, parts):
    """Two plain names and a revision; nothing that climbs out of a folder or names a server."""
    assert parse_hub_id(text) == parts


def test_another_family_is_refused_before_its_weights(hub, remote, tmp_path, monkeypatch):
    """Only the settings of a model that we cannot read are fetched."""
    before = (remote / "config.json").read_text()
    (remote / "config.json").write_text(json.dumps(json.loads(before) | {"model_type": "mamba"}))
    try:
        with pytest.raises(CheckpointError, match="'mamba' is not supported"):
            locate("org/model", say=lambda text: None)
    finally:
        (remote / "config.json").write_text(before)
    assert len(hub) == 1
    assert not list((tmp_path / "snapshots").rglob("*.safetensors"))


def test_repository_of_pickles_only(hub, remote, tmp_path, monkeypatch):
    """Without safetensors the error names model and commit."""
    weights = remote / "model.safetensors"
    weights.rename(tmp_path / "away")
    try:
        with pytest.raises(CheckpointError, match=f"org/model: commit {COMMIT} has no complete"):
            locate("org/model", say=lambda text: None)
    finally:
        (tmp_path / "away").rename(weights)


class Response:
    """What the hub's errors want to carry."""

    status_code = 404
    headers: dict = {}  # noqa: RUF012
    request = None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (errors.GatedRepoError("x", response=Response()), "accept terms"),
        (errors.RepositoryNotFoundError("x", response=Response()), "no such model, or it is priv"),
        (errors.RevisionNotFoundError("x", response=Response()), "has no revision 'v1'"),
        (errors.LocalEntryNotFoundError("x"), "cannot be reached and it is not in the cache"),
        (errors.HFValidationError("bad\nname"), "HFValidationError: bad$"),
        (RuntimeError(), "RuntimeError: no reason given"),
    ],
)
def test_errors_say_what_to_do(monkeypatch, error, message):
    """Each way of not getting a model has its own sentence, naming it; a typo in a path too."""
    failing(monkeypatch, error)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(CheckpointError, match=message) as caught:
        locate("org/model@v1")
    assert str(caught.value).startswith("org/model@v1: no such folder, and")


def test_ctrl_c_is_no_error_of_the_hub(monkeypatch):
    """An interrupt goes through."""
    failing(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        locate("org/model")


OFFLINE = """
import sys
from worldpm.errors import CheckpointError
from worldpm.model.hub import locate
for name in sys.argv[1:]:
    try:
        print(locate(name).folder)
    except CheckpointError as error:
        print("error:", error)
"""


def cached(cache, name, remote, *, weights=True):
    """The library's own cache of a model: a snapshot of links into blobs, and its branch."""
    repository = cache / f"models--{name.replace('/', '--')}"
    snapshot, blobs = repository / "snapshots" / COMMIT, repository / "blobs"
    for folder in (snapshot, blobs, repository / "refs"):
        folder.mkdir(parents=True)
    for path in remote.iterdir():
        if path.suffix in {".json", ".jinja"} or (weights and path.suffix == ".safetensors"):
            shutil.copyfile(path, blobs / path.name)
            (snapshot / path.name).symlink_to(f"../../blobs/{path.name}")
    (repository / "refs" / "main").write_text(COMMIT)
    return snapshot


def test_real_library_offline(remote, tmp_path):
    """With HF_HUB_OFFLINE a model in the cache is found; others, whole or in part, are not."""
    snapshot = cached(tmp_path, "org/model", remote)
    cached(tmp_path, "org/partial", remote, weights=False)
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path),
           "HF_HUB_CACHE": str(tmp_path)}  # fmt: skip
    names = ["org/model", f"org/model@{COMMIT}", "org/other", "org/partial"]
    command = [sys.executable, "-c", OFFLINE, *names]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    whole, pinned, other, partial = done.stdout.splitlines()
    assert whole == pinned == str(snapshot)
    assert done.stderr.count(f"org/model: main is commit {COMMIT}") == 1
    assert "HF_HUB_OFFLINE is set and it is not in the cache" in other
    assert "no complete safetensors weights here" in partial
