"""A token's bits depend on the tokens of its own path and on nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from kernel_models import (
    EVERY,
    FLOAT,
    config,
    forward,
    head,
    kernels,
    layers,
    leaves,
    model,
    tokens,
    trees,
)

from worldpm.tokens.tree import build_tree

SHAPES = {
    "grouped": {},
    "single": {"head_dim": 80, "num_attention_heads": 2, "qk_norm": False},
    "many": {"head_dim": 64, "num_attention_heads": 7, "num_key_value_heads": 1},
}
CASES = [(shape, *how) for shape in SHAPES for how in EVERY if "portable" not in how]
CASES += [("grouped", *how) for how in EVERY if "portable" in how]  # slow, and the same source


@pytest.fixture
def two_threads():
    """Two threads during a test."""
    before = kernels.num_threads()
    kernels.set_num_threads(2)
    yield
    kernels.set_num_threads(before)


@pytest.fixture
def one_thread():
    """One thread during a test."""
    before = kernels.num_threads()
    kernels.set_num_threads(1)
    yield
    kernels.set_num_threads(before)


def comparison(seed):
    """One prompt and replies that share a beginning; one goes past a block of 512 keys."""
    rng = np.random.default_rng(seed)
    prompt, stem = tokens(rng, 17 + seed % 40), tokens(rng, 5)
    return [prompt + stem + tokens(rng, n) for n in (3, 29 + seed % 7, 590)] + [prompt]


def at_leaves(made, packed, sequences_of_trees):
    """Residual rows at each sequence's last token, tree by tree."""
    grown = [build_tree(sequences) for sequences in sequences_of_trees]
    return forward(made, grown, packed)[leaves(grown)]


@pytest.mark.parametrize(("shape", "precision", "isa"), CASES)
@pytest.mark.usefixtures("one_thread")
def test_a_conversation_has_its_bits_alone_in_a_batch_and_in_a_tree(shape, precision, isa):
    """Alone, packed with others, shuffled, as a branch and with other siblings: the same bits."""
    made = model(config(**SHAPES[shape]))
    packed = layers(made, precision=precision, isa=isa)
    groups = [comparison(seed) for seed in (0, 1, 2)]
    sequences = [sequence for group in groups for sequence in group]
    alone = np.concatenate([at_leaves(made, packed, [[sequence]]) for sequence in sequences])
    as_trees = at_leaves(made, packed, groups)
    np.testing.assert_array_equal(as_trees, alone)
    packed_up = at_leaves(made, packed, [[sequence] for sequence in sequences])
    np.testing.assert_array_equal(packed_up, alone)
    order = np.random.default_rng(3).permutation(len(sequences))
    shuffled = at_leaves(made, packed, [[sequences[i]] for i in order])
    np.testing.assert_array_equal(shuffled, alone[order])
    siblings = at_leaves(made, packed, [[group[1], group[2] + [7] * 33] for group in groups])
    np.testing.assert_array_equal(siblings[::2], alone[1::4])


@pytest.mark.parametrize(("precision", "isa"), EVERY)
@pytest.mark.usefixtures("one_thread")
def test_every_token_has_the_bits_of_a_conversation_that_ends_there(precision, isa):
    """Cutting a conversation after any token leaves that token's bits as they were."""
    made = model(config())
    packed = layers(made, precision=precision, isa=isa)
    sequence = tokens(np.random.default_rng(5), 45)
    whole = forward(made, [build_tree([sequence])], packed)
    for length in range(1, len(sequence) + 1):
        cut = forward(made, [build_tree([sequence[:length]])], packed)
        np.testing.assert_array_equal(cut, whole[:length])


@pytest.mark.parametrize(("precision", "isa"), EVERY)
def test_a_token_of_the_path_changes_the_bits(precision, isa):
    """The companion: one other token in the prompt is noticed at every reply."""
    made = model(config())
    packed = layers(made, precision=precision, isa=isa)
    group = comparison(0)
    other = [[(sequence[0] + 1) % 50, *sequence[1:]] for sequence in group]
    first, second = at_leaves(made, packed, [group]), at_leaves(made, packed, [other])
    assert (first != second).any(axis=1).all()


@pytest.mark.parametrize(("precision", "isa"), EVERY)
@pytest.mark.usefixtures("two_threads")
def test_two_threads_give_the_bits_of_one(precision, isa):
    """The number of threads does not change a bit, call after call."""
    made = model(config())
    packed = layers(made, precision=precision, isa=isa)
    groups = [comparison(seed) for seed in (3, 4)]
    several = [at_leaves(made, packed, groups) for _ in range(5)]
    kernels.set_num_threads(1)
    single = at_leaves(made, packed, groups)
    for rows in several:
        np.testing.assert_array_equal(rows, single)


@pytest.mark.parametrize(("precision", "isa"), FLOAT)
def test_a_score_has_its_bits_among_any_number_of_rows(precision, isa):
    """The head gives a row the same bits alone and among 300."""
    made = model(config(), mlp=True)
    rows = np.random.default_rng(0).standard_normal((300, 72)).astype(np.float32)
    run = head(made, isa).run
    together = run(rows)
    for index in (0, 1, 13, 14, 111, 112, 299):
        np.testing.assert_array_equal(run(rows[index : index + 1]), together[index : index + 1])


FORK = """
import os, signal, sys
import numpy as np
from kernel_models import array, config, kernels, layers, model, plan, torch, trees
from worldpm.model.batch import collate

def forward():
    residual = embedded.copy()
    for layer in packed:
        layer.run(residual, layout)
    return residual

kernels.set_num_threads(2)
made = model(config())
packed, layout = layers(made), plan(made, trees())
embedded = array(made.model.embed(collate(trees())))
before = forward()
child = os.fork()
signal.alarm(60)  # in both: whoever waits for ever leaves nobody behind
"""
AFTER = """
after = forward()
same = np.array_equal(before, after) and kernels.num_threads() == 2
if child == 0:
    os._exit(0 if same else 1)
sys.exit(0 if same and os.waitpid(child, 0)[1] == 0 else 1)
"""
# Torch shares its work by GNU OpenMP, which waits for ever in a child forked after its first use.
# Of torch, a child may use one thread.
TORCH = """
if child == 0:
    torch.set_num_threads(1)
layout = plan(made, trees())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("between", ["", TORCH], ids=["kernels alone", "torch with one thread"])
def test_threads_work_on_both_sides_of_a_fork(between):
    """After a fork, parent and child both compute, with two threads, the bits of before."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, "-W", "ignore", "-c", FORK + between + AFTER]
    assert subprocess.run(command, env=environment, timeout=120, check=False).returncode == 0


def test_two_python_threads_may_run_at_once():
    """Calls from several Python threads wait for each other and give the same bits."""
    from concurrent.futures import ThreadPoolExecutor

    made = model(config())
    packed = layers(made)
    expected = forward(made, trees(), packed)
    with ThreadPoolExecutor(4) as executor:
        results = list(executor.map(lambda _: forward(made, trees(), packed), range(12)))
    for result in results:
        np.testing.assert_array_equal(result, expected)
