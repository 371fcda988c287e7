"""Sets from the hub: its files, by an allow-list, at a named commit; and every way to fail."""

import sys

import huggingface_hub
import pytest
from huggingface_hub import errors
from huggingface_hub.utils import filter_repo_objects
from published_sets import write

from worldpm.errors import DataError
from worldpm.pairs.hub import HubSet, fetch_set, hub_name
from worldpm.pairs.imports import import_published
from worldpm.pairs.published import ABOUT

COMMIT = "1" * 40


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with one set of rows, which notes what it was asked for."""
    folder = tmp_path / "snapshots" / COMMIT
    names = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
    rows = [
        {"prompt": f"p{n // 2}", "response": str(n), **dict.fromkeys(names, n % 2)}
        for n in range(20)
    ]
    write(folder / "train.jsonl.gz", rows)
    asked = []

    def snapshot_download(repo_id, **options):
        asked.append((repo_id, options))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def failing(error):
    """A download that raises what the hub's client would."""

    def snapshot_download(repo_id, **options):
        raise error

    return snapshot_download


def test_names_on_the_hub(tmp_path, monkeypatch):
    """org/name and a revision, unless a path of that name exists."""
    assert hub_name("nvidia/HelpSteer2") == ("nvidia/HelpSteer2", None)
    assert hub_name("nvidia/HelpSteer2@v1") == ("nvidia/HelpSteer2", "v1")
    for other in ("data", "/data/set", "a/b/c", "../x", "./set.jsonl"):
        assert hub_name(other) is None, other
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nvidia" / "HelpSteer2").mkdir(parents=True)
    assert hub_name("nvidia/HelpSteer2") is None


def test_an_import_from_the_hub(worldpm, hub, tmp_path):
    """The set's own files are asked for and no others; the commit stands in the manifest."""
    result = worldpm(
        "import", "helpsteer2", "nvidia/HelpSteer2@main", "-o", tmp_path / "out", "--json"
    )
    assert result.code == 0
    assert f"nvidia/HelpSteer2: commit {COMMIT}" in result.err
    ((repo_id, options),) = hub
    assert (repo_id, options["repo_type"], options["revision"]) == (
        "nvidia/HelpSteer2",
        "dataset",
        "main",
    )
    assert options["allow_patterns"] == ["train.jsonl.gz", "validation.jsonl.gz"]
    assert result.json["hub"] == {"id": "nvidia/HelpSteer2", "commit": COMMIT}
    assert sum(result.json["counts"].values()) == 10
    assert [each["path"] for each in result.json["inputs"]] == ["train.jsonl.gz"]


def test_rows_of_anyone_are_of_the_set_they_came_from(tmp_path):
    """A set of the hub imported as pairs is the source of its rows, not the name of a commit."""
    rows = [{"prompt": "p", "chosen": "a", "rejected": "b"}]
    folder = tmp_path / COMMIT
    write(folder / "data" / "train.parquet", rows)
    out = tmp_path / "out"
    manifest = import_published("pairs", HubSet(folder, "org/mine", COMMIT), out, quiet=True)
    assert manifest["sources"] == {"mine": dict.fromkeys(manifest["counts"], 1)}


def test_a_dry_run_asks_no_one(worldpm, hub, tmp_path):
    """What would be read is named; the network is not touched."""
    command = ("import", "helpsteer2", "nvidia/HelpSteer2", "-o", tmp_path / "out", "--dry-run")
    assert worldpm(*command, "--json").json["reads"] == ["nvidia/HelpSteer2"]
    assert hub == []


@pytest.mark.parametrize(
    ("error", "offline", "message"),
    [
        (errors.LocalEntryNotFoundError("x"), True, "HF_HUB_OFFLINE is set and it is not in"),
        (errors.LocalEntryNotFoundError("x"), False, "cannot be reached .* give a folder"),
        (OSError("no route\nmore"), False, "OSError: no route$"),
    ],
)
def test_what_cannot_be_had(monkeypatch, error, offline, message):
    """Offline, unreachable or broken: one sentence that says which."""
    monkeypatch.setattr(huggingface_hub, "snapshot_download", failing(error))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", offline)
    with pytest.raises(DataError, match=f"org/x: no such file or folder, and .*{message}"):
        fetch_set("pairs", "org/x")


def test_a_real_client_offline(worldpm, tmp_path, monkeypatch):
    """With HF_HUB_OFFLINE the client itself refuses, at once and by name; nothing is written."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    result = worldpm("import", "shp", "stanfordnlp/SHP", "-o", tmp_path / "out")
    assert result.code == 1
    assert "stanfordnlp/SHP: no such file or folder, and it could not be had" in result.err
    assert not (tmp_path / "out").exists()


def test_sets_and_files_that_are_not_there(tmp_path, monkeypatch):
    """A set that is not read from the hub, a repository of another form, no client installed."""
    with pytest.raises(DataError, match="tldr is not read from the hub; give the files"):
        fetch_set("tldr", "org/x")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(DataError, match=r"holds none of \*\.jsonl; is it a copy"):
        fetch_set("ultrafeedback", "org/x")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(DataError, match=r'pip install "worldpm\[hub\]"'):
        fetch_set("shp", "stanfordnlp/SHP")


# Of each repository: the files that are its pairs, and some of those that are not.
REPOSITORIES = {
    "hh-rlhf": (
        ["harmless-base/train.jsonl.gz", "helpful-rejection-sampled/test.jsonl.gz"],
        ["red-team-attempts/red_team_attempts.jsonl.gz", "README.md", "hh-rlhf.py"],
    ),
    "helpsteer2": (
        ["train.jsonl.gz", "validation.jsonl.gz"],
        ["preference/preference.jsonl.gz", "disagreements/disagreements.jsonl.gz"],
    ),
    "helpsteer2-preference": (
        ["preference/preference.jsonl.gz"],
        ["train.jsonl.gz", "disagreements/disagreements.jsonl.gz"],
    ),
    "oasst": (
        ["2023-04-12_oasst_ready.trees.jsonl.gz"],
        [
            "2023-04-12_oasst_all.trees.jsonl.gz",
            "2023-04-12_oasst_ready.messages.jsonl.gz",
            "data/train-00000-of-00001-b42a775f407cee45.parquet",
        ],
    ),
    "rlhflow": (["data/train-00000-of-00004.parquet"], ["README.md", ".gitattributes"]),
    "shp": (["askacademia/train.json", "changemyview/test.json"], ["SHP.py", "README.md"]),
    "skywork": (["data/train-00000-of-00001.parquet"], ["README.md"]),
    "ultrafeedback": (["evol_instruct.jsonl", "truthful_qa.jsonl"], ["README.md"]),
}


@pytest.mark.parametrize("name", REPOSITORIES)
def test_the_files_asked_for_are_the_sets_own(name):
    """By the matching that the hub uses: all the files of pairs, no script, no other form."""
    wanted, others = REPOSITORIES[name]
    patterns = list(ABOUT[name].hub_files)
    assert list(filter_repo_objects([*wanted, *others], allow_patterns=patterns)) == wanted
