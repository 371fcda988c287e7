"""Up and down votes of two answers -> how sure it is that the first's up-rate is the higher one.

    probability_higher(up_a=9, down_a=1, up_b=1, down_b=1)  ->  0.848...

Each answer's up-rate has a Beta(1 + up, 1 + down) posterior, that of a uniform prior. For whole
counts the probability that one exceeds the other is a finite sum (Miller, "Formulas for Bayesian
A/B testing", 2014; the recurrence behind it in Cook, "Exact calculation of beta inequalities",
2005). A rate is votes over votes, so that it depends on exposure much less than net votes do.
"""

from itertools import accumulate
from math import exp, lgamma, log


def probability_higher(*, up_a: int, down_a: int, up_b: int, down_b: int) -> float:
    """P(up-rate of a > up-rate of b), exact to rounding. Time grows with the least of the counts.

    With p = Beta(a1, b1) and q = Beta(a2, b2), sum over i < a1 of
    B(a2 + i, b1 + b2) / ((b1 + i) B(1 + i, b1) B(a2, b2)) is P(p > q); swapping the roles of the
    two answers, or of up and down, gives three more sums for the same number.
    """
    assert min(up_a, down_a, up_b, down_b) >= 0
    a1, b1, a2, b2 = 1 + up_a, 1 + down_a, 1 + up_b, 1 + down_b
    least = min(a1, b1, a2, b2)
    # P(p > q) = P(1 - q > 1 - p) = 1 - P(q > p) = 1 - P(1 - p > 1 - q)
    if least == a1:
        found = _sum(a1, b1, a2, b2)
    elif least == b2:
        found = _sum(b2, a2, b1, a1)
    elif least == a2:
        found = 1.0 - _sum(a2, b2, a1, b1)
    else:
        found = 1.0 - _sum(b1, a1, b2, a2)
    return min(1.0, max(0.0, found))


def _sum(a1: int, b1: int, a2: int, b2: int) -> float:
    """P(Beta(a1, b1) > Beta(a2, b2)) by a1 terms, each from the last by its ratio, in logarithms.

    Term 0 is B(a2, b1 + b2) / B(a2, b2); term i + 1 is term i times
    (a2 + i) (b1 + i) / ((i + 1) (a2 + b1 + b2 + i)).
    """
    first = lgamma(b1 + b2) + lgamma(a2 + b2) - lgamma(b2) - lgamma(a2 + b1 + b2)
    ratios = (log((a2 + i) * (b1 + i) / ((i + 1) * (a2 + b1 + b2 + i))) for i in range(a1 - 1))
    return sum(map(exp, accumulate(ratios, initial=first)))
