"""Real threads through `pairs` against real benchmarks: few false alarms, few duplicates, all told.

All 15 Stack Exchange archives. Each flagged comparison was read by a person: none quotes a
benchmark, see docs/results.md, so each counts as a false alarm here.
"""

from pathlib import Path

import pytest

from worldpm.cli.pairing import read_benchmarks
from worldpm.forum.build import build_threads
from worldpm.ledger import read_ledger
from worldpm.pairs.build import Benchmarks, build_pairs
from worldpm.records import Comparison, Thread
from worldpm.store import read_artifact

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"
DUMPS = sorted((SHARED / "forum" / "stackexchange").glob("*.7z"))
EVALS = ("llmbar", "rewardbench", "rm_bench", "hhh", "evalbiasbench", "reward_math_prm")

pytestmark = pytest.mark.skipif(
    len(DUMPS) != 15 or not all((SHARED / "evals" / name).is_dir() for name in EVALS),
    reason="the 15 real dumps or the real benchmarks are not here",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Without RMB, whose 18,329 rows take most of the time: `make verify` has all of them."""
    at = tmp_path_factory.mktemp("real")
    evals = at / "evals"
    evals.mkdir()
    for name in EVALS:
        (evals / name).symlink_to((SHARED / "evals" / name).resolve())
    build_threads(DUMPS, at / "threads", quiet=True)
    against = Benchmarks(evals, read_benchmarks)
    return at, build_pairs([at / "threads"], at / "data", against=against, quiet=True)


def test_false_alarms_are_under_one_percent(made):
    """Of 2,591 real threads with a preference one is flagged, for a definition that all share."""
    _, manifest = made
    found = manifest["contamination"]
    assert found["rows"] == {
        "evalbiasbench": 80,
        "hhh": 221,
        "llmbar": 419,
        "reward-math-prm": 447,
        "rewardbench": 2000,
        "rm-bench": 798,
    }
    assert found["comparisons"] <= 0.01 * 2591
    assert found["comparisons"] == 1


def test_real_near_duplicates_are_one_text(made):
    """Eleven copies of a yearly announcement, and no other thread, are alike with their answers."""
    at, manifest = made
    titles = {(t.source, t.id): t.title for t in read_artifact(at / "threads", Thread)}
    twins = [row for _, row in read_ledger(at / "data") if row.reason == "near_duplicate"]
    assert len(twins) == manifest["dropped"]["near_duplicate"] == 11
    for row in twins:
        assert titles[row.source, row.id].startswith("Community Promotion Ads")
        assert titles[tuple(row.detail.split(":"))].startswith("Community Promotion Ads")


def test_threads_read_are_comparisons_and_rows_of_the_ledger(made):
    """2,745 threads, each in one place."""
    at, manifest = made
    kept = [(c.source, c.id) for c in read_artifact(at / "data", Comparison)]
    lost = [(row.source, row.id) for _, row in read_ledger(at / "data")]
    assert len(set(kept + lost)) == len(kept) + len(lost) == 2745
    assert manifest["counts"].keys() == {"train", "validation", "test"}
