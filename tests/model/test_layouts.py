"""The layouts that the doctor compares: each takes its own scores, and each would notice."""

import pytest
from tiny import small_model

from worldpm.model.contract import GOLDEN
from worldpm.model.doctor import examine
from worldpm.model.layouts import Scoring, in_layouts, score_layouts


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A checkpoint with a contract."""
    return small_model(tmp_path_factory.mktemp("layouts") / "own")


def score(comparisons):
    """Scores by the length of the conversation."""
    return [[float(sum(len(m.content) for m in c)) for c in x.conversations()] for x in comparisons]


def test_layouts_take_each_score_from_its_place():
    """With a scorer that ignores the batch, all layouts are identical: no score is mixed up."""
    _, alone, layouts = score_layouts(lambda threads: Scoring("x", "float32", True, score), GOLDEN)
    assert len(set(alone)) == len(alone)
    assert [layout.identical for layout in layouts] == [True] * 8
    more = [*GOLDEN, *GOLDEN[:5]]
    assert set(map(tuple, in_layouts(score, more).values())) == {(*alone, *alone[:5])}


CHANGED = {
    "batches of 2": lambda batch, threads: len(batch) == 2,
    "batches of 8": lambda batch, threads: len(batch) == 8 and batch[-1].id == "golden 7",
    "batches of 64": lambda batch, threads: len(batch) == 64,
    "reversed": lambda batch, threads: batch[0].id == "golden 7" and batch[-1].id == "golden 0",
    "with siblings": lambda batch, threads: len(batch[0].replies) == 3,
    "one thread": lambda batch, threads: threads == 1,
    "two threads": lambda batch, threads: threads == 2,
}


@pytest.mark.parametrize("layout", CHANGED)
def test_each_layout_would_notice(own, layout):
    """A scorer that is off in one layout only is caught there, and fails what promises bits."""

    def open_scoring(threads):
        def off(comparisons):
            wrong = 1e-6 if CHANGED[layout](comparisons, threads) else 0.0
            return [[value + wrong for value in values] for values in score(comparisons)]

        return Scoring("native x", "float32", True, off)

    found = examine(own, open_scoring)
    assert layout in [each.name for each in found.layouts if not each.identical]
    failed = "\n".join(
        f"{c.section} {c.name}: {c.found}" for c in found.checks if c.state == "fail"
    )
    assert f"({layout})" in failed or layout == "batches of 8"
    assert "scores bits" in failed
