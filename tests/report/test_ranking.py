"""The numbers and words of a ranking."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from worldpm.errors import WorldPMError
from worldpm.records import Comparison, Message
from worldpm.report.ranking import (
    best_probabilities,
    one_line,
    preview,
    prompt_label,
    ranked,
    score_digits,
    shorten,
)

FINITE = st.floats(-1e6, 1e6)


@given(st.lists(FINITE, min_size=1, max_size=6), FINITE)
def test_probabilities_sum_to_one_and_ignore_a_constant(values, constant):
    """softmax: positive order, sum 1, unmoved by adding the same to all."""
    chances = best_probabilities(values)
    assert math.fsum(chances) == pytest.approx(1.0)
    assert chances.index(max(chances)) in [
        i for i, v in enumerate(values) if v >= max(values) - 1e-9
    ]
    moved = best_probabilities([value + constant for value in values])
    assert moved == pytest.approx(chances, abs=1e-6)


def test_two_replies_have_bradley_terrys_probability():
    """With K = 2, P(best) is sigmoid of the difference."""
    a, _ = best_probabilities([0.6298332214355469, -1.6425328254699707])
    assert a == pytest.approx(1 / (1 + math.exp(-(0.6298332214355469 + 1.6425328254699707))))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_not_finite_are_not_ranked(bad):
    """An error, not a probability."""
    with pytest.raises(WorldPMError, match="not all finite"):
        best_probabilities([0.0, bad])


def test_equal_scores_keep_their_order():
    """Best first; a tie does not shuffle."""
    assert ranked([1.0, 3.0, 1.0, 3.0]) == [1, 3, 0, 2]


@pytest.mark.parametrize(
    ("values", "digits"),
    [([0.5, 0.25], 4), ([0.6298332, 0.6298331], 7), ([1.0, 1.0], 4), ([1.0, 1.0 + 1e-14], 9)],
)
def test_digits_tell_different_scores_apart(values, digits):
    """Four decimals, more where two scores would look the same, never more than nine."""
    assert score_digits(values) == digits


def test_a_terminal_is_told_nothing_by_a_reply():
    """Escapes, line breaks and marks that turn text round are gone; the words stay."""
    assert one_line("a\x1b[31m b\r\n\tc\u202egnp.\x00\x9b") == "a [31m b cgnp."
    assert preview(()) == "(empty)"
    assert preview((Message("assistant", " \n"),)) == "(empty)"


@given(st.text(alphabet=st.sampled_from("ab ,。睡眠🙂é")), st.integers(4, 30))
def test_shortened_text_fits_its_cells(text, cells):
    """Never wider than asked, an ellipsis where something was cut, else untouched."""
    short = shorten(text, cells)
    assert cell_len(short) <= cells
    assert short == text if cell_len(text) <= cells else short.endswith("…")


def test_a_forum_post_is_known_by_its_title():
    """`Title: ...` opens a post; otherwise the last user message names the prompt."""
    post = (Message("user", "Title: Why rise?\n\nMy dough does not."),)
    talk = (Message("user", "Hi"), Message("assistant", "Yes?"), Message("user", "How\nso?"))
    for prompt, label in ((post, "Why rise?"), (talk, "How so?"), ((), "(empty)")):
        assert prompt_label(Comparison("1", "test", None, prompt, ((),))) == label
