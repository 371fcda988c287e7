"""The fit finds the optimum, of planted laws and of the published points."""

import numpy as np
import pytest
from laws import CHINCHILLA, LAWS, draw, truth

from worldpm.errors import DataError
from worldpm.scaling.fit import fit, huber, minimise
from worldpm.scaling.points import read_points
from worldpm.scaling.shapes import FORMS


def fitted(name, points, **options):
    return fit(FORMS[name], points.inputs(FORMS[name]), points.target, **options)


@pytest.mark.parametrize("name", [*LAWS, "joint"])
def test_points_without_noise_give_the_law_back(name):
    """Every parameter of a planted law is found to five digits."""
    found = fitted(name, draw(name, 0, noise=0.0)).values
    for key, value in truth(name).items():
        assert found[key] == pytest.approx(value, rel=1e-5), key


def test_huber_is_square_within_and_straight_beyond():
    """Known values on both sides of delta, and no jump at it."""
    assert np.allclose(huber(np.array([0.0, 1.0, -1.0, 2.0, 5.0]), 2.0), [0, 0.5, 0.5, 2.0, 8.0])
    assert np.allclose(huber(np.array([0.1]), np.inf), [0.005])


def test_one_wild_point_hardly_moves_the_exponent():
    """A point off by a factor of three moves alpha by less than a tenth of what squares would."""
    points = draw("power", 3)
    clean = fitted("power", points).values["alpha"]
    points.value[-1] *= 3.0
    robust = fitted("power", points).values["alpha"]
    squares = fitted("power", points, delta=1e9).values["alpha"]
    assert abs(robust - clean) < 0.1 * abs(squares - clean)


def test_the_optimum_is_that_of_scipys_l_bfgs():
    """On the published points no start of L-BFGS-B gets lower, and the best gets no further."""
    optimize = pytest.importorskip("scipy.optimize")
    points = read_points(CHINCHILLA).without_highest(5)
    form = FORMS["joint"]
    inputs, target, delta = points.inputs(form), points.target, 1e-3
    found = fit(form, inputs, target, delta=delta)

    def objective(theta):
        log_f, slopes = form.curve(inputs, theta[None])
        rest = target - log_f[0]
        return 1e3 * huber(rest, delta).sum(), -1e3 * np.clip(rest, -delta, delta) @ slopes[0]

    lowest = min(
        optimize.minimize(
            objective, start, jac=True, method="L-BFGS-B",
            options={"maxiter": 3000, "ftol": 1e-15, "gtol": 1e-10},
        ).fun
        for start in [*form.starts(inputs, target)[::9], found.theta]
    )  # fmt: skip
    assert found.objective == pytest.approx(lowest / 1e3, rel=1e-7)


def test_the_published_points_give_the_published_law():
    """Within 3 % of Besiroglu et al. 2024 for every parameter, exponents within 0.002."""
    found = fitted("joint", read_points(CHINCHILLA).without_highest(5), delta=1e-3).values
    assert found["E"] == pytest.approx(1.8172, abs=0.001)
    assert found["A"] == pytest.approx(482.01, rel=0.03)
    assert found["B"] == pytest.approx(2085.43, rel=0.03)
    assert found["alpha"] == pytest.approx(0.3478, abs=0.002)
    assert found["beta"] == pytest.approx(0.3658, abs=0.002)


def test_many_problems_are_solved_as_each_alone():
    """A batch gives what its members give; a coordinate that is held stays."""
    form, points = FORMS["power-floor"], draw("power-floor", 1)
    inputs = points.inputs(form)
    targets = np.stack([draw("power-floor", seed).target for seed in range(5)])
    limits = form.bounds(inputs, targets[0])
    starts = np.tile(fit(form, inputs, targets[0]).theta, (5, 1))
    together, objectives = minimise(form, inputs, targets, starts, 0.02, limits)
    for place in range(5):
        alone = minimise(form, inputs, targets[place][None], starts[:1], 0.02, limits)
        assert np.allclose(alone[0][0], together[place], atol=1e-9)
        assert alone[1][0] == pytest.approx(objectives[place], rel=1e-9)
    held, worse = minimise(form, inputs, targets, starts, 0.02, limits, held=2)
    assert np.array_equal(held[:, 2], starts[:, 2])
    assert (worse >= objectives * (1 - 1e-9)).all()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("power", [1e3, 1e4, 1e5], "needs 4 points"),
        ("power", [1e3] * 6, "2 different values of data"),
        ("broken", [1e3, 1e4, 1e5, 1e6] * 3, "5 different values"),
    ],
)
def test_too_few_points_are_refused(name, data, words):
    """A form asks for two points more than parameters, and for enough different x."""
    x = np.array(data)
    with pytest.raises(DataError, match=words):
        fit(FORMS[name], np.log(x[None]), np.zeros(len(x)))
