"""The objective: the recipe's loss of comparisons, on one scale, whatever shares the batch."""

import math
from collections import Counter

import pytest
import torch
from tiny import tiny_tokenizer

from worldpm.config import load_settings
from worldpm.errors import ConfigError, DataError
from worldpm.records import Comparison, Edge, Message
from worldpm.tokens.encode import Encoder
from worldpm.train.examples import join_edges, make_examples
from worldpm.train.loss import bradley_terry, davidson, plackett_luce, rao_kupper
from worldpm.train.objective import check_labels, objective, ranking_of, scores_of, ties_of
from worldpm.train.recipe import DataSettings, LossSettings, Recipe

RANKED = ((2, 0), (2, 1), (0, 1))  # 2 before 0 before 1
KINDS = ["bradley-terry", "plackett-luce", "rao-kupper", "davidson"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return Encoder.from_folder(tiny_tokenizer(tmp_path_factory.mktemp("tokenizer")))


def example(encoder, *edges, replies=3, margin=None, weight=1.0, ratings=(), attributes=()):
    texts = ["red hills", "the cat", "good", "bad"][:replies]
    better = tuple(Edge(winner, loser, margin, weight) for winner, loser in edges)
    row = Comparison(
        "1", "toy", None, (Message("user", "Hi"),),
        tuple((Message("assistant", text),) for text in texts), better,
        {"replies": [{"ratings": each} for each in ratings]} if ratings else {},
    )  # fmt: skip
    (found,) = make_examples([row], encoder, DataSettings(), Counter(), tuple(attributes))
    return found


def loss_of(scores, examples, **settings):
    return objective(torch.tensor(scores), examples, LossSettings(**settings))


def test_the_default_is_bradley_terry(encoder):
    """As `bradley_terry` over the joined edges of a batch."""
    examples = [example(encoder, *RANKED), example(encoder, (0, 1), replies=2)]
    scores = [0.3, -1.0, 2.0, 0.1, 0.4]
    e = join_edges(examples)
    expected = bradley_terry(torch.tensor(scores), e.winners, e.losers, e.weights)
    assert torch.equal(loss_of(scores, examples), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_the_sum_of_its_examples(encoder, kind):
    """Whatever the kind, and with replies numbered on through the batch."""
    examples = [
        example(encoder, (1, 0), replies=2),
        example(encoder, *RANKED),
        example(encoder, (0, 2), (1, 2)),
        example(encoder, *RANKED, (0, 3), (1, 3), (2, 3), replies=4),
    ]
    scores = torch.randn(12, generator=torch.Generator().manual_seed(0)).tolist()
    whole = loss_of(scores, examples, kind=kind, centring=0.1)
    places = [(0, 2), (2, 5), (5, 8), (8, 12)]
    parts = [
        loss_of(scores[first:last], [one], kind=kind, centring=0.1)
        for one, (first, last) in zip(examples, places, strict=True)
    ]
    assert float(whole) == pytest.approx(float(sum(parts)), rel=1e-6)
    assert len({round(float(part), 6) for part in parts}) == 4  # or they could be confused


@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_weighs_one(encoder, kind):
    """A decided pair at equal scores costs the same in every kind, but for what ties take."""
    cost = float(loss_of([0.0, 0.0], [example(encoder, (0, 1), replies=2)], kind=kind))
    share = {"rao-kupper": 1 / (1 + math.exp(0.5)), "davidson": 1 / (2 + math.exp(0.5))}
    assert cost == pytest.approx(-math.log(share.get(kind, 0.5)))


def test_margins_and_smoothing(encoder):
    """ln(1 + margin) scaled is taken off the lead; smoothing mixes in the other way round."""
    clear = example(encoder, (0, 1), replies=2, margin=math.e - 1)
    assert float(loss_of([2.0, 0.0], [clear], margin_scale=2.0)) == pytest.approx(math.log(2))
    unknown = example(encoder, (0, 1), replies=2)
    plain = float(loss_of([2.0, 0.0], [unknown]))
    assert float(loss_of([2.0, 0.0], [unknown], margin_scale=2.0)) == plain
    smooth = float(loss_of([2.0, 0.0], [clear], label_smoothing=0.1))
    assert smooth == pytest.approx(0.9 * plain + 0.1 * (plain + 2.0))


def test_rankings(encoder):
    """All pairs decided without a cycle are a ranking; a cycle or a missing pair is none."""
    assert ranking_of(example(encoder, *RANKED)) == [2, 0, 1]
    assert ranking_of(example(encoder, (0, 1), (1, 2), (2, 0))) is None
    assert ranking_of(example(encoder, (0, 1), (0, 2))) is None
    assert ranking_of(example(encoder, (1, 0), replies=2)) == [1, 0]


def test_plackett_luce_where_there_is_a_ranking(encoder):
    """Its factors weigh as K - 1 pairs; a comparison without a ranking is fitted by its edges."""
    ranked, cycle = example(encoder, *RANKED), example(encoder, (0, 1), (1, 2), (2, 0))
    scores = [0.5, -0.5, 1.0]
    whole = plackett_luce(torch.tensor(scores), [torch.tensor([2, 0, 1])], torch.ones(1))
    assert float(loss_of(scores, [ranked], kind="plackett-luce")) == pytest.approx(float(whole))
    assert torch.equal(loss_of(scores, [cycle], kind="plackett-luce"), loss_of(scores, [cycle]))


def test_ties_are_the_pairs_without_an_edge(encoder):
    """They share the comparison's weight evenly with its edges."""
    one = example(encoder, (2, 0), (2, 1))
    assert ties_of(one) == [(0, 1)]
    assert ties_of(example(encoder, *RANKED)) == []
    scores = torch.tensor([0.5, -0.5, 1.0])
    weights, tied = torch.full((2,), 2 / 3), torch.tensor([[0, 1]])
    for kind, likelihood in (("rao-kupper", rao_kupper), ("davidson", davidson)):
        expected = likelihood(
            scores, torch.tensor([2, 2]), torch.tensor([0, 1]), weights, tied, weights[:1], 0.7
        )
        found = loss_of(scores.tolist(), [one], kind=kind, ties=0.7)
        assert float(found) == pytest.approx(float(expected))


def test_settings_that_do_not_go_together():
    """What is Bradley-Terry's alone is an error elsewhere, and so are attributes out of place."""
    load_settings(Recipe, None, ["loss.kind=plackett-luce", "loss.centring=0.01"])
    for other in ("loss.margin_scale=1", "loss.label_smoothing=0.1", "loss.soft_labels=true"):
        with pytest.raises(ConfigError, match="does not go with davidson"):
            load_settings(Recipe, None, ["loss.kind=davidson", other])
    for wrong in (
        ["loss.kind=regression"],
        ["loss.attributes={correctness=1}"],
        ["loss.kind=regression", "loss.attributes={correctness=0}"],
    ):
        with pytest.raises(ConfigError, match="attributes"):
            load_settings(Recipe, None, wrong)


def test_soft_labels_read_weights_as_certainties(encoder):
    """An edge of weight w costs what P = (1 + w) / 2 costs, at the comparison's whole weight."""
    sure = example(encoder, (0, 1), replies=2)
    unsure = example(encoder, (0, 1), replies=2, weight=0.6)
    scores = [1.0, -0.5]
    won, lost = math.log1p(math.exp(-1.5)), math.log1p(math.exp(1.5))
    soft = float(loss_of(scores, [unsure], soft_labels=True))
    assert soft == pytest.approx(0.8 * won + 0.2 * lost)
    assert soft != pytest.approx(float(loss_of(scores, [unsure])))
    hard = float(loss_of(scores, [sure]))
    assert float(loss_of(scores, [sure], soft_labels=True)) == pytest.approx(hard)
    both = loss_of(scores, [unsure], soft_labels=True, label_smoothing=0.1)
    assert float(both) == pytest.approx(0.74 * won + 0.26 * lost)


def test_soft_labels_and_weights_have_one_gradient_at_equal_scores(encoder):
    """So the two readings of votes begin alike, and differ once the scores do."""
    rows = [example(encoder, *RANKED, weight=0.3), example(encoder, (1, 0), replies=2, weight=0.9)]

    def gradient(scores, **settings):
        scores = torch.tensor(scores, requires_grad=True)
        loss = objective(scores, rows, LossSettings(**settings))
        return torch.autograd.grad(loss, scores)[0]

    equal, apart = [0.2] * 5, [1.0, -1.0, 0.0, 2.0, 0.0]
    torch.testing.assert_close(gradient(equal, soft_labels=True), gradient(equal))
    assert not torch.allclose(gradient(apart, soft_labels=True), gradient(apart), atol=1e-2)


def test_soft_labels_refuse_what_is_no_certainty(encoder):
    """A weight over 1 cannot be a probability's; the source is named."""
    settings = LossSettings(soft_labels=True)
    fine = example(encoder, *RANKED, weight=1.0)
    check_labels([fine], settings)
    heavy = example(encoder, *RANKED, weight=1.5)
    check_labels([heavy], LossSettings())
    with pytest.raises(DataError, match=r"source 'toy' weighs 1\.5"):
        check_labels([fine, heavy], settings)


ATTRIBUTES = {"helpfulness": 1.0, "verbosity": -0.5}


def rated(encoder, *ratings, edges=()):
    return example(encoder, *edges, replies=len(ratings), ratings=ratings, attributes=ATTRIBUTES)


def test_regression_by_hand(encoder):
    """Squared errors, meaned over a reply's ratings and its comparison's replies; the missing mask.

    The head's five outputs make one score by the attributes' weights.
    """
    full, half = {"helpfulness": 4, "verbosity": 1}, {"verbosity": 2.0, "humour": 3}
    row = rated(encoder, full, half, {}, edges=((0, 1),))
    outputs = torch.tensor([[3.0, 1.0], [100.0, 0.0], [7.0, 7.0]], requires_grad=True)
    settings = LossSettings(kind="regression", attributes=ATTRIBUTES)
    assert scores_of(outputs, settings).tolist() == [2.5, 100.0, 3.5]
    loss = objective(outputs, [row], settings)
    assert row.pairs == 1  # one edge: "replies" counts no more pairs than edges
    assert float(loss.detach()) == pytest.approx(row.pairs * (0.5 + 4.0) / 2)
    (gradient,) = torch.autograd.grad(loss, outputs)
    assert (gradient != 0).tolist() == [[True, False], [False, True], [False, False]]


def test_regression_of_one_attribute(encoder):
    """Its output is a vector, as a score is, and the loss is that of the column."""
    row = example(encoder, replies=2, ratings=({"h": 1}, {"h": 3}), attributes=("h",))
    settings = LossSettings(kind="regression", attributes={"h": 2.0})
    outputs = torch.tensor([2.0, 2.5])
    assert float(objective(outputs, [row], settings)) == pytest.approx((1.0 + 0.25) / 2)
    assert scores_of(outputs, settings).tolist() == [4.0, 5.0]
