"""Records: frozen, and the few things they compute."""

import dataclasses

import pytest

from worldpm.records import Comparison, Edge, Message, Post, Score, Thread

QUESTION = Post("1", None, None, None, "q", 7)
ANSWER = Post("2", "1", None, None, "a", 3, accepted=True)
COMMENT = Post("3", "2", None, None, "c", 9)
THREAD = Thread("1", "s", "t", (), (QUESTION, ANSWER, COMMENT), None, None)


def test_score_is_votes_plus_one_if_accepted():
    """The paper's score; the raw votes stay."""
    assert (ANSWER.score, ANSWER.votes) == (4, 3)
    assert QUESTION.score == 7


def test_answers_reply_to_the_question_itself():
    """A reply to a reply is no answer."""
    assert THREAD.question is QUESTION
    assert THREAD.answers == (ANSWER,)


def test_a_chain_is_answered_where_it_ends():
    """With two prompt posts the answers are those of the second; the question stays the first."""
    chain = dataclasses.replace(THREAD, num_prompt_posts=2)
    assert (chain.question, chain.prompt) == (QUESTION, (QUESTION, ANSWER))
    assert chain.answers == (COMMENT,)
    assert THREAD.prompt == (QUESTION,)


def test_conversations_are_prompt_plus_reply():
    """K replies make K whole conversations, in order."""
    ask, yes, no = Message("user", "?"), Message("assistant", "y"), Message("assistant", "n")
    comparison = Comparison("1", "s", None, (ask,), ((yes,), (no, ask)))
    assert comparison.conversations() == ((ask, yes), (ask, no, ask))


@pytest.mark.parametrize("record", [QUESTION, THREAD, Message("user", ""), Edge(0, 1), Score(1, 2)])
def test_records_are_frozen_and_slotted(record):
    """No field can change and none can be added."""
    name = dataclasses.fields(record)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, name, "x")
    with pytest.raises((AttributeError, TypeError)):
        record.more = 1
