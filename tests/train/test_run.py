"""A whole run on a tiny model: what it writes, how it stops, and how it goes on."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import TOY, metrics, tiny_base, tiny_tokenizer, toy_data, toy_recipe

from worldpm.errors import (
    CheckpointError,
    ConfigError,
    InterruptedRunError,
    OutputExistsError,
    WorldPMError,
)
from worldpm.model.adapter import read_adapter
from worldpm.model.batch import collate
from worldpm.model.checkpoint import iter_tensors, read_model
from worldpm.records import Message
from worldpm.tokens.encode import Encoder
from worldpm.tokens.tree import build_tree
from worldpm.train import loop, state
from worldpm.train.begin import base_model
from worldpm.train.run import train
from worldpm.train.state import checkpoints

LORA = ["lora.rank=4", "lora.alpha=8", "optim.lr=1e-2"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return [toy_data(tmp_path_factory.mktemp("data") / "toy")]


def go(base, data, run, *overrides, **flags):
    return train(toy_recipe(*overrides), base, data, run, quiet=True, **flags)


@pytest.fixture(scope="module")
def whole(base, data, tmp_path_factory):
    """The folder of an uninterrupted run, and what it returned."""
    run = tmp_path_factory.mktemp("whole") / "run"
    return run, go(base, data, run)


@torch.inference_mode()
def scores(model, folder, texts=("the good cat", "old towns")):
    encoder = Encoder.from_folder(folder)
    chats = [(Message("user", "Hi"), Message("assistant", text)) for text in texts]
    return model(collate([build_tree([encoder.encode(chat)]) for chat in chats])).tolist()


def kill_in_step(monkeypatch, number, signal_number):
    """Send this process a signal while step `number` is under way."""
    real, calls = loop.take_step, []

    def step(*arguments):
        calls.append(1)
        if len(calls) == number:
            signal.raise_signal(signal_number)
        return real(*arguments)

    monkeypatch.setattr(loop, "take_step", step)


def test_what_a_run_leaves(whole, base):
    """The recipe, the numbers, two checkpoints at most, and a model that scores as the live one."""
    run, result = whole
    assert sorted(p.name for p in run.iterdir()) == [
        "checkpoints", "metrics.jsonl", "model", "run.json",
    ]  # fmt: skip
    begun = json.loads((run / "run.json").read_text())
    assert begun["recipe"] == toy_recipe().model_dump(mode="json")
    assert re.fullmatch("[0-9a-f]{64}", begun["base"][0])
    assert begun["data"][0].keys() == {"train", "validation"}
    assert "torch" in begun["versions"]
    assert result == {"dropped": {"train": {}, "validation": {}}, **without_kind(metrics(run)[-1])}
    assert result["validation_loss_nats"] < 0.69
    good, bad = scores(read_model(run / "model"), run / "model")
    assert good > bad
    assert scores(read_model(run / "model"), base) == [good, bad]


def without_kind(record):
    return {key: value for key, value in record.items() if key != "kind"}


def test_lora_run(base, data, tmp_path):
    """The adapter merged into the base, and the model written beside it, are the same."""
    go(base, data, tmp_path / "run", *LORA)
    adapter = read_adapter(tmp_path / "run" / "adapter")
    assert (adapter.rank, adapter.alpha, len(adapter.factors)) == (4, 8.0, 14)
    merged = adapter.merge(t for t in iter_tensors(base) if t[0] != "lm_head.weight")
    written = dict(iter_tensors(tmp_path / "run" / "model"))
    assert merged.keys() == written.keys()
    for name, tensor in written.items():
        torch.testing.assert_close(merged[name], tensor, atol=1e-6, rtol=1e-6)


def test_going_on_from_an_adapter(base, data, tmp_path, monkeypatch):
    """The first look is the adapter's last one; the run remembers which adapter, and resumes."""
    go(base, data, tmp_path / "first", *LORA)
    adapter = tmp_path / "first" / "adapter"
    run = tmp_path / "second"
    kill_in_step(monkeypatch, 3, signal.SIGTERM)
    with pytest.raises(InterruptedRunError):
        go(base, data, run, *LORA, adapter=adapter)
    monkeypatch.undo()
    ended, began = metrics(tmp_path / "first")[-1], metrics(run, "validation")[0]
    assert began["step"] == 0
    assert began["validation_loss_nats"] == ended["validation_loss_nats"]
    assert began["validation_by_source"] == ended["validation_by_source"]
    with pytest.raises(WorldPMError, match="began with another adapter;"):
        go(base, data, run, *LORA, resume=True)
    go(base, data, tmp_path / "other", *LORA, "seed=4")
    with pytest.raises(WorldPMError, match="began with another adapter;"):
        go(base, data, run, *LORA, adapter=tmp_path / "other" / "adapter", resume=True)
    go(base, data, run, *LORA, adapter=adapter, resume=True)
    go(base, data, tmp_path / "whole", *LORA, adapter=adapter)
    assert metrics(run) == metrics(tmp_path / "whole")
    assert bits(run) == bits(tmp_path / "whole")
    assert metrics(run)[-1]["validation_loss_nats"] < began["validation_loss_nats"]


def test_an_adapter_of_another_shape(base, data, tmp_path):
    """It is refused before a run folder is made; so is a folder that holds none."""
    go(base, data, tmp_path / "first", *LORA, "data.batch_pairs=50")
    run = tmp_path / "run"
    for changes in (["lora.rank=2"], ["lora.rank=0"], ["model.frozen_layers=1"]):
        with pytest.raises(CheckpointError, match="not of the recipe's shape"):
            go(base, data, run, *LORA, *changes, adapter=tmp_path / "first" / "adapter")
    with pytest.raises(CheckpointError, match=r"adapter_(config|model)"):
        go(base, data, run, *LORA, adapter=base)
    assert not run.exists()


def test_sigterm_saves_and_resumes(base, data, whole, tmp_path, monkeypatch):
    """SIGTERM ends the step under way, saves, and exits with 75; the rest is the same bits."""
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)]
    kill_in_step(monkeypatch, 4, signal.SIGTERM)
    with pytest.raises(InterruptedRunError, match="--resume") as caught:
        go(base, data, tmp_path / "run")
    assert caught.value.exit_code == 75
    assert [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT)] == before
    assert [p.name for p in checkpoints(tmp_path / "run")] == ["step-00000004"]
    assert not (tmp_path / "run" / "model").exists()
    monkeypatch.undo()
    result = go(base, data, tmp_path / "run", resume=True)
    assert metrics(tmp_path / "run") == metrics(whole[0])
    assert result == whole[1]
    assert bits(tmp_path / "run") == bits(whole[0])


def bits(run):
    return {path.name: path.read_bytes() for path in (run / "model").iterdir()}


def test_second_interrupt_acts_at_once(base, data, tmp_path, monkeypatch):
    """Whoever presses Ctrl-C twice is not made to wait for the step."""
    real = loop.take_step

    def step(*arguments):
        for _ in range(2):  # not twice in a row: the interpreter may take both for one
            signal.raise_signal(signal.SIGINT)
        return real(*arguments)

    monkeypatch.setattr(loop, "take_step", step)
    # Whoever starts a process in the background may have it ignore the interrupt.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            go(base, data, tmp_path / "run")
    finally:
        signal.signal(signal.SIGINT, before)


KILLED = """
import os, signal, sys
from pathlib import Path
from worldpm.config import load_settings
from worldpm.train import loop
from worldpm.train.recipe import Recipe
from worldpm.train.run import train
from worldpm.train.runlog import RunLog

save, record = loop.save_checkpoint, RunLog.record

def save_at_6(*arguments):
    if arguments[3]["step"] == 6:
        save(*arguments)

def die_at_11(log, entry):
    record(log, entry)
    if entry.get("step") == 11:
        os.kill(os.getpid(), signal.SIGKILL)

loop.save_checkpoint, RunLog.record = save_at_6, die_at_11
base, data, run, *overrides = sys.argv[1:]
train(load_settings(Recipe, None, overrides), Path(base), [Path(data)], Path(run), quiet=True)
"""


def test_kill_9_and_resume(base, data, whole, tmp_path):
    """Killed after steps that no checkpoint holds: none counts twice, and all bits are the same."""
    run, often = tmp_path / "run", "run.checkpoint_every_seconds=1e-9"
    command = [sys.executable, "-c", KILLED, base, data[0], run, *TOY, often]
    done = subprocess.run([str(part) for part in command], check=False)
    assert done.returncode == -signal.SIGKILL
    assert [p.name for p in checkpoints(run)] == ["step-00000006"]
    logged = metrics(run)
    assert logged[-1]["step"] == 11
    assert logged == metrics(whole[0])[: len(logged)]
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b'{"kind":"step","st')  # a line cut short
    assert go(base, data, run, often, resume=True) == whole[1]
    assert metrics(run) == metrics(whole[0])
    assert bits(run) == bits(whole[0])


def test_resume_without_any_checkpoint(base, data, whole, tmp_path, monkeypatch):
    """A run killed before its first checkpoint starts again, its early records cut away."""
    monkeypatch.setattr(loop, "save_checkpoint", lambda *a: None)
    kill_in_step(monkeypatch, 3, signal.SIGTERM)
    with pytest.raises(InterruptedRunError):
        go(base, data, tmp_path / "run")
    assert len(metrics(tmp_path / "run", "step")) == 3
    monkeypatch.undo()
    go(base, data, tmp_path / "run", resume=True)
    assert metrics(tmp_path / "run") == metrics(whole[0])


def test_resume_from_a_damaged_checkpoint(base, data, whole, tmp_path, monkeypatch):
    """It falls back to the one before, says so in the log, and the numbers are the same."""
    recipe = ["run.checkpoint_every_seconds=1e-9", "run.keep_checkpoints=2"]
    kill_in_step(monkeypatch, 5, signal.SIGTERM)
    with pytest.raises(InterruptedRunError):
        go(base, data, tmp_path / "run", *recipe)
    newest = checkpoints(tmp_path / "run")[-1]
    (tensors,) = newest.glob("*.safetensors")
    tensors.write_bytes(b"")
    monkeypatch.undo()
    go(base, data, tmp_path / "run", *recipe, resume=True)
    assert metrics(tmp_path / "run") == metrics(whole[0])
    notes = [record["note"] for record in metrics(tmp_path / "run", "note")]
    assert any("step-00000005: damaged" in note for note in notes)


def test_resuming_a_finished_run(base, data, tmp_path):
    """Nothing is trained or logged again; the model is there, and the result the same."""
    first = go(base, data, tmp_path / "run")
    records = metrics(tmp_path / "run")
    written = bits(tmp_path / "run")
    assert go(base, data, tmp_path / "run", resume=True) == first
    assert metrics(tmp_path / "run") == records
    assert bits(tmp_path / "run") == written


def test_resume_with_other_settings_is_refused(base, data, whole, tmp_path):
    """Another recipe, base or data than the run began with is named, and nothing is touched."""
    run = whole[0]
    before = (run / "metrics.jsonl").read_bytes()
    with pytest.raises(WorldPMError, match="began with another recipe;"):
        go(base, data, run, "optim.lr=1e-4", resume=True)
    other = toy_data(tmp_path / "other", 8, 4)
    with pytest.raises(WorldPMError, match="began with another data;"):
        go(base, [other], run, resume=True)
    with pytest.raises(WorldPMError, match="began with another base and data;"):
        go(tiny_base(tmp_path / "b", head=True), [other], run, resume=True)
    assert (run / "metrics.jsonl").read_bytes() == before


def test_a_run_of_before_a_setting_goes_on(base, data, whole, tmp_path):
    """A key that its recipe lacks counts at its default, and only there."""
    run = shutil.copytree(whole[0], tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    assert record["recipe"]["run"].pop("keep_best") is False
    (run / "run.json").write_text(json.dumps(record))
    assert go(base, data, run, resume=True) == whole[1]
    with pytest.raises(WorldPMError, match="began with another recipe;"):
        go(base, data, run, "run.keep_best=true", resume=True)
    record["recipe"]["gone"] = 1
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(WorldPMError, match="began with another recipe;"):
        go(base, data, run, resume=True)


def test_outputs_are_not_overwritten(base, data, whole, tmp_path):
    """A folder that is there is refused; --force replaces a run, and nothing but a run."""
    with pytest.raises(OutputExistsError, match="--resume or --force"):
        go(base, data, whole[0])
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(OutputExistsError, match="is not a run"):
        go(base, data, tmp_path, force=True)
    assert (tmp_path / "thesis.txt").exists()
    run = tmp_path / "run"
    go(base, data, run)
    go(base, data, run, "data.batch_pairs=50", force=True)
    assert len(metrics(run, "step")) == metrics(run, "step")[-1]["steps"] < 6


def test_full_disk_during_a_checkpoint(base, data, whole, tmp_path, monkeypatch):
    """The run stops with one sentence, and goes on from the checkpoint before."""
    real = state.write_tensors

    def full(tensors, folder, ranks):
        if "00000006" in str(folder):
            raise OSError(28, "No space left on device")
        real(tensors, folder, ranks)

    recipe = ["run.checkpoint_every_seconds=1e-9"]
    monkeypatch.setattr(state, "write_tensors", full)
    with pytest.raises(WorldPMError, match="No space left on device"):
        go(base, data, tmp_path / "run", *recipe)
    monkeypatch.undo()
    assert checkpoints(tmp_path / "run")[-1].name == "step-00000005"
    go(base, data, tmp_path / "run", *recipe, resume=True)
    assert metrics(tmp_path / "run") == metrics(whole[0])


def test_base_with_a_head_keeps_it(data, tmp_path):
    """A base that has a head goes on from it, whatever head the recipe names."""
    base = tiny_base(tmp_path / "b", head=True)
    model = base_model(base, toy_recipe("model.head='mlp'"))
    assert scores(model, base) == pytest.approx(scores(read_model(base), base), abs=1e-6)
    go(base, data, tmp_path / "run")
    assert abs(metrics(tmp_path / "run")[0]["validation_loss_nats"] - 0.6931472) > 1e-3


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_a_new_head_starts_at_zero(data, tmp_path, head):
    """A base without a head scores every reply 0 before training."""
    from checkpoints import write_layout

    base = write_layout(tmp_path / "b", "Qwen2ForSequenceClassification",
                        tokenizer=tiny_tokenizer(tmp_path / "t"))  # fmt: skip
    drop(base, "score.weight")
    model = base_model(base, toy_recipe(f"model.head='{head}'"))
    assert scores(model, base) == [0.0, 0.0]
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == set(dict(model.named_parameters()))


def drop(folder, name):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors[name]
    save_file(tensors, folder / "model.safetensors")


def test_refused_before_anything_is_written(base, data, tmp_path):
    """What could not end well does not begin: no run folder is left."""
    run = tmp_path / "run"
    with pytest.raises(CheckpointError, match="MLP head cannot be written for llama"):
        go(base, data, run, "model.head='mlp'")
    with pytest.raises(ConfigError, match=r"frozen_layers: 2 leaves none of the 2 layers"):
        go(base, data, run, "model.frozen_layers=2")
    with pytest.raises(ConfigError, match=r"lora\.modules: 'x'"):
        go(base, data, run, "lora.rank=2", "lora.modules=['x']")
    with pytest.raises(CheckpointError, match=r"no such folder|only safetensors"):
        go(tmp_path / "nothing", data, run)
    damaged = tiny_base(tmp_path / "damaged")
    drop(damaged, "model.norm.weight")
    with pytest.raises(CheckpointError, match=r"lacks 1 tensors, first model\.norm\.weight"):
        go(damaged, data, run)
    half = tiny_base(tmp_path / "half", head=True)
    (half / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=r"no tokenizer\.json"):
        go(half, data, run)
    assert not run.exists()


def test_sources_that_are_not_there_are_said(base, data, tmp_path):
    """A name in data.repeats that no comparison has is noted: it may be a slip."""
    go(base, data, tmp_path / "run", "data.repeats={a=1, hh=2}", "data.batch_pairs=50")
    notes = [record["note"] for record in metrics(tmp_path / "run", "note")]
    assert [n for n in notes if "repeats" in n] == [
        "data.repeats: no comparison to train on is of the source 'hh'"
    ]


def test_recipes_decide_the_numbers(base, data, whole, tmp_path):
    """The same recipe gives the same bits, another seed others."""
    go(base, data, tmp_path / "same")
    assert bits(tmp_path / "same") == bits(whole[0])
    go(base, data, tmp_path / "other", "seed=4")
    assert metrics(tmp_path / "other") != metrics(whole[0])
    assert Path(tmp_path / "same" / "metrics.jsonl").stat().st_size > 1000
