"""A law says its intervals, its trend, and what the points leave open."""

import numpy as np
import orjson
import pytest
from laws import CHINCHILLA, draw

from worldpm.errors import ConfigError, DataError
from worldpm.scaling.frontier import exponents, frontier
from worldpm.scaling.law import fit_law
from worldpm.scaling.points import Points, read_points
from worldpm.scaling.study import study

BESIROGLU = {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658}


def test_a_law_is_plain_json():
    """Parameters with both ends, the trend with its rate, the draws by name."""
    law = fit_law(draw("power", 0), "power", seed=0, resamples=60).to_json()
    assert orjson.loads(orjson.dumps(law)) == law
    alpha = law["parameters"]["alpha"]
    assert alpha["low"] < alpha["value"] < alpha["high"]
    assert law["trend"]["is_there"] is True
    assert law["trend"]["rate"] == 0.05
    assert law["intervals"] == {"by": "residuals", "resamples": 60}
    assert "frontier" not in law


def test_auto_says_how_it_chose():
    """Every candidate with its AICc and its error ahead."""
    choice = fit_law(draw("power", 0), "auto", seed=0, resamples=60).to_json()["choice"]
    assert choice["criterion"] == "AICc"
    assert {each["form"] for each in choice["candidates"]} >= {"constant", "power", "power-floor"}


def test_an_unknown_form_is_refused():
    """With the names of those that are known."""
    with pytest.raises(ConfigError, match="power-floor"):
        fit_law(draw("power", 0), "linear", seed=0)


def test_a_floor_that_cannot_be_told_is_said():
    """A decade of a power law leaves floor and exponent open, and a warning says so."""
    points = draw("power", 2)
    points = points.take(np.flatnonzero(points.data < 2e4))
    law = fit_law(points, "power-floor", seed=0, resamples=60)
    assert any("floor and exponent" in each for each in law.warnings)
    sure = fit_law(draw("power-floor", 0), "power-floor", seed=0, resamples=60)
    assert not any("floor and exponent" in each for each in sure.warnings)


def test_few_runs_are_said():
    """Points of two runs are taken as independent, with a warning."""
    points = draw("power", 0)
    runs = tuple("ab"[i % 2] for i in range(len(points)))
    two = Points(None, points.data, points.value, runs, points.labels)
    assert any("2 runs" in each for each in fit_law(two, "power", seed=0, resamples=60).warnings)


def test_points_far_off_are_counted():
    """Of the published points some lie far off; without five, fewer do."""
    points = read_points(CHINCHILLA)

    def far(table):
        warnings = fit_law(table, "joint", seed=0, resamples=2).warnings
        return next((int(w.split()[0]) for w in warnings if "deviations off" in w), 0)

    assert far(points) > far(points.without_highest(5))


@pytest.mark.parametrize("changed", [{"alpha": 1e-5, "beta": 2e-5}, {"A": 0.0}, {"beta": 0.0}])
def test_a_law_that_names_no_optimum_has_none(changed):
    """Exponents near 0 lead beyond what a float holds; without a gain there is nothing to weigh."""
    assert frontier({**BESIROGLU, **changed}, [5.76e23]) == []


def test_the_frontier_is_the_lowest_loss_of_a_budget():
    """No other split of 6 N D reaches a lower loss; the exponents sum to one."""
    best = frontier(BESIROGLU, [5.76e23])[0]
    assert 6 * best.params * best.data == pytest.approx(5.76e23)
    for factor in (0.5, 0.9, 1.1, 2.0):
        n, d = best.params * factor, best.data / factor
        p = BESIROGLU
        loss = p["E"] + p["A"] * n ** -p["alpha"] + p["B"] * d ** -p["beta"]
        assert loss > best.loss
    assert sum(exponents(BESIROGLU)) == pytest.approx(1.0)
    assert exponents(BESIROGLU)[0] == pytest.approx(0.513, abs=0.001), "Besiroglu et al., table 2"


def labelled(name, seed, suite):
    points = draw(name, seed)
    labels = tuple({"suite": suite, "class": "objective", "seed": "1"} for _ in points.data)
    params = np.repeat([1e6, 1e7], len(points) // 2)
    return Points(params, points.data, points.value, None, labels)


def joined(first, second):
    return Points(
        np.concatenate([first.params, second.params]),
        np.concatenate([first.data, second.data]),
        np.concatenate([first.value, second.value]),
        None,
        first.labels + second.labels,
    )


def test_a_study_has_a_panel_a_suite_and_a_series_a_size():
    """Every point is in one series; a curve spans its points; a law too few for says why."""
    both = joined(labelled("power", 0, "a"), labelled("constant", 0, "b").take([0, 1, 12, 13]))
    report = study(both, "power", y="loss", seed=0, resamples=60)
    assert [panel["suite"] for panel in report["panels"]] == ["a", "b"]
    first, second = report["panels"]
    assert [series["params"] for series in first["series"]] == [1e6, 1e7]
    assert sum(len(s["points"]) for p in report["panels"] for s in p["series"]) == len(both)
    curve = first["series"][0]["curve"]
    data = [point["data"] for point in first["series"][0]["points"]]
    assert (curve[0]["data"], curve[-1]["data"]) == pytest.approx((min(data), max(data)))
    assert all(each["low"] <= each["value"] <= each["high"] for each in curve)
    assert second["series"][0]["law"] is None
    assert "needs 4 points" in second["series"][0]["no_law"]


def test_a_joint_study_has_one_law_for_all_sizes():
    """Each size has its own curve under the same parameters."""
    report = study(draw("joint", 0), "joint", y="loss", seed=0, resamples=60)
    series = report["panels"][0]["series"]
    assert len(series) == 5
    assert all(each["law"] == series[0]["law"] for each in series)
    assert series[0]["curve"][0]["value"] > series[4]["curve"][0]["value"]


def test_a_suite_too_small_for_a_joint_law_says_why():
    """The other suites have theirs; points without a size are an error, not a page without laws."""
    both = joined(labelled("power", 0, "a"), labelled("power", 0, "b").take([0, 1, 12, 13]))
    sizes = np.tile([1e6, 3e6, 1e7], len(both))[: len(both)]
    both = Points(sizes, both.data, both.value, None, both.labels)
    first, second = study(both, "joint", y="loss", seed=0, resamples=60)["panels"]
    assert all(series["law"]["form"] == "joint" for series in first["series"])
    assert sum(len(series["points"]) for series in second["series"]) == 4
    assert all("needs 7 points" in series["no_law"] for series in second["series"])
    with pytest.raises(DataError, match="no column params"):
        study(Points(None, both.data, both.value, None, both.labels), "joint", y="loss", seed=0)
