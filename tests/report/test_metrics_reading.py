"""A run's metrics.jsonl: later lines count, what is not finite is counted, damage is placed."""

import json

import pytest

from worldpm.errors import DataError
from worldpm.report.runs import read_run
from worldpm.report.training_plot import smooth, training_columns


def step(number: int, loss, **more) -> dict:
    return {"kind": "step", "step": number, "pairs": 10 * number, "loss_nats": loss, **more}


def look(number: int, loss, accuracy=0.5) -> dict:
    return {"kind": "validation", "step": number, "pairs": 10 * number,
            "validation_loss_nats": loss, "validation_accuracy": accuracy}  # fmt: skip


@pytest.fixture
def read(tmp_path):
    """Write the lines and read them."""

    def run(*lines):
        path = tmp_path / "metrics.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return training_columns(read_run(path), str(path))

    return run


def test_a_step_that_was_done_again_counts_once_and_as_last_written(read):
    """A resumed run repeats steps and validations; the order is that of pairs seen."""
    run = read(step(1, 0.7), step(2, 0.6), look(2, 0.6), step(2, 0.5), look(2, 0.4), step(3, 0.3))
    assert run.steps == [(10, 0.7), (20, 0.5), (30, 0.3)]
    assert run.validations == [(20, 0.4, 0.5)]
    run = read(step(3, 0.3), step(1, 0.7))
    assert run.steps == [(10, 0.7), (30, 0.3)]


def test_steps_and_validations_without_a_number_are_counted_apart(read):
    """null is what JSON has for a loss that is not finite: in no line, and in the count."""
    run = read(step(1, None), step(2, 0.5), step(3, None), look(1, None), look(2, 0.6),
               look(3, 0.6, None))  # fmt: skip
    assert (len(run.steps), run.num_not_finite) == (1, 2)
    assert (len(run.validations), run.num_validations_not_finite) == (1, 2)
    again = read(step(1, None), step(1, 0.5))  # mended by the resumed run
    assert (again.steps, again.num_not_finite) == ([(10, 0.5)], 0)


def test_lines_of_another_kind_are_passed_over(read):
    """What a later version writes beside them does not stop the picture."""
    assert read({"kind": "memory", "bytes": 1}, step(1, 0.5)).steps == [(10, 0.5)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "has no step with a loss yet"),
        ([look(1, 0.5)], "has no step with a loss yet"),
        ([step(1, None)], "has no step with a loss yet"),
        ([step(1, 0.5), {"step": 2}], r"metrics\.jsonl:2: lacks 'kind'"),
        ([{"kind": "step", "step": 1, "pairs": 3}], r"metrics\.jsonl:1: lacks 'loss_nats'"),
        ([step(1, 0.5), {"kind": "validation", "step": 1}], r":2: lacks 'pairs'"),
        ([step(1, 0.5), ["step"]], r":2: "),
    ],
)
def test_what_is_no_runs_metrics_is_an_error_with_its_line(lines, message, read):
    """The file and the line, and the key that is missing."""
    with pytest.raises(DataError, match=message):
        read(*lines)


def test_smoothing_follows_a_change_within_its_span():
    """After ten times the span the average is the new value; a span of one is no smoothing."""
    values = [1.0] * 50 + [0.0] * 50
    assert smooth(values, 5)[-1] == pytest.approx(0.0, abs=1e-4)
    assert smooth(values, 5)[52] == pytest.approx(0.8**3, abs=1e-3)
    assert smooth(values, 1) == values
    assert smooth(values, 0) == values
    assert smooth([], 5) == []
