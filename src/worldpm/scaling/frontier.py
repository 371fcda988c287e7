"""A fitted joint law -> the size and data that a budget is best spent on.

frontier(law.values, flops=[1e20, 1e21])  ->  [Optimum(flops=1e20, params=1.4e9, data=1.2e10, ...)]

With C = 6 N D, N = G (C / 6)^a and D = (C / 6)^b / G, where a = beta / (alpha + beta),
b = alpha / (alpha + beta) and G = (alpha A / (beta B))^(1 / (alpha + beta)) (Hoffmann et al. 2022,
equation 4).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

FLOPS_PER_PARAM_AND_TOKEN = 6.0


@dataclass(frozen=True, slots=True)
class Optimum:
    """Where a budget is best spent, and the loss to expect there."""

    flops: float
    params: float
    data: float
    loss: float


def exponents(values: Mapping[str, float]) -> tuple[float, float]:
    """The exponents of C in the optimal N and D; they sum to 1."""
    both = values["alpha"] + values["beta"]
    return values["beta"] / both, values["alpha"] / both


def frontier(values: Mapping[str, float], flops: Iterable[float]) -> list[Optimum]:
    """The optimum of each budget under E + A N^-alpha + B D^-beta; `values` by name.

    `data` is in the unit of the points; if that is not tokens, `flops` is not FLOPs either.
    """
    alpha, beta = values["alpha"], values["beta"]
    scale = (alpha * values["A"] / (beta * values["B"])) ** (1 / (alpha + beta))
    for_size, for_data = exponents(values)
    found = []
    for budget in flops:
        product = budget / FLOPS_PER_PARAM_AND_TOKEN
        params, data = scale * product**for_size, product**for_data / scale
        loss = values["E"] + values["A"] * params**-alpha + values["B"] * data**-beta
        found.append(Optimum(budget, params, data, loss))
    return found
