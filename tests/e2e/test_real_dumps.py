"""Real Stack Exchange dumps and published sets, read whole and checked against a plain count.

The page beside the dumps speaks of 3,001 threads with two or more answers, 2,771 of them with
differing votes. The 15 archives hold 2,745 and 2,541: a count of the XML that shares no code with
the reader says the same, archive by archive, and not one row is left unexplained.
"""

import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from pathlib import Path

import py7zr
import pytest
from py7zr.io import BytesIOFactory

from worldpm.forum.build import build_threads
from worldpm.forum.forums import read_threads
from worldpm.forum.reading import ForumSettings
from worldpm.ledger import read_ledger
from worldpm.pairs.build import build_pairs
from worldpm.pairs.imports import ImportSettings, import_published
from worldpm.pairs.published import PUBLISHED
from worldpm.records import Comparison
from worldpm.store import read_artifact

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"
DUMPS = sorted((SHARED / "forum" / "stackexchange").glob("*.7z"))
SETS = SHARED / "preferences"
needs_dumps = pytest.mark.skipif(len(DUMPS) != 15, reason="the 15 real dumps are not here")


def needs(name):
    return pytest.mark.skipif(not (SETS / name).exists(), reason=f"{name} is not here")


@pytest.fixture(scope="module")
def threads(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real") / "threads"
    return folder, build_threads(DUMPS, folder, quiet=True)


def plain_count(path):
    """(rows, threads with two answers, those with differing votes) by another road."""
    factory = BytesIOFactory(1 << 30)
    with py7zr.SevenZipFile(path) as archive:
        archive.extract(targets=["Posts.xml"], factory=factory)
    rows = ET.fromstring(factory.products["Posts.xml"].read())
    questions = {row.get("Id") for row in rows if row.get("PostTypeId") == "1"}
    votes = defaultdict(list)
    for row in rows:
        if row.get("PostTypeId") == "2" and row.get("ParentId") in questions:
            votes[row.get("ParentId")].append(int(row.get("Score")))
    several = [scores for scores in votes.values() if len(scores) >= 2]
    return len(rows), len(several), sum(len(set(scores)) > 1 for scores in several)


@needs_dumps
def test_every_row_of_every_dump_is_accounted_for(threads):
    """Site by site: rows = posts + dropped, and the threads are those of a plain count."""
    folder, manifest = threads
    total = Counter()
    for path in DUMPS:
        rows, several, differing = plain_count(path)
        counts = manifest["sources"][path.stem]
        assert counts["posts"] + counts["dropped"] == rows, path.stem
        assert counts["with_two_answers"] == several, path.stem
        assert counts["with_differing_votes"] == differing, path.stem
        total.update(rows=rows, several=several, differing=differing)
    assert total == {"rows": 17_535, "several": 2745, "differing": 2541}
    assert manifest["dropped"] == {
        "too_few_answers": 4956,
        "tag_wiki": 463,
        "tag_wiki_excerpt": 463,
        "wiki_placeholder": 7,
    }
    assert manifest["numbers"] == {
        "threads": 2745,
        "posts": 11_646,
        "with_two_answers": 2745,
        "with_differing_votes": 2541,
        "dropped": 5889,
    }
    ledger = [lost for _, lost in read_ledger(folder)]
    assert len(set(ledger)) == len(ledger) == 4956


@needs_dumps
def test_real_bodies_become_clean_markdown():
    """No body is empty, LaTeX keeps its backslashes, code blocks are fenced in pairs."""
    fences = 0
    posts = Counter()
    for thread in read_threads("stackexchange", DUMPS, ForumSettings(min_answers=0)):
        posts.update(threads=1, posts=len(thread.posts))
        for post in thread.posts:
            assert post.text.strip()
            assert all(line == line.rstrip() for line in post.text.split("\n"))
            assert "<p>" not in post.text.split("`")[0]
            fences += post.text.count("```")
    assert fences % 2 == 0
    assert fences > 1500
    assert posts == {"threads": 5509, "posts": 16_602}


@needs_dumps
def test_every_real_thread_is_a_comparison_or_a_counted_drop(threads, tmp_path):
    """2,591 threads have differing scores once acceptance counts one more vote; 11 are copies."""
    folder, _ = threads
    manifest = build_pairs([folder], tmp_path / "data", quiet=True)
    assert sum(manifest["counts"].values()) == 2591 - 11
    assert manifest["dropped"] == {
        "all_scores_equal": 154,
        "near_duplicate": 11,
    }
    assert manifest["numbers"]["threads"] == 2745
    for comparison in read_artifact(tmp_path / "data", Comparison):
        assert 2 <= len(comparison.replies) <= 8
        assert comparison.better
        assert all(post["url"].startswith("https://") for post in comparison.meta["posts"])


COUNTS = {  # comparisons, edges, dropped
    "hh-rlhf": ("hh_rlhf", 8514, 8514, {"identical_replies": 36, "ends_with_the_user": 2}),
    "qa-feedback": ("qa_feedback", 488, 2616, {"all_tied": 12}),
    "ukpconvarg": ("ukpconvarg", 32, 11_650, {}),
    "oasst-zh": ("oasst_zh", 775, 1809, {}),
    "tldr": ("tldr", 2000, 2000, {}),
}


@pytest.mark.parametrize("name", COUNTS)
def test_published_sets_are_read_whole(name):
    """Each real set gives the number of comparisons and decided pairs that its page states."""
    folder, comparisons, edges, reasons = COUNTS[name]
    if not (SETS / folder).exists():
        pytest.skip(f"{folder} is not here")
    dropped = Counter()
    found = list(PUBLISHED[name](SETS / folder, lambda reason: dropped.update([reason])))
    assert len(found) == comparisons
    assert sum(len(comparison.better) for comparison in found) == edges
    assert dropped == reasons
    assert len({comparison.id for comparison in found}) == comparisons


@needs("hh_rlhf")
def test_the_held_out_half_of_hh_rlhf_shares_no_opening_with_training(tmp_path):
    """All of harmless-base and half of helpful-base are held out; every row is accounted for."""
    settings = ImportSettings(test=0, test_by_subset={"harmless-base": 1.0, "helpful-base": 0.5})
    manifest = import_published("hh-rlhf", SETS / "hh_rlhf", tmp_path / "hh", settings, quiet=True)
    counts = manifest["counts"]
    assert sum(counts.values()) + sum(manifest["dropped"].values()) == 8552
    assert manifest["subsets"]["harmless-base"] == {"test": 2312}
    assert manifest["subsets"]["helpful-base"] == {"test": 1209, "train": 1092, "validation": 51}
    openings = {
        part: {c.prompt[0].content for c in read_artifact(tmp_path / "hh", Comparison, part)}
        for part in counts
    }
    assert not openings["test"] & (openings["train"] | openings["validation"])
