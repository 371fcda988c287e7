"""`Scorer` as a library: ranking, the best of several, any number of rows, tables in a notebook."""

import math
import re

import pytest
from tiny import small_model

from worldpm.errors import DataError
from worldpm.records import Comparison, Message
from worldpm.score import CHUNK_COMPARISONS, load

REPLIES = ["alpha beta", "<b>no</b>", "a third one", ""]


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    return load(small_model(tmp_path_factory.mktemp("score") / "m"), dtype="float32")


def talk(i):
    replies = tuple((Message("assistant", "x" * (1 + (i + k) % 7)),) for k in range(2))
    return Comparison(f"c{i}", "test", None, (Message("user", f"q{i}"),), replies)


def test_rank_is_the_scores_in_order(scorer):
    """Scores stand in the given order, `order` has the best first, the chances sum to one, and a
    prompt may be text or messages."""
    ranking = scorer.rank("Why?", REPLIES)
    values = [score.value for score in ranking.scores]
    assert values == scorer.score([ranking.comparison])[0]
    assert len(set(values)) == len(REPLIES)
    assert ranking.order == sorted(range(len(REPLIES)), key=lambda i: -values[i])
    assert scorer.best_of("Why?", REPLIES) == ranking.order[0]
    assert sum(ranking.p_best) == pytest.approx(1)
    assert max(ranking.p_best) == ranking.p_best[ranking.order[0]]
    messages = (Message("user", "Why?"),)
    assert scorer.rank(messages, [(Message("assistant", r),) for r in REPLIES]).scores == (
        ranking.scores
    )


def test_best_of_equals_is_the_first(scorer):
    """The same reply twice: the earlier one."""
    best = scorer.best_of("Why?", REPLIES)
    assert scorer.best_of("Why?", [REPLIES[best], REPLIES[best]]) == 0


def test_a_ranking_shows_itself(scorer):
    """A table, best first, each with its score and lengths; what a reply holds is no markup."""
    ranking = scorer.rank("Why?", REPLIES)
    html = ranking._repr_html_()
    rows = re.findall(r"<tr><td>.*?</tr>", html)
    assert len(rows) == len(REPLIES)
    assert "&lt;b&gt;no&lt;/b&gt;" in html
    assert "<b>" not in html
    for row, index in zip(rows, ranking.order, strict=True):
        shown = float(re.search(r"<td>([+-][\d.]+)</td>", row)[1])
        assert shown == pytest.approx(ranking.scores[index].value, abs=1e-2)
        assert f"<td>{ranking.scores[index].num_tokens}</td>" in row


def test_a_trace_shows_itself(scorer):
    """Every token has its score at hand; markup in a text is shown as it was typed."""
    ((trace, other),) = scorer.iter_traces([
        Comparison("t", "test", None, (Message("user", "<i>"),), (
            (Message("assistant", "ab"),), (Message("assistant", "ac"),),
        )),
    ])  # fmt: skip
    html = trace._repr_html_()
    assert html.count("<span ") == len(trace.pieces) == trace.score.num_tokens
    assert f"title='{trace.values[-1]:+.4f}'" in html
    assert "<i>" not in html
    assert "<|im_start|>" not in html
    shared = trace.parts_from(other)
    assert trace.pieces[:shared] == other.pieces[:shared]
    assert trace.pieces[shared] != other.pieces[shared]
    assert trace.values[:shared] == pytest.approx(other.values[:shared], abs=1e-6)


def test_a_trace_is_in_the_letters_of_the_text(scorer):
    """Spaces and line ends are what they are; a character of several tokens shows as U+FFFD in
    each, and two such characters part where their bytes do."""
    replies = ((Message("assistant", "a b\n三"),), (Message("assistant", "a b\n上"),))
    asked = Comparison("t", "test", None, (Message("user", "Hi you"),), replies)
    ((trace, other),) = scorer.iter_traces([asked])
    text = "".join(trace.pieces)
    assert "user\nHi you<|im_end|>\n" in text
    assert "a b\n\ufffd" in text
    shared = trace.parts_from(other)
    assert trace.ids[:shared] == other.ids[:shared]
    assert trace.ids[shared] != other.ids[shared]
    assert trace.pieces[shared] == "\ufffd"
    assert len(trace.pieces) - shared == len(other.pieces) - shared > 2


def test_any_number_of_rows_in_bounded_memory(scorer):
    """An endless source is read two chunks ahead at most, and yields in order."""
    taken = 0

    def endless():
        nonlocal taken
        while True:
            taken += 1
            yield talk(taken)

    found = scorer.iter_scores(endless())
    for number in range(1, 2 * CHUNK_COMPARISONS + 2):
        scores = next(found)
        chunk = -(-number // CHUNK_COMPARISONS)
        assert taken == (chunk + 1) * CHUNK_COMPARISONS
        if number % 200 == 1:
            wanted = scorer.score([talk(number)])[0]
            assert [score.value for score in scores] == pytest.approx(wanted, abs=1e-5)
    found.close()


def test_nothing_to_score(scorer):
    """No rows, no scores; a prompt without replies is an error."""
    assert scorer.score([]) == []
    with pytest.raises(DataError):
        scorer.rank("Why?", [])


def test_scores_are_finite_numbers(scorer):
    """Every reply has one, whatever it holds."""
    strange = ["\x00", "\u202e", "🙂" * 20, " " * 50, "<|im_end|>" * 5]
    assert all(map(math.isfinite, scorer.score([scorer.rank("?", strange).comparison])[0]))
