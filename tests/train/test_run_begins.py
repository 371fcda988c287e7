"""How a run begins: what is wrong is said before anything that stands there is touched."""

import json
from dataclasses import replace

import pytest
from safetensors.torch import load_file, save_file
from tiny import metrics, tiny_base, toy_data, toy_recipe

from worldpm.errors import CheckpointError, ConfigError, DataError, OutputExistsError
from worldpm.records import Comparison, Thread
from worldpm.store import ArtifactWriter, file_sha256, part_path, write_records
from worldpm.train import run as run_module
from worldpm.train.loop import Watch
from worldpm.train.run import train


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return [toy_data(tmp_path_factory.mktemp("data") / "toy", 12, 4)]


@pytest.fixture
def run(tmp_path):
    """What an earlier run of a day left."""
    folder = tmp_path / "run"
    (folder / "model").mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    (folder / "model" / "model.safetensors").write_text("a day of work")
    return folder


def go(base, data, run, *overrides, **flags):
    return train(toy_recipe(*overrides), base, data, run, quiet=True, **flags)


def files(folder):
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["data.max_tokens=16"], DataError, "no comparisons to use in part 'train'"),
        (["data.repeats={a=0, b=0}"], ConfigError, "leaves nothing to train on"),
        (["model.frozen_layers=2"], ConfigError, "leaves none of the 2 layers"),
        (["lora.rank=2", "lora.modules=['no_proj']"], ConfigError, "'no_proj' is not a linear"),
    ],
)
def test_force_replaces_nothing_before_all_is_well(base, data, run, overrides, error, message):
    """With --force and a recipe or data that cannot be used, the earlier run still stands."""
    before = files(run)
    with pytest.raises(error, match=message):
        go(base, data, run, *overrides, force=True)
    assert files(run) == before


def test_force_through_a_link(base, data, run, tmp_path):
    """Nothing of the earlier run is left for --resume, also where its folder is a link to one."""
    (run / "checkpoints" / "step-00000009").mkdir(parents=True)
    (run / "checkpoints" / "step-00000009" / "progress.json").write_text("{}")
    (run / "metrics.jsonl").write_text('{"kind": "note", "note": "of the earlier run"}\n')
    link = tmp_path / "link"
    link.symlink_to(run)

    def look(at):
        left.extend(sorted(path.name for path in link.iterdir()))
        return ()

    left = []
    go(base, data, link, force=True, watch=Watch(look, lambda counts, model: None))
    assert left == ["metrics.jsonl", "run.json"]
    assert "of the earlier run" not in (run / "metrics.jsonl").read_text()
    assert link.is_symlink()


def test_data_without_a_validation_part(base, run, tmp_path):
    """Data that cannot be validated on are refused, and --force has replaced nothing yet."""
    with ArtifactWriter(tmp_path / "d", Comparison, kind="comparisons", settings={}) as writer:
        for row in _rows(6):
            writer.add("train", row)
    before = files(run)
    with pytest.raises(DataError, match="part 'validation' of the data: 1 d_has_no_validation"):
        go(base, [tmp_path / "d"], run, force=True)
    assert files(run) == before


def test_labels_of_validation_that_are_no_certainties(base, run, tmp_path):
    """They would make nonsense of the objective by which the best checkpoint is chosen."""
    for name, part, weight in (("t", "train", 0.5), ("v", "validation", 3.0)):
        with ArtifactWriter(tmp_path / name, Comparison, kind="comparisons", settings={}) as writer:
            for row in _rows(6):
                edges = tuple(replace(edge, weight=weight) for edge in row.better)
                writer.add(part, replace(row, better=edges))
    before = files(run)
    with pytest.raises(DataError, match="weighs 3, over 1, which is no certainty"):
        go(base, [tmp_path / "t", tmp_path / "v"], run, "loss.soft_labels=true", force=True)
    assert files(run) == before


def test_a_tokenizer_of_another_model(data, run, tmp_path):
    """Ids beyond the table of embeddings are told before the earlier run is replaced."""
    base = tiny_base(tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "vocab_size": 100}))
    state = load_file(base / "model.safetensors")
    table = state["model.embed_tokens.weight"][:100].clone()
    state = {**state, "model.embed_tokens.weight": table, "lm_head.weight": table.clone()}
    save_file(state, base / "model.safetensors")
    before = files(run)
    with pytest.raises(CheckpointError, match="there are 100 embeddings; the tokenizer is of ano"):
        go(base, data, run, force=True)
    assert files(run) == before


@pytest.mark.parametrize("how", ["resume", "force"])
def test_one_process_trains_a_run(base, data, tmp_path, how):
    """A second one, as of a job that was queued again, is refused, and the first ends well."""

    def second(counts, model):
        with pytest.raises(OutputExistsError, match="another process trains it just now"):
            go(base, data, tmp_path / "run", **{how: True})
        tried.append(counts["step"])

    tried = []
    go(base, data, tmp_path / "run", watch=Watch(lambda steps: (1,), second))
    assert tried == [1]
    steps = [row["step"] for row in metrics(tmp_path / "run", "step")]
    assert steps == sorted(set(steps))
    go(base, data, tmp_path / "run", **{how: True})  # nobody does any more


def _rows(count):
    import random

    from tiny import toy_comparison

    return [toy_comparison(number, random.Random(number)) for number in range(count)]


def test_a_wrong_recipe_leaves_no_run_behind(base, data, tmp_path):
    """A first attempt that fails on its data does not stand in the way of the next."""
    with pytest.raises(DataError):
        go(base, data, tmp_path / "run", "data.max_tokens=16")
    assert not (tmp_path / "run").exists()


def test_an_existing_run_is_told_before_the_data_are_read(base, data, run, monkeypatch):
    """Without --force nobody waits for the tokenizer to hear that the folder is taken."""

    def never(*arguments):
        raise AssertionError("the data were read")

    monkeypatch.setattr(run_module, "load_examples", never)
    with pytest.raises(OutputExistsError, match="--resume or --force"):
        go(base, data, run)


@pytest.mark.parametrize("flags", [{"resume": True}, {"force": True}, {}])
def test_what_is_no_run(base, data, tmp_path, flags):
    """A folder of other things is neither gone on with nor replaced, and that is said."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="is not a run, so --resume has nothing"):
        go(base, data, tmp_path, **flags)
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_damaged_run_file(base, data, run, text):
    """run.json that is not JSON, or no object, is named instead of a traceback."""
    (run / "run.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"run\.json: "):
        go(base, data, run, resume=True)


def test_resume_of_nothing_is_a_new_run(base, data, tmp_path):
    """--resume where there is no run yet begins one, so that one command serves both times."""
    go(base, data, tmp_path / "run", resume=True)
    begun = json.loads((tmp_path / "run" / "run.json").read_text())
    assert begun["recipe"]["seed"] == 3
    assert begun["adapter"] is None
    assert begun["versions"]["worldpm"]


def test_a_vanished_file_of_the_data(base, tmp_path):
    """A file of a large part that is gone is named, at the start and on --resume."""
    folder = toy_data(tmp_path / "data", 40, 8)
    whole = part_path(folder, "train")
    files = [part_path(folder, "train", number, 2) for number in range(2)]
    for file in files:
        file.write_bytes(whole.read_bytes())
    whole.unlink()
    run = tmp_path / "run"
    go(base, [folder], run, "data.batch_pairs=200")
    before = (run / "metrics.jsonl").read_bytes()
    files[1].unlink()
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet: is missing"):
        go(base, [folder], run, "data.batch_pairs=200", resume=True)
    with pytest.raises(DataError, match=r"train-00001-of-00002\.parquet: is missing"):
        go(base, [folder], tmp_path / "other")
    assert (run / "metrics.jsonl").read_bytes() == before
    assert not (tmp_path / "other").exists()


def test_data_in_several_files_has_its_digest(tmp_path):
    """A run's identity holds every file of a large part, in order."""
    with ArtifactWriter(tmp_path / "data", Thread, kind="threads", settings={}) as out:
        out.counts["train"] = 0
    files = [part_path(tmp_path / "data", "train", number, 2) for number in range(2)]
    for file in files:
        write_records(file, Thread, [])
    found = run_module._digest(tmp_path / "data")
    assert found == {"train": " ".join(map(file_sha256, files))}
