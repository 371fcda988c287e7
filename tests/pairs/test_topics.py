"""Rare topics weigh more, and the mean over threads stays 1."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from worldpm.pairs.topics import TagCounts, TagWeights, TopicSettings
from worldpm.records import Post, Thread


def thread(*tags, source="s"):
    return Thread("1", source, "", tags, (Post("q", None, None, None, "", 0),), None, None)


def counted(threads):
    counts = TagCounts()
    for each in threads:
        counts.add(each)
    return counts


def test_rare_tags_weigh_more():
    """Power 1 makes two topics of 90 and 10 threads count the same; 0.5 is half the way."""
    threads = [thread("common")] * 90 + [thread("rare")] * 10
    even = TagWeights.of(counted(threads), TopicSettings(power=1, floor=1))
    assert 90 * even.weight(threads[0]) == pytest.approx(10 * even.weight(threads[-1]))
    half = TagWeights.of(counted(threads), TopicSettings(power=0.5, floor=1))
    assert half.weight(threads[-1]) / half.weight(threads[0]) == pytest.approx(3)


@given(
    st.lists(st.lists(st.sampled_from("abcdef"), max_size=4), min_size=1, max_size=40),
    st.floats(0.1, 1),
    st.integers(1, 12),
)
def test_the_mean_weight_is_one(tags, power, floor):
    """Over the threads that were counted, whatever their tags, also none."""
    threads = [thread(*each) for each in tags]
    weights = TagWeights.of(counted(threads), TopicSettings(power=power, floor=floor))
    total = sum(weights.weight(each) for each in threads)
    assert total == pytest.approx(len(threads), rel=1e-9)


def test_a_misspelt_tag_is_no_topic():
    """Below the floor all tags weigh alike: one thread does not stand for a whole topic."""
    threads = [thread("common")] * 100 + [thread("comon")] + [thread("small")] * 10
    weights = TagWeights.of(counted(threads), TopicSettings(power=1, floor=10))
    assert weights.weight(thread("comon")) == weights.weight(thread("small"))


def test_sites_keep_their_share():
    """A tag of one site is not that of another, and each site's threads weigh 1 in the mean."""
    threads = [thread("x", source="a")] * 50 + [thread("x", source="b")] * 2
    weights = TagWeights.of(counted(threads), TopicSettings(power=1, floor=1))
    assert weights.weight(threads[0]) == weights.weight(threads[-1]) == 1
    assert weights.weight(thread("x", source="c")) == 1


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=3), max_size=20), st.integers(1, 4))
def test_shards_add_up_in_any_order(tags, shards):
    """Counts merged backwards, or written down between, are those of one pass."""
    threads = [thread(*each, source="st"[len(each) % 2]) for each in tags]
    merged = TagCounts()
    for number in reversed(range(shards)):
        merged.merge(TagCounts.from_dict(counted(threads[number::shards]).as_dict()))
    assert merged.as_dict() == counted(threads).as_dict()


def test_settings_out_of_range_are_refused():
    """A power of nothing is None; one above 1 would make the rare the most common."""
    for bad in ({"power": 0}, {"power": 1.5}, {"floor": 0}):
        with pytest.raises(ValidationError):
            TopicSettings(**bad)
