"""What is called sure has both its interval and its test: few prompts do not suffice."""

import pytest

from worldpm.evals.run import evaluate, to_json
from worldpm.records import Comparison, Edge, Message
from worldpm.report.model_card import failures
from worldpm.report.plots import _evaluation_title
from worldpm.report.sureness import sure_sign
from worldpm.report.tables import evaluation_table


def evaluation(count: int) -> dict:
    """Pairs whose shorter reply is the better one, judged by a model that knows that."""
    replies = ((Message("assistant", "a"),), (Message("assistant", "long"),))
    rows = [Comparison(str(n), "s", None, (), replies, (Edge(0, 1),)) for n in range(count)]
    return to_json(evaluate(rows, lambda each: [[1.0, 0.0] for _ in each], suite="s"))


@pytest.mark.parametrize(("count", "sure"), [(1, False), (5, False), (6, True), (20, True)])
def test_up_to_five_prompts_are_never_sure(count, sure):
    """Every bootstrap sample of them excludes 0; a coin does as much once in 16 times at least."""
    found = evaluation(count)
    gain = found["lines"][0]["over_length"]
    assert gain["interval"][0] > 0
    assert sure_sign(gain) == sure
    assert sure_sign({**gain, "interval": [-end for end in gain["interval"]]}) == -sure
    assert _evaluation_title(found["lines"]).endswith(f"on {sure:d} of 1 suites")
    assert any("not surely better" in each for each in failures([found])) != sure
    (cell, *_) = evaluation_table([found]).columns[5].cells
    assert any(span.style == "bold green" for span in cell.spans) == sure


def test_a_small_p_is_not_enough():
    """The interval must exclude 0 too."""
    assert sure_sign({"value": 0.1, "interval": [0.0, 0.2], "p_value": 0.01}) == 0
