"""Probes edit what they say they edit, and count flips as worked by hand."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldpm.evals.baselines import longer_characters
from worldpm.evals.probes import PROBES, UNTOUCHED, Probe, probe_comparisons, probe_outcomes
from worldpm.records import Comparison, Edge, Message

TEXT = "The first part of it.\n\nThe second **part** has code: `x = 1`."


def pair(better: str, worse: str, identifier: str = "1") -> Comparison:
    replies = ((Message("assistant", worse),), (Message("assistant", better),))
    prompt = (Message("user", "?"),)
    return Comparison(identifier, "test", None, prompt, replies, (Edge(1, 0),))


@pytest.mark.parametrize("name", PROBES)
def test_every_probe_changes_plain_text_and_keeps_its_words(name):
    """The edited text differs, is the same each time, and still has every word of the reply."""
    new = PROBES[name].edit(TEXT)
    assert new != TEXT
    assert new == PROBES[name].edit(TEXT)
    words = re.findall(r"\w+", new.replace("\u200b", ""))
    position = 0
    for word in re.findall(r"\w+", TEXT):
        position = words.index(word, position) + 1


@given(st.text(max_size=80))
def test_probes_of_meaning_take_nothing_away(text):
    """Without spaces, marks and zero-width characters the text is what it was, code untouched."""

    def bare(s):
        return re.sub(r"[\s*#\u200b-]|## Answer", "", s.replace("## Answer", ""))

    for name, probe in PROBES.items():
        if probe.kind == "meaning":
            assert bare(probe.edit(text)) == bare(text), name


def test_code_is_not_dressed_up():
    """A fenced block would be broken by bullets, so such a reply is left as it is."""
    code = "Do:\n\n```\nx = 1\n\ny = 2\n```"
    assert PROBES["markdown"].edit(code) == code


def test_one_comparison_holds_the_pair_and_all_its_edits():
    """Winner, loser, then both for each probe, under one prompt and with no known edge."""
    undecided = Comparison("2", "t", None, (), ((), ()))
    (probed,) = probe_comparisons([pair("good", "bad"), undecided])
    texts = [reply[-1].content for reply in probed.replies]
    assert texts[:2] == ["good", "bad"]
    assert len(texts) == 2 + 2 * len(PROBES)
    opener = 2 + 2 * list(PROBES).index("opener")
    assert texts[opener : opener + 2] == ["Thought process:\n\ngood", "Thought process:\n\nbad"]
    assert probed.better == ()


A = {"a": Probe("hack", "an a in front", lambda text: f"a{text}")}


def test_flips_worked_by_hand():
    """Four pairs: lifted over, dropped below, neither, and one that is not decided."""
    probed = probe_comparisons([pair("x", "y", str(n)) for n in range(4)], A)
    scores = [
        [2.0, 1.0, 2.5, 3.0],  # the loser is lifted over: 3 > 2; the winner rises
        [1.0, 2.0, 1.5, 0.5],  # the model sees it the other way: its higher one drops below 1
        [2.0, 1.0, 2.0, 2.0],  # a tie is no flip
        [1.0, 1.0, 9.0, 9.0],  # undecided
    ]
    (found,) = probe_outcomes(probed, scores, A)
    assert (found.num_pairs, found.num_untouched) == (3, 0)
    assert (found.lifted, found.dropped) == pytest.approx((1 / 3, 1 / 3))
    assert found.shift == pytest.approx((1.25 - 0.5 + 0.5) / 3)
    assert found.raised == pytest.approx(4 / 6)
    assert found.plain_accuracy == pytest.approx(2 / 3)
    assert found.accuracy == pytest.approx((0 + 1 + 0.5) / 3)


def test_a_length_model_falls_for_padding_and_not_for_its_own_words():
    """Longer is better: padding the shorter reply lifts it whenever it is not far behind."""
    data = [pair("w" * 40, "w" * (30 - n), str(n)) for n in range(20)]
    probed = probe_comparisons(data)
    found = {each.name: each for each in probe_outcomes(probed, longer_characters(probed))}
    assert found["padding"].lifted == 1.0
    assert found["padding"].dropped == 0.0
    assert found["padding"].shift > 200
    assert found["padding"].accuracy == 0.0
    assert found["padding"].plain_accuracy == 1.0
    low, high = found["padding"].lifted_interval
    assert 0.8 < low < high == 1.0


def test_what_an_edit_does_not_change_is_counted_apart():
    """One word has no space for a zero-width one: untouched, and no outcome if all are."""
    data = [pair("one two", "three four", "1"), pair("one", "two", "2")]
    probed = probe_comparisons(data)
    assert "zero width" in probed[1].meta[UNTOUCHED]
    found = {each.name: each for each in probe_outcomes(probed, longer_characters(probed))}
    assert "zero width" in found
    assert found["padding"].num_pairs == 1  # "one" and "two" are of one length: undecided
    alone = probe_comparisons([pair("one", "three", "2")])
    assert "zero width" not in {
        each.name for each in probe_outcomes(alone, longer_characters(alone))
    }


def test_a_model_that_decides_nothing_cannot_flip():
    """Constant scores have no outcome, which is not a perfect record; nor has no pair at all."""
    probed = probe_comparisons([pair("a", "b")], A)
    assert probe_outcomes(probed, [[0.0] * 4], A) == ()
    assert probe_outcomes(probed, [[0.0, 0.0, 5.0, -5.0]], A) == ()
    assert probe_outcomes([], [], A) == ()
