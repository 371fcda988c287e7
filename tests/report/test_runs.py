"""A run read for tables: later lines count, means of parts, gaps, and bars of a course."""

import json

import pytest

from worldpm.errors import DataError
from worldpm.report.runs import curve_table, look_table, read_run, run_events, shown, sparkline
from worldpm.report.tensorboard import scalars, write_events


def step(number, loss=0.5, **more):
    return {"kind": "step", "step": number, "pairs": 10.0 * number, "loss_nats": loss,
            "skipped": False, **more}  # fmt: skip


def look(number, **sets):
    found = {"validation_loss_nats": 0.6, "validation_accuracy": 0.7, "validation_by_set": sets}
    return {"kind": "validation", "step": number, "pairs": 10.0 * number, **found}


@pytest.fixture
def read(tmp_path):
    def run(*lines):
        path = tmp_path / "metrics.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return read_run(path)

    return run


def test_later_lines_count_and_steps_are_in_order(read, tmp_path):
    """As in a run that was resumed; other kinds are passed over, no file is no step."""
    run = read(
        step(2), step(1, 0.9), {"kind": "note"}, step(2, 0.4), look(2), {"kind": "best", "step": 2}
    )
    assert [s["loss_nats"] for s in run.steps] == [0.9, 0.4]
    assert (len(run.looks), run.best["step"]) == (1, 2)
    assert read_run(tmp_path / "none.jsonl").steps == []


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_last_line_cut_short_is_none_yet(tmp_path, cut):
    """Its writer was killed in it, or is at it; in the middle of the file it is an error."""
    path = tmp_path / "metrics.jsonl"
    whole, last = (json.dumps(step(n)).encode() for n in (1, 2))
    path.write_bytes(whole + b"\n" + last[:cut])
    assert [s["step"] for s in read_run(path).steps] == [1]
    path.write_bytes(whole + b"\n" + last)
    assert len(read_run(path).steps) == 2
    path.write_bytes(last[:cut] + b"\n" + whole + b"\n")
    with pytest.raises(DataError, match=r"metrics\.jsonl:1: not valid JSON"):
        read_run(path)


def test_curves_are_means_of_equal_parts(read):
    """Each part by its steps' means, without the missing ones, and its last step's counts."""
    run = read(*(step(n, None if n == 2 else float(n), grad_norm=2.0) for n in range(1, 7)))
    assert [(r["step"], r["pairs"], r["loss_nats"]) for r in curve_table(run, 3)] == [
        (2, 20.0, 1.0), (4, 40.0, 3.5), (6, 60.0, 5.5),
    ]  # fmt: skip
    assert len(curve_table(run, 10)) == 6
    assert curve_table(run, 2)[0]["accuracy"] is None
    assert curve_table(read(), 3) == []


def test_looks_by_set(read):
    """A row a set with its style; runs from before there were sets have one, of all."""
    own = {"loss_nats": 0.5, "accuracy": 0.8, "margin": 1.0, "style": {"phi_length": 0.25}}
    row, bare = look_table(read(look(4, hh=own, forum={"accuracy": 0.6, "style": {}})))
    assert (row["step"], row["set"], row["accuracy"], row["phi_length"]) == (4, "hh", 0.8, 0.25)
    assert bare["phi_length"] is bare["margin"] is None
    (old,) = look_table(read(look(4)))
    assert (old["set"], old["accuracy"]) == ("all", 0.7)


def test_events_are_of_steps_that_were_taken(read):
    """A skipped step is no part of the trace, so that the place is the step's own."""
    lines = []
    for n in range(1, 160):
        norm = 50.0 if n == 130 else 1.0 + 0.1 * (n % 5)
        lines.append(step(n, 0.6 + 0.001 * (n % 7) - 0.2 * (n > 130), grad_norm=norm))
    lines[19] = step(20, None, grad_norm=None) | {"skipped": True}
    ((found, event),) = run_events(read(*lines))
    assert found["step"] == 130
    assert event.drop == pytest.approx(0.2, abs=0.01)
    assert run_events(read(*lines[:140])) == []


def test_sparkline():
    """From the lowest bar to the highest, means where there are many values, a blank for a gap."""
    assert sparkline([0.0, 7.0, 3.5]) == "▁█▅"
    assert sparkline([1.0, None, 1.0]) == "▁ ▁"
    assert sparkline(list(range(400)), width=8) == "▁▂▃▄▅▆▇█"
    assert sparkline([None]) == sparkline([]) == ""


def test_shown():
    """A dash for what is missing, never a zero."""
    assert (shown(None, ".3f"), shown(0.5, ".3f"), shown("hh", "")) == ("-", "0.500", "hh")


def test_scalars_are_the_numbers_by_their_place():
    """Nested names with slashes; no text, no missing value, and not the step itself."""
    record = look(3, hh={"accuracy": 0.5, "style": {"phi_length": None}}) | {"skipped": False}
    assert dict(scalars(record)) == {
        "pairs": 30.0, "loss_nats": 0.6, "accuracy": 0.7, "by_set/hh/accuracy": 0.5, "skipped": 0.0,
    }  # fmt: skip


def test_event_files_hold_every_number(read, tmp_path):
    """Read back by TensorBoard's own reader where it is installed, else found in the bytes."""
    pytest.importorskip("tensorboardX")
    run = read(step(1, 0.5), step(2, 0.25), look(2, hh={"accuracy": 0.5}))
    folder = write_events(run, tmp_path / "events")
    (file,) = folder.iterdir()
    data = file.read_bytes()
    for name in (b"train/loss_nats", b"validation/accuracy", b"validation/by_set/hh/accuracy"):
        assert name in data
    assert data.count(b"train/loss_nats") == 2
