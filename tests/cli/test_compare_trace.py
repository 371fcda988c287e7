"""compare --trace: where two replies part, and what each token did to their scores."""

import re

import pytest

from worldpm.report.ranking import beats
from worldpm.score import load

REPLIES = ["yes, red", "yes, blue boats", "no"]


def command(model, *flags, replies=REPLIES):
    return ("compare", "--prompt", "Hi", *replies, "--model", model, "--engine", "torch", *flags)


def test_the_object_has_every_tokens_score(worldpm, model):
    """With --json the traces stand in the order of the replies, each ending in its score."""
    found = worldpm(*command(model, "--json", "--trace", "-q"))
    assert found.err == ""
    scores = {each["reply"]: each for each in found.json["ranking"]}
    assert len(found.json["traces"]) == 3
    for number, trace in enumerate(found.json["traces"]):
        assert trace["scores"][-1] == pytest.approx(scores[number]["score"], abs=1e-6)
        assert len(trace["pieces"]) == len(trace["scores"]) == scores[number]["num_tokens"]
        assert REPLIES[number] in "".join(trace["pieces"])
    assert "traces" not in worldpm(*command(model, "--json")).json


def test_the_table_begins_where_the_best_two_part(worldpm, model):
    """One row a token from the first that differs, the last scores as in the ranking."""
    ranked = worldpm(*command(model, "--json")).json["ranking"]
    first, second = ranked[:2]
    table = worldpm(*command(model, "--trace")).out.split("Score after each token")[1]
    lines = [line for line in table.splitlines() if re.search(r"[+-]\d\.\d{4}", line)]
    scorer = load(model, engine="torch")
    prompt = scorer.rank("Hi", REPLIES).comparison
    (traces,) = scorer.iter_traces([prompt])
    best, other = traces[first["reply"]], traces[second["reply"]]
    shared = best.parts_from(other)
    assert shared == other.parts_from(best) > 0
    assert best.pieces[:shared] == other.pieces[:shared]
    assert best.pieces[shared] != other.pieces[shared]
    assert len(lines) == max(len(best.pieces), len(other.pieces)) - shared
    for each in (first, second):
        assert f"{each['score']:+.4f}" in table


def test_equal_replies_part_nowhere(worldpm, model):
    """The same reply twice has nothing to show, and the chances are even."""
    found = worldpm(*command(model, "--trace", replies=["same", "same"]))
    assert found.code == 0
    assert "50.0%" in found.out
    table = found.out.split("Score after each token")[1]
    assert not re.search(r"[+-]\d", table)


@pytest.mark.parametrize("apart", [0.0, 0.3, -2.0, 40.0, 800.0, -800.0])
def test_chances_of_two_sum_to_one(apart):
    """P(a beats b) + P(b beats a) = 1, also where exp() would overflow."""
    assert beats(apart, 0.0) + beats(0.0, apart) == pytest.approx(1)
    assert (beats(apart, 0.0) > 0.5) == (apart > 0)


def test_quiet_keeps_the_model_to_itself(worldpm, model):
    """The remark of which model ranks goes to stderr, and with -q nowhere."""
    assert worldpm(*command(model)).err == f"model: {model.name}\n"
    assert worldpm(*command(model, "-q")).err == ""
