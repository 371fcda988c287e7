"""The losses: known values, probabilities that add up, gradients, and shapes that must match."""

import itertools
import math

import jaxtyping
import pytest
import torch

from worldpm.train.loss import (
    bradley_terry,
    centring,
    certainty_targets,
    davidson,
    edge_accuracy,
    edge_margin,
    edge_weights,
    plackett_luce,
    rao_kupper,
    squared_error,
)

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


TIED, TIE_WEIGHTS = torch.tensor([[0, 1], [1, 2]]), torch.tensor([1.5, 0.25])
NONE = torch.tensor([], dtype=torch.int64)
NO_TIES = NONE.reshape(0, 2)


def edge(winner, loser):
    return torch.tensor([winner]), torch.tensor([loser]), torch.ones(1)


def random_scores(count=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, generator=generator, dtype=torch.float64)


def test_margins_move_the_point_of_indifference():
    """A lead of the margin costs ln 2, like a lead of nothing without one."""
    scores = torch.tensor([3.0, 1.0])
    assert float(bradley_terry(scores, *edge(0, 1), torch.tensor([2.0]))) == pytest.approx(
        math.log(2)
    )


def test_targets_are_probabilities():
    """The cross-entropy, least where the modelled probability is the target: 0.8 at ln 4."""
    target = torch.tensor([0.8])

    def loss(ahead):
        return float(bradley_terry(torch.tensor([ahead, 0.0]), *edge(0, 1), targets=target))

    entropy = -(0.8 * math.log(0.8) + 0.2 * math.log(0.2))
    assert loss(math.log(4)) == pytest.approx(entropy)
    assert min(loss(math.log(4) + d) for d in (-0.1, 0.1)) > entropy
    sure = bradley_terry(torch.tensor([1.0, 0.0]), *edge(0, 1), targets=torch.ones(1))
    assert float(sure) == pytest.approx(math.log1p(math.exp(-1)))


@pytest.mark.parametrize("likelihood", [rao_kupper, davidson])
@pytest.mark.parametrize("strength", [0.01, 0.5, 3.0])
def test_wins_losses_and_ties_are_all_there_is(likelihood, strength):
    """The three probabilities of a pair sum to one, at any scores."""
    for seed in range(20):
        scores = 3 * random_scores(2, seed)
        single = torch.ones(1, dtype=torch.float64)
        won, lost = (
            likelihood(scores, *edge(a, 1 - a)[:2], single, NO_TIES, single[:0], strength)
            for a in (0, 1)
        )
        tied = likelihood(scores, NONE, NONE, single[:0], torch.tensor([[0, 1]]), single, strength)
        total = sum(math.exp(-float(x)) for x in (won, lost, tied))
        assert total == pytest.approx(1.0, abs=1e-12)


def test_ties_by_hand():
    """Equal scores: Rao-Kupper's tie is (theta - 1) / (theta + 1), Davidson's nu / (2 + nu)."""
    scores, one = torch.zeros(2), torch.ones(1)
    ties = (NONE, NONE, one[:0], torch.tensor([[0, 1]]), one)
    theta = math.exp(0.5)
    assert math.exp(-float(rao_kupper(scores, *ties, 0.5))) == pytest.approx(
        (theta - 1) / (theta + 1)
    )
    assert math.exp(-float(davidson(scores, *ties, math.log(0.5)))) == pytest.approx(0.5 / 2.5)


def test_plackett_luce_by_hand():
    """3 before 1 before 0.5: 3/4.5 times 1/1.5; and orders of three have probability one in all."""
    scores = torch.tensor([1.0, 3.0, 0.5], dtype=torch.float64).log()
    one = torch.ones(1, dtype=torch.float64)
    loss = plackett_luce(scores, [torch.tensor([1, 0, 2])], one)
    assert math.exp(-float(loss)) == pytest.approx(3 / 4.5 * 1 / 1.5)
    orders = map(list, itertools.permutations(range(3)))
    total = sum(math.exp(-float(plackett_luce(scores, [torch.tensor(o)], one))) for o in orders)
    assert total == pytest.approx(1.0)


def test_plackett_luce_of_two_is_bradley_terry():
    """And its weights multiply; no ranking at all is nothing to learn, with a gradient of zero."""
    scores = torch.tensor([0.3, -1.2, 2.0], requires_grad=True)
    found = plackett_luce(
        scores, [torch.tensor([2, 0]), torch.tensor([0, 1])], torch.tensor([2.0, 1.0])
    )
    expected = 2 * bradley_terry(scores, *edge(2, 0)) + bradley_terry(scores, *edge(0, 1))
    torch.testing.assert_close(found, expected)
    nothing = plackett_luce(scores, [], torch.tensor([]))
    assert torch.autograd.grad(nothing, scores)[0].tolist() == [0.0, 0.0, 0.0]


def test_centring_by_hand():
    """Zero where scores cancel; elsewhere the weighted square of the sum."""
    scores = torch.tensor([2.0, -2.0, 1.0])
    assert float(centring(scores, *edge(0, 1))) == 0.0
    assert float(centring(scores, WINNERS, LOSERS, WEIGHTS)) == 2.0 * 9.0 + 0.5 * 1.0


@pytest.mark.parametrize("strength", [0.1, 1.0])
@pytest.mark.parametrize(
    "loss",
    [
        lambda s, w, t: bradley_terry(s, WINNERS, LOSERS, w, w.abs(), 0.3 * torch.ones_like(w)),
        lambda s, w, t: rao_kupper(s, WINNERS, LOSERS, w, TIED, TIE_WEIGHTS.double(), t),
        lambda s, w, t: davidson(s, WINNERS, LOSERS, w, TIED, TIE_WEIGHTS.double(), t),
        lambda s, w, t: plackett_luce(s, [torch.tensor([2, 0, 1])], w[:1]),
        lambda s, w, t: centring(s, WINNERS, LOSERS, w),
        lambda s, w, t: squared_error(s[:, None], t * torch.tensor([[2.0], [0.3], [-3.0]]), w),
    ],
    ids=["soft", "rao-kupper", "davidson", "plackett-luce", "centring", "squared error"],
)
def test_gradients(loss, strength):
    """Autograd's gradients are those of finite differences, in float64; and are not all zero."""
    scores = random_scores().requires_grad_()
    weights = WEIGHTS.double()
    assert torch.autograd.gradcheck(lambda s: loss(s, weights, strength), scores)
    (gradient,) = torch.autograd.grad(loss(scores, weights, strength), scores)
    assert float(gradient.abs().min()) > 1e-3


@pytest.mark.parametrize("likelihood", [rao_kupper, davidson])
def test_far_scores_stay_finite_with_ties(likelihood):
    """Differences of 10,000 have finite losses and gradients."""
    scores = torch.tensor([1e4, 0.0, -1e4], requires_grad=True)
    loss = likelihood(scores, WINNERS, LOSERS, WEIGHTS, TIED, TIE_WEIGHTS, 0.5)
    (gradient,) = torch.autograd.grad(loss, scores)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


def test_squared_error_by_hand():
    """The mean over a reply's known ratings, weighted and summed; NaN is missing, not zero."""
    nan = math.nan
    outputs = torch.tensor([[1.0, 5.0], [2.0, 9.0], [3.0, 3.0]], requires_grad=True)
    ratings = torch.tensor([[0.0, 2.0], [4.0, nan], [nan, nan]])
    loss = squared_error(outputs, ratings, torch.tensor([2.0, 3.0, 0.0]))
    assert float(loss.detach()) == pytest.approx(2 * (1 + 9) / 2 + 3 * 4)
    (gradient,) = torch.autograd.grad(loss, outputs)
    assert gradient.tolist() == [[2.0, 6.0], [-12.0, 0.0], [0.0, 0.0]]


def test_squared_error_checks_shapes():
    """Ratings of a vector would broadcast against columns; the shape checks see it."""
    with pytest.raises(jaxtyping.TypeCheckError):
        squared_error(torch.zeros(3, 2), torch.zeros(3, 1), torch.ones(3))
    with pytest.raises(jaxtyping.TypeCheckError):
        squared_error(torch.zeros(3, 2), torch.zeros(3, 2), torch.ones(2))


def test_certainty_targets():
    """0 is a coin, 1 is certain; smoothing turns its share of labels round, of a coin none."""
    certainties = torch.tensor([0.0, 0.5, 1.0])
    assert certainty_targets(certainties).tolist() == [0.5, 0.75, 1.0]
    found = certainty_targets(certainties, 0.1).tolist()
    assert found == pytest.approx([0.5, 0.7, 0.9])


def test_soft_labels_are_least_at_the_log_odds():
    """The best lead is ln(P / (1 - P)) for the soft label, and has no end for the hard one."""
    targets = certainty_targets(torch.tensor([0.6], dtype=torch.float64))
    one = torch.ones(1, dtype=torch.float64)
    at = torch.tensor([math.log(4), 0.0], dtype=torch.float64, requires_grad=True)
    soft = bradley_terry(at, *edge(0, 1)[:2], one, targets=targets)
    assert float(torch.autograd.grad(soft, at)[0].abs().max()) < 1e-12
    hard = bradley_terry(at, *edge(0, 1)[:2], 0.6 * one)
    assert float(torch.autograd.grad(hard, at)[0].abs().max()) > 0.1


def test_edge_margin():
    """The weighted leads of the winners, in the scores' units."""
    scores = torch.tensor([2.0, 1.0, -1.0])
    assert edge_margin(scores, WINNERS, LOSERS, WEIGHTS) == 1.0 * 1 + 2.0 * 3 + 0.5 * 2
