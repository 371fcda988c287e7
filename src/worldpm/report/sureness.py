"""A paired difference of two models, as JSON -> whether it is sure, and which way it goes.

    sure_sign({"value": 0.1, "interval": [0.02, 0.18], "p_value": 0.01})   ->  1

All tables, pictures and cards that call one model surely better ask here.
"""

from collections.abc import Mapping
from typing import Any

MOST_P = 0.05


def sure_sign(difference: Mapping[str, Any]) -> int:
    """1 where the difference is surely above 0, -1 where surely below, else 0.

    Sure is what has a 95 % interval without 0 and p <= 0.05. The interval alone is not enough: of
    few prompts that all move one way every bootstrap sample does too, though chance often does it.
    """
    low, high = difference["interval"]
    if difference["p_value"] > MOST_P:
        return 0
    return 1 if low > 0 else -1 if high < 0 else 0
