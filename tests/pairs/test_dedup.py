"""Near duplicates: what is found, what is kept, and by which hash a cluster is split."""

import numpy as np
import pytest
from datasketch import MinHash, MinHashLSH

from worldpm.pairs.dedup import (
    Clusters,
    DedupSettings,
    Member,
    choose,
    keep_apart,
    least_agreement,
    split_key,
)
from worldpm.pairs.near import NearTask, join_near, num_ranges, read_pairs, write_signatures
from worldpm.pairs.signatures import fingerprints, signatures
from worldpm.records import Post, Thread

LEAST = least_agreement(0.8)


def planted(similarity, count, seed=0, size=120):
    """Pairs of sets of that Jaccard similarity."""
    random = np.random.default_rng(seed)
    shared = round(2 * size * similarity / (1 + similarity))
    pairs = []
    for _ in range(count):
        every = random.integers(0, 2**64, 2 * size - shared, dtype=np.uint64)
        pairs.append((every[:size], np.concatenate([every[:shared], every[size:]])))
    return pairs


def clusters_of(texts, folder, ranges=1, files=1):
    """The clusters of texts, by the real files and tasks."""
    names = []
    for number, part in enumerate(np.array_split(np.arange(len(texts)), files)):
        names.append(str(number))
        write_signatures(folder, "prompt", names[-1], signatures([texts[n] for n in part]))
    clusters = Clusters(len(texts))
    tasks = [NearTask(f"n{k}", "prompt", tuple(names), LEAST, k, ranges) for k in range(ranges)]
    for task in tasks:
        join_near(task, folder)
    for a, b in read_pairs(folder, [task.name for task in tasks]):
        clusters.join(a, b)
    return clusters


def found(similarity, folder, count=400):
    """The share of planted pairs that end in one cluster."""
    pairs = planted(similarity, count, seed=round(100 * similarity))
    clusters = clusters_of([text for pair in pairs for text in pair], folder)
    return sum(clusters.find(2 * n) == clusters.find(2 * n + 1) for n in range(count)) / count


def test_recall_and_precision_on_planted_pairs(tmp_path):
    """At a similarity of 0.8 over 95 % are found, at 0.6 under 1 %, unrelated texts never."""
    assert found(0.8, tmp_path / "a") >= 0.95
    assert found(0.9, tmp_path / "b") == 1
    assert found(0.6, tmp_path / "c") < 0.01
    assert found(0.0, tmp_path / "d") == 0


def test_estimates_are_those_of_the_oracle():
    """Agreeing shares are as near to the true similarity as datasketch's, over 100 pairs."""
    errors, theirs = [], []
    for similarity in (0.3, 0.6, 0.8, 0.95):
        for a, b in planted(similarity, 25, seed=5):
            ours = signatures([a, b])
            errors.append((ours[0] == ours[1]).mean() - similarity)
            hashes = [MinHash(num_perm=256, hashfunc=lambda value: value) for _ in "ab"]
            for minhash, values in zip(hashes, (a, b), strict=True):
                for value in values:
                    minhash.update(int(value) & 0xFFFFFFFF)
            theirs.append(hashes[0].jaccard(hashes[1]) - similarity)
    assert np.sqrt(np.mean(np.square(errors))) < 1.3 * np.sqrt(np.mean(np.square(theirs)))
    assert abs(np.mean(errors)) < 0.01


def test_the_oracle_finds_no_pair_that_is_missed(tmp_path):
    """Whatever datasketch's LSH links at 0.9 is one cluster of ours."""
    texts = [text for pair in planted(0.9, 60, seed=3) for text in pair]
    clusters = clusters_of(texts, tmp_path)
    lsh = MinHashLSH(threshold=0.8, num_perm=128)
    for number, text in enumerate(texts):
        minhash = MinHash(num_perm=128, hashfunc=lambda value: value)
        for value in text:
            minhash.update(int(value) & 0xFFFFFFFF)
        for other in lsh.query(minhash):
            assert clusters.find(other) == clusters.find(number)
        lsh.insert(number, minhash)


def test_files_and_ranges_change_no_cluster(tmp_path):
    """The same clusters of one file and of five, in one search and in three."""
    texts = [text for pair in planted(0.85, 40, seed=1) for text in pair] * 2
    texts += planted(0.0, 1)[0] * 40  # the same two over and over: more than all pairs
    one = clusters_of(texts, tmp_path / "one").several()
    assert one == clusters_of(texts, tmp_path / "many", ranges=3, files=5).several()
    assert max(map(len, one)) == 40
    assert len(one) == 42


def test_memory_bounds_the_ranges():
    """What is held at once is cut into ranges, never below what every task needs."""
    assert num_ranges(1000, 2_000_000_000) == 1
    assert num_ranges(15_000_000, 2_000_000_000) == 1
    assert num_ranges(100_000_000, 2_000_000_000) == 4
    assert num_ranges(100_000_000, 1) > 3000


def test_nothing_at_all_is_no_cluster(tmp_path):
    """No text, and files without rows."""
    assert clusters_of([], tmp_path, files=2).several() == []


def thread(name, question, *answers, source="s"):
    posts = [Post("q", None, None, None, question, 0)]
    posts += [Post(str(n), "q", None, None, text, n) for n, text in enumerate(answers)]
    return Thread(name, source, "A title", (), tuple(posts), None, None)


@pytest.mark.parametrize("near", [True, False])
def test_the_order_of_answers_is_no_difference(near):
    """Answers are a set; a word more is another text, and the prompt is by itself."""
    threads = [
        thread("1", "What is it?", "It is tea.", "It is coffee."),
        thread("2", "what is it", "It is coffee", "**It** is tea"),
        thread("3", "What is it?", "It is tea.", "It is cocoa."),
        thread("4", "What is it?", "It is tea. It is", "coffee."),
    ]
    one, turned, other, cut = fingerprints(threads, near=near)
    assert [fingerprints([each], near=near)[0].whole_hash for each in threads] == [
        each.whole_hash for each in (one, turned, other, cut)
    ]
    assert cut.whole_hash != one.whole_hash
    assert (one.prompt_hash, one.whole_hash) == (turned.prompt_hash, turned.whole_hash)
    assert one.prompt_hash == other.prompt_hash
    assert one.whole_hash != other.whole_hash
    assert set(one.prompt) < set(one.whole) if near else not len(one.whole)


def member(row, source="s", edges=1, text=7, question=None):
    return Member(row, source, f"i{row}", question or f"i{row}", edges, text)


def test_most_edges_are_kept_in_any_order():
    """The thread with most edges; each other is named with the twin that stays."""
    members = [member(0, edges=1), member(1, edges=5, text=8), member(2, edges=2, text=8)]
    for order in (members, members[::-1]):
        dropped = choose(order, DedupSettings())
        assert {row: (twin.reason, twin.key) for row, twin in dropped.items()} == {
            0: ("near_duplicate", "s:i1"),
            2: ("exact_duplicate", "s:i1"),
        }


def test_a_hash_decides_if_asked():
    """`keep = hash` does not look at edges, and draws the same one in any order."""
    members = [member(n, edges=n) for n in range(20)]
    kept = {19} - choose(members, DedupSettings()).keys()
    assert kept == {19}
    by_hash = [
        set(range(20)) - choose(order, DedupSettings(keep="hash")).keys()
        for order in (members, members[::-1])
    ]
    assert by_hash[0] == by_hash[1] == {10}  # a known draw, not the one with most edges


def test_threads_below_one_question_are_no_duplicates():
    """A reply's own thread repeats its question, and both stay."""
    members = [member(0, question="q"), member(1, question="q"), member(2)]
    dropped = choose(members, DedupSettings())
    assert dropped.keys() in ({2}, {0, 1})
    assert choose(members[:2], DedupSettings()) == {}


def test_a_twin_is_named_after_its_own():
    """Of several kept below a question the one with the same text, else the one with most edges."""
    kept = [member(n, question="q", edges=n, text=n) for n in (1, 2, 3)]
    others = [member(7, text=2, edges=1), member(8, text=9, edges=1)]
    for order in (kept + others, others[::-1] + kept[::-1]):
        dropped = choose(order, DedupSettings())
        assert {row: (twin.reason, twin.key) for row, twin in dropped.items()} == {
            7: ("exact_duplicate", "s:i2"),
            8: ("near_duplicate", "s:i3"),
        }
    same = [member(n, question="q", edges=n, text=5) for n in (1, 2)] + [member(9, text=5)]
    assert choose(same, DedupSettings())[9].key == "s:i2"


def test_a_held_out_source_goes_first():
    """The twin in a held-out site stays however few its edges; what is like it goes nowhere."""
    members = [member(0, edges=9), member(1, source="h", edges=1)]
    assert choose(members, DedupSettings(), ["h"]).keys() == {0}
    apart = keep_apart([*members, member(2)], ["h"])
    assert {row: (t.reason, t.key) for row, t in apart.items()} == {
        0: ("near_held_out", "h:i1"),
        2: ("near_held_out", "h:i1"),
    }
    assert keep_apart(members, ["x"]) == {}
    two = [member(3, source="h"), member(2, source="h"), member(4)]
    assert keep_apart(two, ["h"])[4].key == "h:i2"  # named after the first by key


def test_a_cluster_is_split_by_its_smallest_hash():
    """The same key in any order, and one of the cluster's own."""
    keys = [("s", str(n)) for n in range(10)]
    assert split_key(keys) == split_key(keys[::-1])
    assert split_key(keys) in keys
    assert split_key(keys[:1]) == keys[0]
    assert split_key(keys) == ("s", "8")  # known, and not the first by name


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_joins_make_the_same_clusters_in_any_order(order):
    """Union-find: roots are the least rows."""
    joins = [(4, 2), (2, 0), (5, 6), (6, 5)]
    clusters = Clusters(8)
    for number in order:
        clusters.join(*joins[number])
    clusters.join_equal(np.array([9, 8, 1, 9, 2, 3, 4, 5], np.uint64))
    assert clusters.several() == [[0, 2, 3, 4], [5, 6]]
