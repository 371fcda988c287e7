"""`show RUN`: curves, looks, style and events, as text, as JSON, and as files on request."""

import json

import pytest


@pytest.fixture
def run(tmp_path):
    """A run of 160 steps with an event and two looks at two sets, kept best."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"recipe": {"seed": 3}}))
    lines = []
    for n in range(1, 161):
        norm = 50.0 if n == 130 else 1.0 + 0.1 * (n % 5)
        lines.append({"kind": "step", "step": n, "pairs": 10.0 * n, "skipped": False,
                      "loss_nats": 0.6 + 0.001 * (n % 7) - 0.2 * (n > 130), "accuracy": 0.6,
                      "grad_norm": norm, "matrix_share": 0.125})  # fmt: skip
    for n in (80, 160):
        sets = {
            name: {"loss_nats": 0.5, "accuracy": 0.5 + n / 1000, "style": {"phi_length": 0.375}}
            for name in ("forum", "people")
        }
        lines.append({"kind": "validation", "step": n, "pairs": 10.0 * n,
                      "validation_loss_nats": 0.5, "validation_accuracy": 0.66,
                      "validation_by_set": sets})  # fmt: skip
    lines.append({"kind": "best", "step": 80, "objective": 0.5, "kept": True})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_text(worldpm, run):
    """The course in a few rows, a bar line, each set's looks and style, the best and the event."""
    out = worldpm("show", run).out
    for words in ("12.5%", "▁", "people", "0.660", "+0.375", "step 80; RUN/model is it"):
        assert words in out
    assert "event            step 130: the gradient's norm was" in out
    assert "accuracy         " in out
    assert "margin" not in out  # no step has one


def test_json(worldpm, run):
    """The same as one object, every figure with all its digits."""
    found = worldpm("show", run, "--json").json
    assert len(found["curves"]) == 10
    assert found["curves"][0]["pairs"] == 160
    assert [row["set"] for row in found["validation"]] == ["forum", "people"] * 2
    (event,) = found["events"]
    assert (event["step"], event["pairs"]) == (130, 1300)
    assert found["best"]["step"] == 80


def test_files(worldpm, run, tmp_path):
    """A picture with its numbers, and event files; nothing is overwritten unless forced."""
    pytest.importorskip("matplotlib")
    done = worldpm("show", run, "--plot", tmp_path / "curves.svg", "--json")
    assert sorted(done.json["written"]) == [
        str(tmp_path / f"curves.{suffix}") for suffix in ("csv", "png", "svg")
    ]
    again = worldpm("show", run, "--plot", tmp_path / "curves")
    assert again.code == 1
    assert "exists already" in again.err
    pytest.importorskip("tensorboardX")
    assert worldpm("show", run, "--tensorboard", tmp_path / "events").code == 0
    assert len(list((tmp_path / "events").iterdir())) == 1
    assert worldpm("show", run, "--tensorboard", tmp_path / "events").code == 1


def test_only_runs_are_drawn(worldpm, tmp_path):
    """Of anything else the options are an error that says so."""
    (tmp_path / "a.jsonl").write_text("{}")
    found = worldpm("show", tmp_path / "a.jsonl", "--plot", tmp_path / "b")
    assert found.code == 1
    assert "no run of training" in found.err
