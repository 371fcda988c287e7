"""The precision gate: flips, losses and refusals on scores written by hand."""

import math

import pytest

from worldpm.errors import GateError, WorldPMError
from worldpm.evals.gate import compare_precision
from worldpm.records import Comparison, Edge, Message


def comparison(name, replies=2, edges=((0, 1),)):
    prompt = (Message("user", "?"),)
    own = tuple((Message("assistant", str(i)),) for i in range(replies))
    return Comparison(name, "test", None, prompt, own, tuple(Edge(*edge) for edge in edges))


def test_flips_by_hand():
    """A changed side and a tie made are flips; an exact tie was never decided."""
    rows = [comparison("kept"), comparison("changed"), comparison("tied"), comparison("undecided")]
    exact = [[1.0, 0.0], [0.2, 0.1], [0.1, 0.2], [0.5, 0.5]]
    cheap = [[0.1, 0.0], [0.1, 0.3], [0.2, 0.2], [0.5, 0.4]]
    report = compare_precision(rows, exact, cheap)
    assert (report.num_edges, report.num_decided) == (4, 3)
    assert [flip.id for flip in report.flips] == ["changed", "tied"]
    assert report.flips[0].exact == pytest.approx(0.1)
    assert report.flips[0].cheap == pytest.approx(-0.2)
    assert report.largest_difference == pytest.approx(0.9)
    assert report.flipped == pytest.approx(2 / 3)


def test_edges_of_many_replies_are_named():
    """With several edges in a comparison a flip names its own two replies."""
    rows = [comparison("first"), comparison("many", 3, ((2, 0), (2, 1), (0, 1)))]
    report = compare_precision(rows, [[1, 0], [1, 0, 2]], [[1, 0], [1, 1.5, 2]])
    (flip,) = report.flips
    assert (flip.id, flip.winner, flip.loser) == ("many", 0, 1)
    assert any("many: reply 0 over 1" in line for line in report.lines())


def test_loss_by_hand():
    """Losses are the mean Bradley-Terry losses, and the rise is their difference."""
    report = compare_precision([comparison("a")], [[1.0, 0.0]], [[0.5, 0.0]])
    assert report.exact_loss_nats == pytest.approx(math.log1p(math.exp(-1)))
    assert report.loss_rise_nats == pytest.approx(
        math.log1p(math.exp(-0.5)) - math.log1p(math.exp(-1))
    )


def test_gate_refuses_flips_and_loss_each():
    """One flip in 100 is refused, a loss that rises by 0.02 is, and neither passes quietly."""
    rows = [comparison(str(i)) for i in range(100)]
    exact = [[0.01, 0.0]] * 100
    compare_precision(rows, exact, exact).check()
    flipped = compare_precision(rows, exact, [[0.0, 0.01], *exact[1:]])
    assert not flipped.passed
    assert flipped.loss_rise_nats < 0.005
    with pytest.raises(GateError, match=r"1\.00% of decided edges"):
        flipped.check()
    wide = [[1.0, 0.0]] * 100
    dearer = compare_precision(rows, wide, [[0.9, 0.0]] * 100)
    assert dearer.flipped == 0.0
    with pytest.raises(GateError, match="nats"):
        dearer.check()


def test_long_reports_say_how_much_is_left_out():
    """Beyond the first flipped edges the report counts the rest."""
    rows = [comparison(str(i)) for i in range(30)]
    report = compare_precision(rows, [[1.0, 0.0]] * 30, [[0.0, 1.0]] * 30)
    assert report.lines()[-1].strip() == "and 10 more"
    assert len(report.lines()) == 3 + 20 + 1


def test_nothing_decided_is_an_error():
    """Without a decided edge there is nothing to judge by."""
    with pytest.raises(WorldPMError, match="no comparison has a known edge"):
        compare_precision([comparison("a", edges=())], [[1.0, 0.0]], [[1.0, 0.0]])
