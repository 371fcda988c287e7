"""Points drawn from known laws."""

from pathlib import Path

import numpy as np

from worldpm.scaling.points import Points
from worldpm.scaling.shapes import FORMS

CHINCHILLA = Path(__file__).parent / "scaling" / "data" / "chinchilla.csv"
log = np.log
# A law in coordinates, the noise of log loss, and the amounts of data: what studies are drawn from.
LAWS = {
    "constant": ([log(0.69)], 0.02, np.repeat(np.geomspace(1e3, 1e6, 12), 2)),
    "power": ([log(1.5), 0.08], 0.02, np.repeat(np.geomspace(1e3, 1e6, 12), 2)),
    "power-floor": ([log(0.4), log(3.0), 0.3], 0.01, np.repeat(np.geomspace(1e3, 1e7, 15), 2)),
    "broken": ([log(0.6), 0.02, 0.12, log(1e5)], 0.02, np.repeat(np.geomspace(1e3, 1e7, 15), 2)),
    "logistic": (
        [log(0.69), log(0.4), log(1.2), log(1e5)], 0.02, np.repeat(np.geomspace(1e3, 1e7, 15), 2),
    ),
}  # fmt: skip
JOINT = ([log(1.8), log(480.0), log(2000.0), 0.35, 0.366], 0.01)


def draw(name: str, seed: int, noise: float | None = None) -> Points:
    """Points of a law of `LAWS`, or of `JOINT` on eight amounts of data at five sizes."""
    rng = np.random.default_rng([77, seed])
    if name == "joint":
        theta, usual = JOINT
        sizes, amounts = np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e8, 1e11, 8))
        params, data = sizes.ravel(), amounts.ravel()
        inputs = np.log(np.stack([params, data]))
    else:
        theta, usual, data = LAWS[name]
        params, inputs = None, np.log(data[None])
    scale = usual if noise is None else noise
    middle = FORMS[name].log_curve(inputs, np.array(theta))
    value = np.exp(middle + scale * rng.normal(size=len(data)))
    return Points(params, data, value, None, tuple({} for _ in data))


def truth(name: str) -> dict[str, float]:
    """The law's parameters by their names."""
    theta = JOINT[0] if name == "joint" else LAWS[name][0]
    return {p.name: p.value(float(t)) for p, t in zip(FORMS[name].parameters, theta, strict=True)}
