"""Curves and their derivatives."""

import numpy as np
import pytest
from laws import JOINT, LAWS

from worldpm.scaling.shapes import FORMS

EVERY = [(name, law[0]) for name, law in LAWS.items()] + [("joint", JOINT[0])]


def inputs_of(name: str):
    rows = len(FORMS[name].inputs)
    return np.log(np.random.default_rng(1).uniform(1e3, 1e8, size=(rows, 9)))


@pytest.mark.parametrize(("name", "theta"), EVERY)
def test_slopes_are_the_derivatives_of_the_curve(name, theta):
    """Central differences of log f by each coordinate give the slopes."""
    form, inputs = FORMS[name], inputs_of(name)
    theta = np.array(theta)
    slopes = form.curve(inputs, theta[None])[1][0]
    for place in range(len(theta)):
        step = np.zeros_like(theta)
        step[place] = 1e-6
        ends = form.log_curve(inputs, np.stack([theta + step, theta - step]))
        assert np.abs((ends[0] - ends[1]) / 2e-6 - slopes[:, place]).max() < 1e-7, place


def plain(name, x, p):
    """The curves as one would write them down."""
    if name == "constant":
        return np.full_like(x[0], p["level"])
    if name == "power":
        return p["A"] * x[0] ** -p["alpha"]
    if name == "power-floor":
        return p["E"] + p["A"] * x[0] ** -p["alpha"]
    if name == "joint":
        return p["E"] + p["A"] * x[0] ** -p["alpha"] + p["B"] * x[1] ** -p["beta"]
    if name == "logistic":
        step = 1 + (x[0] / p["midpoint"]) ** p["rate"]
        return p["end"] + (p["start"] - p["end"]) / step
    by = x[0] / p["break"]
    return p["level_at_break"] * np.where(by < 1, by ** -p["alpha_before"], by ** -p["alpha_after"])


@pytest.mark.parametrize(("name", "theta"), EVERY)
def test_a_curve_is_its_formula(name, theta):
    """log f is the logarithm of the formula in the parameters that are reported."""
    form, inputs = FORMS[name], inputs_of(name)
    values = {p.name: p.value(t) for p, t in zip(form.parameters, theta, strict=True)}
    expected = np.log(plain(name, np.exp(inputs), values))
    assert np.allclose(form.log_curve(inputs, np.array(theta)), expected, atol=1e-12)


@pytest.mark.parametrize(("name", "theta"), EVERY)
def test_starts_are_finite(name, theta):
    """Flat and rising points, too, have finite places to start from, one column a parameter."""
    form, inputs = FORMS[name], inputs_of(name)
    for target in (np.zeros(9), np.linspace(-1, 2, 9), form.log_curve(inputs, np.array(theta))):
        starts = form.starts(inputs, target)
        assert starts.shape[1] == len(form.parameters) == form.bounds(inputs, target).shape[1]
        assert np.isfinite(starts).all()


def test_many_laws_are_computed_as_each_alone():
    """A batch of coordinates gives the curves of its rows."""
    form, inputs = FORMS["broken"], inputs_of("broken")
    thetas = np.array(LAWS["broken"][0]) + np.random.default_rng(0).normal(size=(4, 4)) * 0.1
    together = form.log_curve(inputs, thetas)
    for theta, row in zip(thetas, together, strict=True):
        assert np.array_equal(form.log_curve(inputs, theta), row)
