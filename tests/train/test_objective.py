"""The objective: the recipe's loss of comparisons, on one scale, whatever shares the batch."""

import math
from collections import Counter

import pytest
import torch
from tiny import tiny_tokenizer

from worldpm.config import load_settings
from worldpm.errors import ConfigError
from worldpm.records import Comparison, Edge, Message
from worldpm.tokens.encode import Encoder
from worldpm.train.examples import join_edges, make_examples
from worldpm.train.loss import bradley_terry, davidson, plackett_luce, rao_kupper
from worldpm.train.objective import objective, ranking_of, ties_of
from worldpm.train.recipe import DataSettings, LossSettings, Recipe

RANKED = ((2, 0), (2, 1), (0, 1))  # 2 before 0 before 1
KINDS = ["bradley-terry", "plackett-luce", "rao-kupper", "davidson"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return Encoder.from_folder(tiny_tokenizer(tmp_path_factory.mktemp("tokenizer")))


def example(encoder, *edges, replies=3, margin=None):
    texts = ["red hills", "the cat", "good", "bad"][:replies]
    better = tuple(Edge(winner, loser, margin) for winner, loser in edges)
    row = Comparison(
        "1", "toy", None, (Message("user", "Hi"),),
        tuple((Message("assistant", text),) for text in texts), better,
    )  # fmt: skip
    (found,) = make_examples([row], encoder, DataSettings(), Counter())
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
    """Margins and smoothing are Bradley-Terry's; asking for them elsewhere is an error."""
    load_settings(Recipe, None, ["loss.kind=plackett-luce", "loss.centring=0.01"])
    for other in ("loss.margin_scale=1", "loss.label_smoothing=0.1"):
        with pytest.raises(ConfigError, match="do not go with davidson"):
            load_settings(Recipe, None, ["loss.kind=davidson", other])
