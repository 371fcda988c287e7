"""Events of a run: a planted one is found where it is, half of one is none, noise is quiet."""

import numpy as np
import pytest

from worldpm.events import AFTER, BEFORE, find_events, newest_event

NOISE = 0.02  # nats, of one step's loss


def trace(seed, num_steps, *, event=None, drop=0.0, spike=1.0, heavy=False):
    """Losses that fall with the logarithm of the step, and norms that vary by about a third."""
    rng = np.random.default_rng(seed)
    draw = (lambda: rng.standard_t(3, num_steps)) if heavy else lambda: rng.normal(size=num_steps)
    step = np.arange(1, num_steps + 1)
    losses = 0.7 - 0.03 * np.log(step + 20) + NOISE * draw()
    norms = 2 * step**-0.1 * np.exp(0.3 * draw())
    if event is not None:
        losses[event + 1 :] -= drop
        norms[event] *= spike
    return losses.tolist(), norms.tolist()


@pytest.mark.parametrize(("heavy", "least"), [(False, 19), (True, 16)])
def test_a_planted_event_is_found_where_it_is(heavy, least):
    """A drop of five times a step's noise and a norm 20 times the usual, in nearly every run."""
    runs = [trace(seed, 800, event=500, drop=0.1, spike=20, heavy=heavy) for seed in range(20)]
    found = [find_events(*run) for run in runs]
    assert sum([event.place for event in events] == [500] for events in found) >= least
    (event,) = found[0]
    assert event.drop == pytest.approx(0.1, abs=2 * NOISE)
    assert event.norm_ratio > 5
    assert "below its trend" in str(event)


@pytest.mark.parametrize(
    "half",
    [{"drop": 0.1}, {"spike": 30.0}, {"spike": 30.0, "drop": -0.2}, {"drop": 0.1, "spike": 0.03}],
    ids=["no spike", "no drop", "a rise", "a dip of the norm"],
)
def test_half_an_event_is_none(half):
    """A drop without a spike is a change of data; a spike without a drop is a bad batch."""
    assert not any(find_events(*trace(seed, 800, event=500, **half)) for seed in range(20))


def test_a_norm_that_stays_high_is_no_spike():
    """It must subside: a run that diverges is another thing."""
    losses, norms = trace(0, 800, event=500, drop=0.1)
    norms[500:] = [20 * norm for norm in norms[500:]]
    assert find_events(losses, norms) == []


@pytest.mark.parametrize("heavy", [False, True])
def test_noise_is_quiet(heavy):
    """No false alarm in 20 quiet runs of 2,000 steps; the module states the rate on far more."""
    assert sum(len(find_events(*trace(seed, 2000, heavy=heavy))) for seed in range(20)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("heavy", [False, True])
def test_the_stated_rate_of_false_alarms(heavy):
    """At most 1 of 200 quiet runs of 10,000 steps has one, where the module says 0."""
    runs = (trace(seed, 10_000, heavy=heavy) for seed in range(200))
    assert sum(bool(find_events(*run)) for run in runs) <= 1


def test_a_trend_of_learning_is_no_event():
    """A loss that falls faster and faster, or in a straight line, is a trend."""
    step = np.arange(1000)
    for losses in (0.7 - 1e-4 * step, 0.7 - 2e-7 * step**2, np.full(1000, 0.5)):
        _, norms = trace(1, 1000, event=600, spike=30)
        assert find_events(losses.tolist(), norms) == []


def test_the_newest_is_told_once_and_as_soon_as_it_can_be():
    """Step by step the same events come as of the whole run, each AFTER steps later."""
    losses, norms = trace(3, 900, event=500, drop=0.15, spike=20)
    (whole,) = find_events(losses, norms)
    told = {
        count: event
        for count in range(len(losses) + 1)
        if (event := newest_event(losses[:count], norms[:count]))
    }
    assert told == {whole.place + AFTER + 1: whole}


def test_short_runs_have_none():
    """Before there is anything to compare with, and of nothing at all."""
    assert find_events([], []) == []
    assert newest_event([0.5] * (BEFORE + AFTER), [1.0] * (BEFORE + AFTER)) is None


def test_missing_losses_are_no_event():
    """A loss that is not known (None) is neither a drop nor an error."""
    losses, norms = trace(0, 400, event=250, spike=30)
    assert find_events([None] * 400, norms) == []
    assert find_events(losses, [0.0] * 400) == []
