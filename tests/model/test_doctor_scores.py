"""What the doctor makes of scores: bits that move, golden scores that are off, and by how much."""

import json
import shutil

import pytest
import torch
from tiny import small_model

from worldpm.errors import CheckpointError
from worldpm.model.checkpoint import CONTRACT
from worldpm.model.contract import GOLDEN, read_contract
from worldpm.model.doctor import examine
from worldpm.model.layouts import Scoring, filler, in_layouts, score_alone, score_layouts, single


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("m") / "m")


def noisy(folder, alone=0.0, together=0.0, dtype="float32", exact=False):
    """A stand-in that is off by `alone`, and by `together` more in a batch of several."""
    kept = {each.messages: each.score for each in read_contract(folder).golden}

    def score(comparisons):
        off = alone + (together if len(comparisons) > 1 else 0.0)
        return [[kept.get(c, 0.0) + off for c in x.conversations()] for x in comparisons]

    return lambda threads: Scoring("stand-in", dtype, exact, score)


def check(found, name):
    (one,) = [each for each in found.checks if (each.section, each.name) == ("scores", name)]
    return one


@pytest.mark.parametrize(
    ("dtype", "exact", "together", "state"),
    [
        ("float32", True, 0.0, "ok"),
        ("float32", True, 1e-9, "fail"),  # this engine promises the bits
        ("float32", False, 1e-9, "ok"),
        ("float32", False, 1e-2, "fail"),
        ("bfloat16", True, 1e-9, "fail"),
        ("bfloat16", False, 1e-2, "ok"),
        ("bfloat16", False, 9.0, "warn"),  # it promises nothing, and what to do is said
    ],
)
def test_bits_are_held_to_what_the_engine_promises(folder, dtype, exact, together, state):
    """Exact engines to the bit, torch's float32 to its noise, bfloat16 with a warning."""
    found = examine(folder, noisy(folder, together=together, dtype=dtype, exact=exact))
    one = check(found, "bits")
    assert one.state == state
    assert (one.advice is None) == (state == "ok")
    moved = {layout.name for layout in found.layouts if not layout.identical}
    apart = {"one thread", "two threads"}
    assert moved == ({layout.name for layout in found.layouts} - apart if together else set())


@pytest.mark.parametrize(
    ("dtype", "alone", "state"),
    [
        ("float32", 1e-6, "ok"), ("float32", 0.05, "fail"), ("bfloat16", 0.02, "ok"),
        ("bfloat16", 1.0, "warn"), ("bfloat16", 50.0, "fail"), ("int8", 50.0, "fail"),
    ],
)  # fmt: skip
def test_golden_scores_are_held_to_the_precision(folder, dtype, alone, state):
    """What float32 may not be off by is fine for bfloat16; beyond bearing it fails in any."""
    one = check(examine(folder, noisy(folder, alone=alone, dtype=dtype)), "golden")
    assert one.state == state
    assert f"within {alone:.1e} of the contract's" in one.found


def test_a_context_too_short_for_any(folder, tmp_path):
    """Where no golden conversation fits, that is said and nothing is loaded."""
    copy = shutil.copytree(folder, tmp_path / "m")
    path = copy / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"max_position_embeddings": 40}))
    (copy / CONTRACT).unlink()

    def never(threads):
        raise AssertionError("it was loaded")

    found = examine(copy, never)
    assert check(found, "golden").found == "the context of 40 tokens is too short for them"
    assert check(found, "golden").state == "warn"
    assert found.layouts == found.golden == []


def test_a_load_that_fails_is_one_check_of_many(folder):
    """An error on the way to scores is told, and the page goes on without them."""

    def refuse(threads):
        raise CheckpointError("no room for it")

    found = examine(folder, refuse)
    assert check(found, "loading").found == "no room for it"
    assert found.as_json()["counts"]["fail"] == 1
    assert not found.as_json()["healthy"]


def test_every_layout_asks_for_the_same_conversations():
    """Whatever fills the batches, each golden conversation is scored once in each layout, and its
    score comes back to its place; with siblings it is the one in the middle."""
    place = {each: float(number) for number, each in enumerate(GOLDEN)}
    sizes = []

    def score(comparisons):
        sizes.append(len(comparisons))
        return [[place.get(c, -1.0) for c in x.conversations()] for x in comparisons]

    wanted = [float(number) for number in range(len(GOLDEN))]
    assert score_alone(score, GOLDEN) == wanted
    assert sizes == [1] * len(GOLDEN)
    sizes.clear()
    layouts = in_layouts(score, GOLDEN)
    assert set(layouts) == {
        "batches of 2", "batches of 8", "batches of 64", "shuffled", "reversed", "with siblings",
    }  # fmt: skip
    assert all(found == wanted for found in layouts.values())
    assert sorted(sizes) == [2] * len(GOLDEN) + [len(GOLDEN), 8, 8, 8, 64]


def test_the_weights_are_let_go_before_the_next_load():
    """Three loads, one after the other: what is handed back can no longer score, and torch's
    threads are as before even after an error."""
    before = torch.get_num_threads()
    asked = []

    def open_scoring(threads):
        asked.append(threads)
        torch.set_num_threads(threads or before)
        return Scoring("e", "float32", True, lambda xs: [[0.0] * len(x.replies) for x in xs])

    scoring, alone, layouts = score_layouts(open_scoring, GOLDEN)
    assert asked == [None, 1, 2]
    assert alone == [0.0] * len(GOLDEN)
    assert [layout.identical for layout in layouts] == [True] * 8
    with pytest.raises(AssertionError, match="no longer in memory"):
        scoring.score([])

    def failing(threads):
        torch.set_num_threads(before + 1)
        raise CheckpointError("gone")

    with pytest.raises(CheckpointError):
        score_layouts(failing, GOLDEN)
    assert torch.get_num_threads() == before


def test_fillers_differ_in_length_and_are_conversations():
    """What fills a batch is of five lengths, so that neighbours are not all alike."""
    assert len({len(filler(i)[1].content) for i in range(64)}) == 5
    assert len({single(filler(i), i).id for i in range(64)}) == 64
