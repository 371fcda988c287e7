"""Packing replies into token trees, and trees into batches, changes no score and no gradient."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from checkpoints import write_layout

from worldpm.model import decoder
from worldpm.model.batch import collate
from worldpm.model.checkpoint import read_model
from worldpm.tokens.tree import build_tree
from worldpm.train.loss import bradley_terry

TOLERANCE = 1e-5
VOCAB = 320


@pytest.fixture(scope="module", params=["Qwen2ForRewardModel", "Qwen3ForSequenceClassification"])
def model(request, tmp_path_factory):
    """A random model, and another whose keys and queries are normed."""
    return read_model(write_layout(tmp_path_factory.mktemp("tree"), request.param, seed=2))


@pytest.fixture(params=[1024, 0], ids=["masked", "by segment"])
def path(request, monkeypatch):
    """Both ways through the attention, whatever a tree's size."""
    monkeypatch.setattr(decoder, "MASKED_TREE_TOKENS", request.param)


def random_replies(rng):
    """K sequences: shared prefixes, forks within replies, equal ones, one the start of another."""
    prompt = rng.integers(0, VOCAB, rng.integers(0, 25)).tolist()
    replies = []
    for _ in range(rng.integers(1, 6)):
        kind = rng.integers(0, 6) if replies else 5
        before = replies[rng.integers(0, len(replies))] if replies else []
        own = rng.integers(0, VOCAB, rng.integers(1, 20)).tolist()
        if kind == 0:
            replies.append(list(before))
        elif kind == 1:
            replies.append(before + own)
        elif kind in (2, 3):
            replies.append(before[: rng.integers(1, len(before) + 1)] + own)
        else:
            replies.append(prompt + own)
    return replies


def alone(model, sequences):
    """The score of each sequence in a batch of its own: one segment, plainly causal."""
    return torch.cat([model(collate([build_tree([sequence])])) for sequence in sequences])


@torch.inference_mode()
def largest_difference(model, seed, change=lambda batch: batch):
    """Between scores in random packings of random trees, and alone."""
    rng = np.random.default_rng(seed)
    largest = 0.0
    for _ in range(8):
        trees = [random_replies(rng) for _ in range(rng.integers(1, 5))]
        expected = [alone(model, tree) for tree in trees]
        for order in (list(range(len(trees))), rng.permutation(len(trees)).tolist()):
            for cut in {0, int(rng.integers(0, len(order)))}:
                for group in filter(None, (order[:cut], order[cut:])):
                    batch = change(collate([build_tree(trees[i]) for i in group]))
                    wanted = torch.cat([expected[i] for i in group])
                    largest = max(largest, float((model(batch) - wanted).abs().max()))
    return largest


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("seed", range(3))
def test_scores_in_trees_are_scores_alone(model, seed):
    """In one tree, or several trees in any order and packing, a reply scores as it does alone."""
    assert largest_difference(model, seed) < TOLERANCE


def flat_positions(batch):
    """All the positions of a batch counted along it, as for one long sequence."""
    return replace(batch, positions=torch.arange(len(batch.tokens)))


def restart_positions(batch):
    """Positions counted along each tree, so that a second branch starts where the first ended."""
    runs = [torch.arange(length) for length in batch.tree_lengths]
    return replace(batch, positions=torch.cat(runs))


def see_siblings(batch):
    """Every segment sees all those before it in its tree."""
    return replace(
        batch,
        ancestors=tuple(tuple(tuple(range(i)) for i in range(len(a))) for a in batch.ancestors),
    )


def forget_ancestors(batch):
    """No segment sees the prompt."""
    return replace(batch, ancestors=tuple(tuple(() for _ in a) for a in batch.ancestors))


def wrong_leaf(batch):
    """The score is read one token early."""
    return replace(batch, leaves=(batch.leaves - 1).clamp(min=0))


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(
    "slip", [flat_positions, restart_positions, see_siblings, forget_ancestors, wrong_leaf]
)
def test_slips_would_show(model, slip):
    """Forgetting positions, siblings that see each other and their like break the equality."""
    assert largest_difference(model, 0, slip) > 100 * TOLERANCE


@pytest.mark.usefixtures("path")
def test_gradients_through_trees_are_gradients_through_sequences(model):
    """The Bradley-Terry loss has the same gradient through a tree and through its sequences."""
    rng = np.random.default_rng(7)
    sequences: list = []
    while len(sequences) < 3:
        sequences = random_replies(rng)
    winners, losers = torch.tensor([0, 1, 0]), torch.tensor([1, 2, 2])
    weights = torch.tensor([1.0, 0.5, 0.25])

    def gradients(score):
        model.requires_grad_(True)
        model.zero_grad()
        bradley_terry(score(), winners, losers, weights).backward()
        found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        model.requires_grad_(False)
        return found

    through_tree = gradients(lambda: model(collate([build_tree(sequences)])))
    separate = gradients(lambda: alone(model, sequences))
    largest = max(float(g.abs().max()) for g in separate.values())
    assert through_tree.keys() == separate.keys() == dict(model.named_parameters()).keys()
    assert largest > 0.01
    for name, gradient in separate.items():
        assert float((through_tree[name] - gradient).abs().max()) < 1e-5 * max(1, largest), name
