"""Many p-values -> which of them stand when they are looked at together.

>>> [round(q, 3) for q in benjamini_hochberg([0.01, 0.04, 0.03, 0.5])]
[0.04, 0.053, 0.053, 0.5]
"""

from collections.abc import Sequence

import numpy as np


def benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """The q-value of each p-value, in order (Benjamini and Hochberg 1995).

    Calling those with q <= 0.05 real, at most 5 % of the calls are expected to be wrong, for tests
    that are independent or positively dependent, as those of nested groups of one suite are.
    """
    p = np.asarray(p_values, np.float64)
    assert np.all((p >= 0) & (p <= 1))
    count = len(p)
    order = np.argsort(p)[::-1]
    scaled = p[order] * count / np.arange(count, 0, -1)
    q = np.empty(count)
    q[order] = np.minimum.accumulate(scaled)
    return [float(value) for value in np.minimum(q, 1.0)]
