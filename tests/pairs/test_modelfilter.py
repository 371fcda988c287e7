"""A model's margin keeps or drops edges."""

import pytest

from worldpm.pairs.modelfilter import COMPARISONS_AT_ONCE, FilterSettings, rm_filter
from worldpm.records import Comparison, Edge, Message


def comparison(number, lengths, edges):
    """Replies of known lengths, so that a model that likes length has known margins."""
    replies = tuple((Message("assistant", "x" * length),) for length in lengths)
    better = tuple(Edge(winner, loser) for winner, loser in edges)
    return Comparison(str(number), "s", None, (Message("user", "q"),), replies, better)


def longer(comparisons):
    return [[float(len(r[0].content)) for r in c.replies] for c in comparisons]


def run(comparisons, **bounds):
    kept = rm_filter(comparisons, longer, FilterSettings(**bounds))
    return {c.id: [(e.winner, e.loser) for e in c.better] for c in kept}


def test_edges_that_the_model_disagrees_with_are_dropped():
    """By default an edge stays where the model scores the winner higher; a tie goes."""
    edges = run(
        [
            comparison(1, (5, 3, 3), [(0, 1), (2, 0), (1, 2)]),
            comparison(2, (1, 4), [(0, 1)]),
            comparison(3, (4, 1), [(0, 1)]),
        ]
    )
    assert edges == {"1": [(0, 1)], "2": [], "3": [(0, 1)]}


@pytest.mark.parametrize(
    ("low", "high", "kept"),
    [(0, 2, {"2"}), (2, None, {"5"}), (None, 0, {"-3", "0"}), (None, None, {"-3", "0", "2", "5"})],
)
def test_buckets_share_the_margins_out(low, high, kept):
    """low < margin <= high: each margin is in one bucket, also of the model's disagreements."""
    pairs = [comparison(m, (10 + m, 10), [(0, 1)]) for m in (-3, 0, 2, 5)]
    assert {name for name, edges in run(pairs, low=low, high=high).items() if edges} == kept


def test_what_has_no_edges_passes():
    """There is nothing to filter in plain scoring, and replies stay whatever goes."""
    plain = comparison(1, (3, 2), [])
    mixed = comparison(2, (9, 1, 5), [(0, 1), (1, 2)])
    kept = list(rm_filter([plain, mixed], longer, FilterSettings()))
    assert kept[0] == plain
    assert len(kept[1].replies) == 3


def test_the_model_is_asked_in_chunks_and_in_order():
    """However many come, so many are held; nothing is lost at the seams."""
    sizes = []

    def counting(chunk):
        sizes.append(len(chunk))
        return longer(chunk)

    many = COMPARISONS_AT_ONCE + 7
    comparisons = (comparison(n, (2, 1), [(0, 1)]) for n in range(many))
    kept = [c.id for c in rm_filter(comparisons, counting, FilterSettings())]
    assert kept == [str(n) for n in range(many)]
    assert sizes == [COMPARISONS_AT_ONCE, 7]
