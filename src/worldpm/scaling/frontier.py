"""A fitted joint law -> the size and data that a budget is best spent on.

frontier(law.values, flops=[1e20, 1e21])  ->  [Optimum(flops=1e20, params=1.4e9, data=1.2e10, ...)]

With C = 6 N D, N = G (C / 6)^a and D = (C / 6)^b / G, where a = beta / (alpha + beta),
b = alpha / (alpha + beta) and G = (alpha A / (beta B))^(1 / (alpha + beta)) (Hoffmann et al. 2022,
equation 4).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

FLOPS_PER_PARAM_AND_TOKEN = 6.0
LARGEST_LOG = 700.0  # what exp still holds


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

    A budget whose optimum no float can hold is left out: exponents near 0 name none. `data` is in
    the unit of the points; if that is not tokens, `flops` is not FLOPs either.
    """
    alpha, beta = values["alpha"], values["beta"]
    gains = alpha * values["A"], beta * values["B"]
    if min(gains) <= 0:  # one of them moves nothing
        return []
    scale = (math.log(gains[0]) - math.log(gains[1])) / (alpha + beta)
    for_size, for_data = exponents(values)
    found = []
    for budget in flops:
        product = math.log(budget / FLOPS_PER_PARAM_AND_TOKEN)
        params, data = scale + for_size * product, for_data * product - scale
        if max(abs(params), abs(data)) > LARGEST_LOG:
            continue
        loss = values["E"] + values["A"] * math.exp(-alpha * params)
        loss += values["B"] * math.exp(-beta * data)
        found.append(Optimum(budget, math.exp(params), math.exp(data), loss))
    return found
