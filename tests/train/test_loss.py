"""The Bradley-Terry loss: known values, gradients, and the shapes that must not broadcast."""

import math

import jaxtyping
import pytest
import torch

from worldpm.train.loss import bradley_terry, edge_accuracy, edge_weights

WINNERS, LOSERS = torch.tensor([0, 0, 1]), torch.tensor([1, 2, 2])
WEIGHTS = torch.tensor([1.0, 2.0, 0.5])


def test_known_values():
    """-log sigmoid of the margins, weighted and summed: ln 2 at zero, worked out by hand else."""
    scores = torch.tensor([1.0, 1.0, -1.0])
    expected = math.log(2) + 2.5 * math.log(1 + math.exp(-2))
    assert float(bradley_terry(scores, WINNERS, LOSERS, WEIGHTS)) == pytest.approx(expected)
    one = torch.tensor([0]), torch.tensor([1]), torch.tensor([1.0])
    assert float(bradley_terry(torch.zeros(2), *one)) == pytest.approx(math.log(2))


def test_only_differences_count():
    """The same amount added to all the scores changes nothing."""
    scores = torch.tensor([0.3, -1.2, 2.0])
    moved = bradley_terry(scores + 5, WINNERS, LOSERS, WEIGHTS)
    torch.testing.assert_close(moved, bradley_terry(scores, WINNERS, LOSERS, WEIGHTS))


def test_far_margins_stay_finite():
    """A margin of 10,000 either way has a finite loss and gradient."""
    scores = torch.tensor([1e4, 0.0], requires_grad=True)
    for winner in (0, 1):
        edge = torch.tensor([winner]), torch.tensor([1 - winner]), torch.tensor([1.0])
        loss = bradley_terry(scores, *edge)
        (gradient,) = torch.autograd.grad(loss, scores)
        assert float(loss.detach()) == (0.0 if winner == 0 else 1e4)
        assert float(gradient.abs().sum()) == (0.0 if winner == 0 else 2.0)


def test_gradient():
    """Autograd's gradient is that of finite differences, in float64."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(3, generator=generator, dtype=torch.float64, requires_grad=True)
    weights = WEIGHTS.double()
    assert torch.autograd.gradcheck(lambda s: bradley_terry(s, WINNERS, LOSERS, weights), scores)


@pytest.mark.parametrize("function", [bradley_terry, edge_accuracy])
@pytest.mark.parametrize(
    ("scores", "winners", "losers", "weights"),
    [
        (torch.zeros(3, 1), WINNERS, LOSERS, WEIGHTS),
        (torch.zeros(3), WINNERS[:, None], LOSERS, WEIGHTS),
        (torch.zeros(3), WINNERS, LOSERS, WEIGHTS[:, None]),
        (torch.zeros(3), WINNERS, LOSERS[:2], WEIGHTS),
        (torch.zeros(3), WINNERS, LOSERS, torch.ones(1)),
        (torch.zeros(3), WINNERS.float(), LOSERS, WEIGHTS),
        (torch.zeros(3, dtype=torch.int64), WINNERS, LOSERS, WEIGHTS),
    ],
)
def test_shapes_that_would_broadcast_are_refused(function, scores, winners, losers, weights):
    """(3,) against (3, 1) would silently be a 3 x 3 loss; the shape checks of the tests see it."""
    with pytest.raises(jaxtyping.TypeCheckError):
        function(scores, winners, losers, weights)


@pytest.mark.parametrize(
    ("edges", "replies", "weighting", "per_edge", "total"),
    [
        (1, 2, "comparison", 1, 1),
        (1, 2, "replies", 1, 1),
        (1, 2, "edges", 1, 1),
        (6, 4, "comparison", 1 / 6, 1),
        (6, 4, "replies", 0.5, 3),
        (6, 4, "edges", 1, 6),
        (2, 4, "replies", 1, 2),  # fewer edges than contrasts: no edge weighs over 1
    ],
)
def test_edge_weights(edges, replies, weighting, per_edge, total):
    """What a comparison counts, spread evenly over its edges; a pair counts 1 in every way."""
    assert edge_weights([edges], [replies], weighting) == ([per_edge], [total])
    assert per_edge * edges == pytest.approx(total)


def test_comparison_without_edges():
    """There is no loss without an edge; such comparisons are dropped before."""
    with pytest.raises(AssertionError):
        edge_weights([0], [2], "replies")


def test_edge_accuracy():
    """The weight of the edges that are ordered rightly, ties counting one half."""
    scores = torch.tensor([1.0, 1.0, 0.0])
    assert edge_accuracy(scores, WINNERS, LOSERS, WEIGHTS) == 0.5 * 1.0 + 2.0 + 0.5
    assert edge_accuracy(-scores, WINNERS, LOSERS, WEIGHTS) == 0.5
