"""Measures by source: weighted means that add up however the examples are batched."""

import pytest
import torch

from worldpm.tokens.tree import build_tree
from worldpm.train.examples import Example
from worldpm.train.measures import measure, merge, record


def example(source, *edges, weight=1.0, replies=2):
    winners, losers = tuple(zip(*edges, strict=True)) if edges else ((), ())
    tree = build_tree([[1, 2 + reply] for reply in range(replies)])
    weights = (weight,) * len(edges)
    return Example(source, tree, winners, losers, weights, (0.0,) * len(edges), weight)


ROWS = [
    example("b", (0, 1)),
    example("a", (1, 0)),
    example("b", (0, 1), (2, 1), weight=0.5, replies=3),
]
SCORES = torch.tensor([1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 3.0])


def test_by_hand():
    """Accuracy and lead of each source, of what its edges weigh; a tie is worth one half."""
    found = record(merge([measure(SCORES, ROWS)]))
    assert list(found["by_source"]) == ["a", "b"]
    a, b = found["by_source"].values()
    assert (a["accuracy"], a["margin"], a["pairs"]) == (0.0, -2.0, 1.0)
    assert (b["accuracy"], b["margin"], b["pairs"]) == (0.875, 1.25, 2.0)
    assert found["accuracy"] == pytest.approx(1.75 / 3)
    assert found["margin"] == pytest.approx(0.5 / 3)
    assert "pairs" not in found  # of a step's record that is what was seen so far
    expected = (a["loss_nats"] + 2 * b["loss_nats"]) / 3
    assert found["loss_nats"] == pytest.approx(expected)


def test_batches_add_up():
    """One by one or all at once, in one process or several."""
    parts = torch.split(SCORES, [2, 2, 3])
    single = [measure(own, [row]) for own, row in zip(parts, ROWS, strict=True)]
    assert record(merge(single)) == record(merge([measure(SCORES, ROWS)]))
    assert record(merge([merge(single[:1]), merge([]), merge(single[1:])])) == record(merge(single))


def test_what_has_no_edge_has_no_accuracy():
    """None, not 0 and no error: ratings without an order are trained on as well."""
    found = record(measure(torch.zeros(2), [example("a")]))
    assert found["accuracy"] is found["loss_nats"] is found["by_source"]["a"]["margin"] is None
