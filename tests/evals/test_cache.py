"""What was scored once is not scored again, whatever was killed in between."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldpm.errors import DataError
from worldpm.evals.cache import ScoreCache, cached, conversation_key
from worldpm.records import Comparison, Message, Score


def comparison(number: int, replies: int = 2) -> Comparison:
    prompt = (Message("user", f"q{number}"),)
    texts = tuple((Message("assistant", f"{number}.{k}"),) for k in range(replies))
    return Comparison(str(number), "test", None, prompt, texts)


DATA = [comparison(n, 2 + n % 2) for n in range(7)]


class Model:
    """Scores by number, keeps what it was asked, and dies before comparison `dies_at`."""

    def __init__(self, dies_at: int | None = None) -> None:
        self.asked: list[str] = []
        self.dies_at = dies_at

    def run(self, comparisons):
        for each in comparisons:
            if self.dies_at is not None and int(each.id) == self.dies_at:
                raise KeyboardInterrupt
            self.asked.append(each.id)
            yield tuple(
                Score(float(each.id) + k / 10, 5 + k, int(k == 1)) for k in range(len(each.replies))
            )


def all_scores(folder, model, data=DATA, digest="m"):
    with ScoreCache(folder, digest) as cache:
        return list(cached(cache, data, model.run))


def test_the_second_time_the_model_is_not_asked(tmp_path):
    """Same scores to the bit, tokens and cuts with them, from a cache read anew."""
    first, second = Model(), Model()
    scores = all_scores(tmp_path, first)
    assert scores == list(Model().run(DATA))
    assert all_scores(tmp_path, second) == scores
    assert (len(first.asked), second.asked) == (7, [])


def test_a_run_that_was_killed_goes_on(tmp_path):
    """Killed before the fifth comparison, the next run asks for the last three alone."""
    with pytest.raises(KeyboardInterrupt):
        all_scores(tmp_path, Model(dies_at=4))
    again = Model()
    assert all_scores(tmp_path, again) == list(Model().run(DATA))
    assert again.asked == ["4", "5", "6"]


@pytest.mark.parametrize("cut", range(2, 40, 6))
def test_a_line_cut_anywhere_is_scored_again(tmp_path, cut):
    """Bytes lost from the end of the file cost the comparison they were of, and no more."""
    all_scores(tmp_path, Model())
    path = tmp_path / "m.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    again = Model()
    assert all_scores(tmp_path, again) == list(Model().run(DATA))
    assert again.asked == ["6"]
    last = Model()
    all_scores(tmp_path, last)
    assert last.asked == []


def test_another_model_or_text_is_another_score(tmp_path):
    """Digests have files of their own; a changed reply or prompt is asked for."""
    all_scores(tmp_path, Model())
    other = Model()
    all_scores(tmp_path, other, digest="n")
    assert len(other.asked) == 7
    more = Model()
    all_scores(tmp_path, more, [*DATA, comparison(7)])
    assert more.asked == ["7"]


def test_equal_conversations_are_scored_once_however_they_are_compared(tmp_path):
    """A reply that stands in two comparisons of one prompt is one conversation."""
    a, b, c = ((Message("assistant", text),) for text in "abc")
    prompt = (Message("user", "?"),)
    first = [Comparison("1", "t", None, prompt, (a, b)), Comparison("2", "t", None, prompt, (b, c))]
    all_scores(tmp_path, Model(), first)
    model = Model()
    all_scores(tmp_path, model, [Comparison("3", "t", None, prompt, (c, a))])
    assert model.asked == []
    assert len((tmp_path / "m.jsonl").read_bytes().splitlines()) == 3


def test_damage_in_the_middle_costs_its_own_line(tmp_path):
    """Lines of another form are left where they are and scored again."""
    all_scores(tmp_path, Model())
    path = tmp_path / "m.jsonl"
    lines = path.read_bytes().splitlines(True)
    lines[0] = b'{"not": "a row"}\n'
    path.write_bytes(b"".join(lines))
    again = Model()
    all_scores(tmp_path, again)
    assert again.asked == ["0"]


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path):
    """The error says which, and the way round it."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="--no-cache"):
        all_scores(tmp_path / "file", Model())


@given(st.text(), st.text())
def test_borders_between_messages_count(first, second):
    """Two messages are not their joined text, nor the same words by another role."""
    two = (Message("user", first), Message("assistant", second))
    keys = {
        conversation_key(two),
        conversation_key((Message("user", first + second),)),
        conversation_key((Message("assistant", first), Message("user", second))),
    }
    assert len(keys) == 3
    assert conversation_key((Message("user", "\ud800"),)) != conversation_key(
        (Message("user", "?"),)
    )
