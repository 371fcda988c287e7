"""What a run says: JSON lines whole and once, and text shown as it stands."""

import io

import orjson
import pytest
from rich.console import Console

from worldpm.errors import WorldPMError
from worldpm.events import AFTER, BEFORE
from worldpm.train.runlog import RunLog


def step(number, **changes):
    return {"kind": "step", "step": number, "steps": 9, "loss_nats": 0.5, "skipped": False,
            "seconds": 1.0, "tokens": 100, **changes}  # fmt: skip


def look(number, loss=0.6):
    return {"kind": "validation", "step": number, "validation_loss_nats": loss,
            "validation_accuracy": 0.7}  # fmt: skip


def lines(run):
    return [orjson.loads(line) for line in (run / "metrics.jsonl").read_bytes().splitlines()]


@pytest.fixture
def filled(tmp_path):
    """A log with looks at 0, 2 and 4, and steps to 5."""
    with RunLog(tmp_path, quiet=True) as log:
        log.note("begun")
        log.record(look(0))
        for number in range(1, 6):
            log.record(step(number))
            if number % 2 == 0:
                log.record(look(number, loss=0.1 * number))
    return tmp_path


def test_records_are_kept_as_they_are(filled):
    """One JSON object a line, in order, remarks among them."""
    kinds = [(r["kind"], r.get("step")) for r in lines(filled)]
    assert kinds[:4] == [("note", None), ("validation", 0), ("step", 1), ("step", 2)]
    assert lines(filled)[2] == step(1)


def test_a_write_of_a_part_is_followed_by_the_rest(tmp_path):
    """The file takes seven bytes at a time; the lines are whole all the same."""

    class Slow(io.FileIO):
        def write(self, data):
            return super().write(bytes(data)[:7])

    with RunLog(tmp_path, quiet=True) as log:
        log._file.close()
        log._file = Slow(tmp_path / "metrics.jsonl", "a")
        log.record(step(1))
        log.record(step(2))
    assert lines(tmp_path) == [step(1), step(2)]


@pytest.mark.parametrize(
    ("at", "validated", "steps", "looks"),
    [
        (4, 4, [1, 2, 3, 4], [0, 2, 4]),
        (4, 2, [1, 2, 3, 4], [0, 2]),  # saved before the look at step 4
        (3, 2, [1, 2, 3], [0, 2]),
        (0, 0, [], [0]),
        (0, None, [], []),  # no checkpoint at all
        (9, 9, [1, 2, 3, 4, 5], [0, 2, 4]),
    ],
)
def test_rewind(filled, at, validated, steps, looks):
    """Records that come again are cut away, remarks and all else stay; then it goes on."""
    with RunLog(filled, quiet=True) as log:
        log.rewind(at, validated)
        assert log.last_validation.get("step") == (looks[-1] if looks else None)
        log.record(step(99))
    found = lines(filled)
    assert [r["step"] for r in found if r["kind"] == "step"] == [*steps, 99]
    assert [r["step"] for r in found if r["kind"] == "validation"] == looks
    assert found[0] == {"kind": "note", "note": "begun"}


def test_rewind_drops_a_line_cut_short(filled):
    """What a killed process wrote half is no record."""
    with (filled / "metrics.jsonl").open("ab") as file:
        file.write(b'{"kind":"st')
    with RunLog(filled, quiet=True) as log:
        log.rewind(5, 4)
        log.record(step(6))
    assert [r["step"] for r in lines(filled) if r["kind"] == "step"] == [1, 2, 3, 4, 5, 6]


def shown(log, *records):
    text = io.StringIO()
    log._console = Console(file=text, markup=False, highlight=False, width=200)
    for record in records:
        log.record(record)
    return text.getvalue()


def test_text_is_shown_as_it_stands(tmp_path):
    """Brackets in a path or message are neither markup nor an error."""
    with RunLog(tmp_path, quiet=True) as log:
        plain = Console(file=io.StringIO())
        assert log._console._markup is False
        assert plain._markup is True
        note = "run[/b]/checkpoints: [red]damaged"
        assert note in shown(log, {"kind": "note", "note": note})


def test_losses_that_are_not_finite_do_not_stick(tmp_path):
    """One skipped step does not make the smoothed loss NaN for good, and is null in the file."""
    with RunLog(tmp_path, quiet=True) as log:
        nan = step(1, loss_nats=float("nan"), skipped=True)
        assert "loss not finite" in shown(log, nan)
        log._said = 0.0
        log._said -= 100.0
        assert "loss 0.5000 nats" in shown(log, step(2))
    assert lines(tmp_path)[0]["loss_nats"] is None


def test_progress_line(tmp_path):
    """Where there is no terminal, a plain line tells steps, speed and what is left."""
    with RunLog(tmp_path, quiet=True) as log:
        assert shown(log, step(3, seconds=60.0, tokens=6000)) == (
            "step 3/9 loss 0.5000 nats, 100 tokens/s, 2 min left\n"
        )
        assert shown(log, step(4)) == ""  # not at every step
        assert "step 4: validation loss 0.6000 nats, accuracy 0.700" in shown(log, look(4))


def test_full_disk(tmp_path):
    """A line that cannot be written stops the run in one sentence."""

    class Full:
        def write(self, data):
            raise OSError(28, "No space left on device")

        def close(self):
            pass

    with RunLog(tmp_path, quiet=True) as log:
        log._file.close()
        log._file = Full()
        with pytest.raises(WorldPMError, match=r"metrics\.jsonl: .*No space left"):
            log.record(step(1))


def test_the_best_look_is_the_last_word(tmp_path):
    """What a run returns is the validation of the checkpoint that RUN/model is made of."""
    with RunLog(tmp_path, quiet=True) as log:
        for number, loss in ((1, 0.6), (2, 0.5), (3, 0.7)):
            log.record(look(number, loss))
        assert "step 2: lowest loss 0.5000 nats" in shown(log, {"kind": "best", "step": 2,
                                                               "kept": False})  # fmt: skip
        assert log.last_validation["step"] == 3
        log.record({"kind": "best", "step": 2, "kept": True})
        assert log.last_validation["step"] == 2
        log.rewind(3, 3)
        assert log.last_validation["step"] == 3
    assert not [record for record in lines(tmp_path) if record["kind"] == "best"]


def event_steps(count, at=BEFORE + 5):
    """Steps with a spike at number `at`, and a lower loss after it."""
    found = []
    for n in range(1, count + 1):
        loss, norm = 0.6 + 0.001 * (n % 7), 1.0 + 0.1 * (n % 5)
        loss, norm = loss - 0.2 * (n > at), 50.0 if n == at else norm
        found.append(step(n, steps=count, pairs=10.0 * n, loss_nats=loss, grad_norm=norm))
    return found


@pytest.mark.parametrize("stopped", [None, BEFORE + 10, BEFORE + AFTER + 8])
def test_an_event_is_noted_once(tmp_path, stopped):
    """As soon as it can be told; a run that was stopped and goes on says the same once."""
    steps = event_steps(BEFORE + AFTER + 20)
    with RunLog(tmp_path, quiet=True) as log:
        for record in steps[:stopped]:
            log.record(record)
    if stopped:
        with RunLog(tmp_path, quiet=True) as log:
            log.rewind(stopped - 5, None)
            for record in steps[stopped - 5 :]:
                log.record(record)
    (event,) = [record for record in lines(tmp_path) if record["kind"] == "event"]
    assert (event["at_step"], event["at_pairs"]) == (BEFORE + 5, 10.0 * (BEFORE + 5))
    assert event["step"] == BEFORE + 5 + AFTER
    assert "times its usual" in event["note"]


def test_a_process_that_another_speaks_for(tmp_path):
    """It keeps and shows nothing."""
    with RunLog(None, quiet=False) as log:
        assert shown(log, step(1), look(2)) == ""
        log.rewind(0, None)
    assert list(tmp_path.iterdir()) == []
