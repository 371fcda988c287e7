"""The choices of pairs in whole artefacts: a first pass where one is needed, all of it recorded."""

import pytest

from worldpm.pairs.build import build_pairs
from worldpm.pairs.exposure import ExposureSettings
from worldpm.pairs.modelfilter import FilterSettings
from worldpm.pairs.sample import PairSettings
from worldpm.pairs.survey import Findings
from worldpm.pairs.topics import TopicSettings
from worldpm.records import Comparison, Post, Thread
from worldpm.store import ArtifactWriter, read_artifact


@pytest.fixture
def threads(tmp_path):
    """200 threads of two topics in which whoever comes first has twice the votes."""
    with ArtifactWriter(tmp_path / "threads", Thread, kind="threads", settings={}) as out:
        for number in range(200):
            posts = [Post("q", None, None, "2020-01-01", "q", 0)]
            for n in range(3):
                text = "answer" * (1 + (number + n) % 3)
                votes = (8 if n == 0 else 4) + (n if number % 10 == 3 else 0)
                posts.append(Post(f"a{n}", "q", None, f"2020-01-01T00:0{n + 1}", text, votes))
            tags = ("rare",) if number % 10 == 0 else ("common",)
            out.add("s", Thread(str(number), "s", "", tags, tuple(posts), None, None))
    return tmp_path / "threads"


def build(threads, name, **settings):
    filter_with = settings.pop("filter_with", None)
    folder = threads.with_name(name)
    manifest = build_pairs(
        [threads], folder, PairSettings(**settings), filter_with=filter_with, quiet=True
    )
    numbers = manifest["numbers"]
    assert numbers["threads"] == sum(manifest["counts"].values()) + sum(
        manifest["dropped"].values()
    )
    comparisons = list(read_artifact(folder, Comparison))
    assert sum(len(c.better) for c in comparisons) == numbers.get("edges", 0)
    return manifest, {int(c.id): c for c in comparisons}


def test_the_first_pass_is_in_the_manifest(threads):
    """What was fitted can be read there, and nothing is where nothing was."""
    plain, _ = build(threads, "plain")
    assert "findings" not in plain
    manifest, _ = build(threads, "w", exposure=ExposureSettings(rule="weighted"))
    found = Findings.from_dict(manifest["findings"])
    assert found.topics is None
    assert found.exposure.by_rank[1] < -0.3
    assert manifest["settings"]["exposure"] == {"rule": "weighted", "prior_votes": 1, "most": 10}


def test_a_repeated_thread_counts_once_in_the_first_pass(threads, tmp_path):
    """Two dumps of one site have the findings of one."""
    settings = PairSettings(exposure=ExposureSettings(rule="corrected"))
    once = build_pairs([threads], tmp_path / "once", settings, quiet=True)
    twice = build_pairs([threads, threads], tmp_path / "twice", settings, quiet=True)
    assert once["findings"] == twice["findings"]


def test_raw_votes_say_first_is_best_and_corrected_ones_do_not(threads):
    """Among threads whose answers differ by nothing but their place, the first keeps no edge."""

    def first_wins(comparisons):
        edges = [e for n, c in comparisons.items() if n % 10 != 3 for e in c.better]
        return sum(edge.winner == 0 for edge in edges)

    _, raw = build(threads, "raw")
    _, corrected = build(threads, "c", exposure=ExposureSettings(rule="corrected"))
    assert first_wins(raw) == 2 * 180
    assert first_wins(corrected) == 0


def test_topics_weigh_in_the_artefact(threads):
    """Rare and common threads have their weights, with a mean of 1."""
    _, found = build(threads, "t", topics=TopicSettings(power=1))
    weights = [c.better[0].weight for c in found.values()]
    assert sum(weights) / len(weights) == pytest.approx(1)
    assert found[0].better[0].weight == pytest.approx(9 * found[1].better[0].weight)


def test_what_the_model_filters_is_counted(threads):
    """Edges by number, threads by reason, and the model and its bounds by name."""

    def longer(comparisons):
        return [[float(len(r[0].content)) for r in c.replies] for c in comparisons]

    before, every = build(threads, "before")
    manifest, kept = build(threads, "after", filter_with=("longer", longer))
    lost = manifest["numbers"]["edges_filtered_by_model"]
    assert 0 < lost == before["numbers"]["edges"] - manifest["numbers"]["edges"]
    assert manifest["filter_with"] == "longer"
    assert manifest["settings"]["filter"] == {"low": 0.0, "high": None}
    assert manifest["dropped"].get("filtered_by_model", 0) == len(every) - len(kept)
    for comparison in kept.values():
        lengths = [len(r[0].content) for r in comparison.replies]
        assert all(lengths[e.winner] > lengths[e.loser] for e in comparison.better)
    bounds = FilterSettings(low=100.0)
    nothing, none = build(threads, "none", filter_with=("longer", longer), filter=bounds)
    assert none == {}
    assert nothing["dropped"]["filtered_by_model"] == len(every)
