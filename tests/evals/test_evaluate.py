"""One pass of scoring gives every group its outcome, with the floors beside it."""

import json
import math

import orjson
import pytest

from worldpm.errors import WorldPMError
from worldpm.evals.baselines import LENGTH, chance, longer_characters
from worldpm.evals.run import DETAILED, STYLE_ONLY, evaluate, to_json
from worldpm.records import Comparison, Edge, Message


def grid(number: int, section: str) -> Comparison:
    """An RM-Bench prompt: replies 0-2 chosen, 3-5 rejected, of styles 0, 1, 2 and rising length."""
    replies = tuple((Message("assistant", "x" * (10 * style + 1)),) for style in (0, 1, 2)) * 2
    edges = tuple(Edge(i, j) for i in range(3) for j in range(3, 6))
    meta = {"style": [0, 1, 2, 0, 1, 2], "section": section, "class": "objective"}
    return Comparison(f"{number}", "test", section, (Message("user", "?"),), replies, edges, meta)


GRIDS = [grid(0, "chat"), grid(1, "chat"), grid(2, "code")]


def lines_of(evaluation, kind: str) -> dict:
    return {x.outcome.name: x for x in evaluation.lines if x.kind == kind}


def test_length_is_easy_where_the_chosen_is_longer_and_hopeless_where_it_is_shorter():
    """Longer-is-better: all of easy, half of normal (ties), none of hard; half of the whole."""
    evaluation = evaluate(GRIDS, longer_characters, suite="grid", resamples=50)
    accuracy = {n: x.outcome.accuracy for n, x in lines_of(evaluation, "style").items()}
    assert accuracy == {"easy": 1.0, "normal": 0.5, "hard": 0.0}
    assert list(accuracy) == ["easy", "normal", "hard"]
    assert evaluation.overall.outcome.accuracy == pytest.approx(0.5)
    assert evaluation.overall.over_length.value == 0.0
    assert evaluation.overall.over_length.p_value == 1.0
    assert set(lines_of(evaluation, "subset style")) >= {"chat, easy", "code, hard"}


def test_a_perfect_model_beats_length_by_one_half_in_every_section():
    """Sections are counted apart, and each carries its floors."""
    perfect = [[9.0, 9.0, 9.0, 0.0, 0.0, 0.0]] * 3
    evaluation = evaluate(GRIDS, lambda comparisons: perfect, suite="grid", resamples=50)
    sections = lines_of(evaluation, "section")
    assert {n: x.outcome.num_comparisons for n, x in sections.items()} == {"chat": 2, "code": 1}
    for line in sections.values():
        assert line.outcome.accuracy == 1.0
        assert line.floors[LENGTH].accuracy == pytest.approx(0.5)
        assert line.over_length.value == pytest.approx(0.5)
        assert line.outcome.best_of_n_accuracy == 1.0


def test_chance_is_one_half_and_ln_2_in_every_line():
    """Constant scores: every edge a tie, no line better or worse, best-of-n three in six."""
    for line in evaluate(GRIDS, chance, suite="grid", resamples=50).lines:
        assert line.outcome.accuracy == 0.5
        assert line.outcome.loss_nats == pytest.approx(math.log(2))
        assert line.outcome.best_of_n_accuracy == pytest.approx(0.5)
        assert line.outcome == line.floors["chance"]


def test_groups_of_one_kind_only_are_left_out_and_undecided_rows_counted():
    """One class repeats the whole, so it has no line; a row without edges is told, not lost."""
    undecided = Comparison("9", "test", "chat", (), ((), ()))
    evaluation = evaluate([*GRIDS, undecided], longer_characters, suite="grid", resamples=50)
    assert lines_of(evaluation, "class") == {}
    assert (evaluation.num_comparisons, evaluation.num_undecided) == (4, 1)
    assert evaluation.overall.outcome.num_comparisons == 3


def test_scores_are_asked_for_once():
    """However many groups there are, the model runs over the comparisons one time."""
    calls = []

    def counting(comparisons):
        calls.append(len(comparisons))
        return longer_characters(comparisons)

    evaluate(GRIDS, counting, suite="grid", resamples=20)
    assert calls == [3]


def test_weighting_is_recorded_and_used():
    """A prompt of one wrong edge against one of nine right: 1/2 by comparison, 9/10 by edge."""
    wrong = Comparison("9", "test", "chat", (), ((), ()), (Edge(1, 0),))
    data = [GRIDS[0], wrong]

    def score(comparisons):
        return [[1.0, 1.0, 1.0, 0.0, 0.0, 0.0], [1.0, 0.0]]

    found = {
        w: evaluate(data, score, suite="x", weighting=w, resamples=20).overall.outcome
        for w in ("comparison", "edge")
    }
    assert found["comparison"].accuracy == pytest.approx(0.5)
    assert found["edge"].accuracy == pytest.approx(0.9)
    assert found["edge"].weighting == "edge"


def test_a_model_that_scores_nan_gives_no_evaluation():
    """The error comes before any number."""
    with pytest.raises(WorldPMError, match="scored nan"):
        evaluate(GRIDS, lambda c: [[math.nan] * 6] * 3, suite="grid")


def test_style_only_is_a_floor_of_every_line_and_details_are_where_they_belong():
    """Each group has the held-out style floor; the large kinds have style reports and diagrams."""
    evaluation = evaluate(GRIDS, longer_characters, suite="grid", resamples=20, count_tokens=len)
    for line in evaluation.lines:
        assert STYLE_ONLY in line.floors
        assert line.floors[STYLE_ONLY].best_of_n_accuracy is None
        assert (line.style is None) == (line.kind not in DETAILED)
        assert (line.reliability == ()) == (line.kind not in DETAILED)
    assert evaluation.overall.style.features == ("length", "lists", "headers", "bold")
    assert evaluation.overall.style.chosen_longer_accuracy == 1.0


def test_a_models_own_unit_is_told_from_its_ranking():
    """Scores a thousand times too large: raw loss is terrible, held-out loss is fair."""
    pairs = [
        Comparison(str(n), "t", None, (), ((), ()), (Edge(n % 2, 1 - n % 2),)) for n in range(60)
    ]
    scores = [[1000.0 * (n % 2 == 0 or n % 3 == 0), 500.0] for n in range(60)]
    line = evaluate(pairs, lambda _: scores, suite="x", resamples=20).overall
    assert line.temperature.raw_loss_nats > 50
    assert 0 < line.temperature.factor < 0.02
    assert line.temperature.held_out_loss_nats < 0.7
    assert line.outcome.held_out_loss_nats == line.temperature.held_out_loss_nats


def test_best_of_n_and_mistakes_are_of_the_whole_suite():
    """Six replies give n = 1, 2, 4, 6; the mistakes name comparisons of the suite."""
    evaluation = evaluate(GRIDS, longer_characters, suite="grid", resamples=20)
    assert [point.n for point in evaluation.best_of_n] == [1, 2, 4, 6]
    assert {each.id for each in evaluation.mistakes} == {"0", "1", "2"}
    assert {each.difference for each in evaluation.mistakes} == {-20.0}


def test_json_is_plain_and_whole():
    """orjson writes it, json reads it back, and the overall accuracy is where reports look."""
    evaluation = evaluate(GRIDS, longer_characters, suite="grid", resamples=20)
    row = json.loads(orjson.dumps(to_json(evaluation)))
    assert row["format"] == "worldpm-evaluation/1"
    assert row["lines"][0]["outcome"]["accuracy"] == pytest.approx(0.5)
    assert set(row["lines"][0]["floors"]) >= {LENGTH, "chance"}
    assert (row["seed"], row["resamples"]) == (0, 20)
