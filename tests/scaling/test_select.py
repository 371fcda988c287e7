"""The shape that is chosen, and what is said of those it is not told from."""

import numpy as np
import pytest
from laws import draw

from worldpm.errors import DataError
from worldpm.scaling.fit import fit
from worldpm.scaling.points import Points
from worldpm.scaling.select import aicc, choose, extrapolation_errors
from worldpm.scaling.shapes import FORMS


@pytest.mark.parametrize("name", ["constant", "power", "power-floor", "broken", "logistic"])
def test_points_of_little_noise_are_called_by_their_law(name):
    """A tenth of the usual noise leaves no doubt; the candidates are in the order of AICc."""
    noise = 0.02 if name == "constant" else 0.001
    choice = choose(draw(name, 4, noise=noise), seed=0)
    assert choice.form == name
    assert choice.fit.form.name == name
    behind = [each.over_best for each in choice.candidates]
    assert behind == sorted(behind)
    assert behind[0] == 0.0


def test_aicc_is_its_formula():
    """Known by hand: n log(2 objective / n) + 2 k + 2 k (k + 1) / (n - k - 1), k with the scale."""
    points = draw("power", 0)
    found = fit(FORMS["power"], points.inputs(FORMS["power"]), points.target, delta=1e9)
    square = float((found.residuals**2).mean())
    assert aicc(found) == pytest.approx(24 * np.log(square) + 6 + 24 / 20)


def test_a_shape_that_is_wrong_extrapolates_worse():
    """Fitted to the smaller x, a constant foretells a falling loss worse than a power law."""
    points = draw("power", 1)
    form = FORMS["power"]
    errors = extrapolation_errors(
        points.inputs(form), points.target, ["constant", "power"], delta=0.03
    )
    assert errors["power"] < 0.03 < 0.1 < errors["constant"]


def test_a_step_whose_end_is_not_seen_is_no_emergence():
    """Of a logistic only its beginning is there: no shape claims to know its end."""
    points = draw("logistic", 0, noise=0.002)
    early = points.take(np.flatnonzero(points.data < 1.5e5))
    assert "logistic" not in [c.fit.form.name for c in choose(early, seed=0).candidates]


def test_few_points_allow_few_shapes():
    """Five points bear no broken law; two bear nothing."""
    x = np.geomspace(1e3, 1e6, 5)
    five = Points(None, x, x**-0.1, None, ({},) * 5)
    names = {c.fit.form.name for c in choose(five, seed=0).candidates}
    assert names == {"constant", "power", "power-floor"}
    with pytest.raises(DataError, match="too few"):
        choose(five.take([0, 1]), seed=0)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_fewer_than_four_points_are_no_choice(count):
    """AICc is infinite for every shape there: an error that says how many are needed."""
    x = 10.0 ** np.arange(2, 2 + count)
    with pytest.raises(DataError, match=f"{count} points are too few for any shape; 4 are the"):
        choose(Points(None, x, 0.7 + 0.01 * np.arange(count), None, ({},) * count), seed=0)


def test_a_choice_among_near_shapes_names_the_others():
    """A floor that hardly shows is a rival of the plain power law, and is said to be."""
    rivals = [choose(draw("power", seed), seed=seed).rivals for seed in range(6)]
    assert any("power-floor" in each for each in rivals)
