"""Comparisons of the user's own may hold anything in `meta`: measured, or refused by name."""

import numpy as np
import pytest

from worldpm.errors import WorldPMError
from worldpm.evals.baselines import longer_characters
from worldpm.evals.bestofn import best_of_n, worth_of
from worldpm.evals.groups import class_of, groups_of
from worldpm.evals.metrics import right_replies
from worldpm.evals.run import evaluate
from worldpm.evals.summary import class_summary
from worldpm.records import Comparison, Edge, Message


def made(number: int, meta: dict, *, edges=((0, 1),), replies: int = 2, subset=None) -> Comparison:
    texts = tuple((Message("assistant", "a" * (k + 1)),) for k in range(replies))
    prompt = (Message("user", f"q{number}"),)
    better = tuple(Edge(*edge) for edge in edges)
    return Comparison(str(number), "mine", subset, prompt, texts, better, meta)


def kinds(*metas: dict) -> list[tuple[str, str, list[bool]]]:
    data = [made(number, meta) for number, meta in enumerate(metas)]
    return [(group.kind, group.name, group.keep.tolist()) for group in groups_of(data)]


@pytest.mark.parametrize(
    "style", ["formal", 3, {"0": 1, "1": 2}, [0], [0, "1"], [0, None], [[1], [2]], [0, 1, 2]]
)
def test_a_style_that_is_no_number_a_reply_makes_no_levels(style):
    """RM-Bench's levels come from its own kind of `style` only; any other is passed over."""
    assert kinds({"style": style}, {"style": [0, 1]}) == [("style", "hard", [False, True])]


@pytest.mark.parametrize("key", ["class", "section"])
@pytest.mark.parametrize("value", [5, None, ["a"], {"a": 1}, True, ""])
def test_a_class_or_section_that_is_no_text_is_none(key, value):
    """Only texts name a group; what is none neither stops the evaluation nor makes a group."""
    assert kinds({key: value}, {key: "math"}) == [(key, "math", [False, True])]
    found = evaluate(
        [made(0, {key: value}), made(1, {key: "math"})], longer_characters, suite="x", resamples=20
    )
    assert [line.kind for line in found.lines] == ["all", key]
    assert found.lines[1].outcome.num_comparisons == 1


def test_levels_are_easy_normal_hard_in_this_order():
    """Whatever order the rows have: the chosen has more style, as much, or less."""
    found = kinds({"style": [0, 2]}, {"style": [1, 1]}, {"style": [2, 1]})
    assert found == [
        ("style", "easy", [False, False, True]),
        ("style", "normal", [False, True, False]),
        ("style", "hard", [True, False, False]),
    ]


def test_levels_of_each_subset_keep_the_subsets_name():
    """`subset, level`, also where the subset's name has a comma of its own."""
    data = [
        made(0, {"style": [2, 1]}, subset="chat, long"),
        made(1, {"style": [1, 2]}, subset="chat, long"),
        made(2, {"style": [2, 1]}, subset="math"),
    ]
    names = [group.name for group in groups_of(data) if group.kind == "subset style"]
    assert names == ["chat, long, easy", "math, easy", "chat, long, hard"]


def test_one_group_alone_repeats_the_whole_and_is_left_out():
    """A kind makes groups from two on; a group and a rest without one are two."""
    assert kinds({"class": "a"}, {"class": "a"}) == []
    assert kinds({"class": "a"}, {}) == [("class", "a", [True, False])]
    assert groups_of([]) == []


@pytest.mark.parametrize("correct", ["yes", True, 1, [2], [-1], [0, "1"], [0.5], {"0": 1}, None])
def test_places_of_right_replies_that_are_none_are_refused_by_name(correct):
    """`meta["correct"]` decides what is right: what it cannot mean is an error with the id."""
    with pytest.raises(WorldPMError, match="comparison '7': meta correct must be a list of places"):
        right_replies(made(7, {"correct": correct}))


def test_right_replies_are_those_stated_else_those_never_beaten():
    """An empty list says that none is right, which is not the same as no list."""
    edges = ((0, 1), (2, 1))
    assert right_replies(made(1, {}, edges=edges, replies=3)) == {0, 2}
    assert right_replies(made(1, {"correct": [1]}, edges=edges, replies=3)) == {1}
    assert right_replies(made(1, {"correct": []}, edges=edges, replies=3)) == set()


@pytest.mark.parametrize(
    "quality", ["good", ["a", "b", "c"], [1, 2], [1, 2, float("nan")], [[1], [2], [3, 4]], {"a": 1}]
)
def test_a_quality_that_is_no_number_a_reply_is_refused_by_name(quality):
    """best_of_n names the comparison instead of failing inside numpy."""
    with pytest.raises(WorldPMError, match="comparison '4': meta quality must be one finite"):
        best_of_n([made(4, {"quality": quality}, replies=3)], [[1.0, 2.0, 3.0]])


def test_a_quality_of_numbers_is_the_worth():
    """Negative and fractional numbers too, for a comparison without any edge."""
    each = made(4, {"quality": [-1, 0.5, 2]}, edges=(), replies=3)
    assert np.array_equal(worth_of(each), [-1.0, 0.5, 2.0])
    curve = best_of_n([each], [[3.0, 2.0, 1.0]], resamples=20)
    assert [point.n for point in curve] == [1, 2, 3]
    assert curve[-1].worth == -1.0
    assert curve[-1].regret == 3.0


def summary_of(data: list[Comparison]) -> list[tuple[str, int]]:
    from dataclasses import asdict

    found = asdict(evaluate(data, longer_characters, suite="mine", resamples=20))
    return [
        (row["class"], row["num_comparisons"]) for row in class_summary([{**found, "model": "m"}])
    ]


def test_a_class_whose_rows_are_all_undecided_does_not_hide_the_other():
    """One class with edges is the whole; the class that has none takes no part."""
    data = [made(0, {"class": "safety"}), made(1, {"class": "objective"}, edges=())]
    assert summary_of(data) == [("safety", 1)]


def test_rows_without_a_class_are_not_counted_in_the_only_one():
    """Of three rows one is of a class: the class has one row, not three."""
    assert summary_of([made(0, {"class": "safety"}), made(1, {}), made(2, {})]) == [("safety", 1)]
    assert summary_of([made(0, {}), made(1, {})]) == []


def test_every_class_of_a_suite_is_in_the_summary():
    """Two classes are two lines, whose rows add up to those with an edge."""
    data = [made(n, {"class": "ab"[n % 2]}) for n in range(5)]
    assert summary_of(data) == [("a", 3), ("b", 2)]
    assert class_of(data[1]) == "b"
