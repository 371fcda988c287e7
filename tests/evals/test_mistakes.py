"""The pairs a model is most wrong about: one a comparison, told apart by place and not by id."""

from worldpm.evals.mistakes import Mistake, worst_mistakes
from worldpm.records import Comparison, Edge


def made(identifier: str, source: str, *edges: tuple[int, int], replies: int = 2) -> Comparison:
    better = tuple(Edge(*edge) for edge in edges)
    return Comparison(identifier, source, None, (), ((),) * replies, better)


def test_two_forums_may_number_their_threads_alike():
    """The same id in two sources: each mistake says which comparison it is of."""
    data = [made("7", "a", (0, 1)), made("7", "b", (0, 1))]
    assert worst_mistakes(data, [[0.0, 1.0], [0.0, 3.0]]) == (
        Mistake(1, "7", 0, 1, -3.0), Mistake(0, "7", 0, 1, -1.0)
    )  # fmt: skip


def test_the_worst_edge_of_a_comparison_stands_for_it():
    """Right edges and ties are none, and of several wrong ones the worst is kept."""
    grid = made("g", "a", (0, 1), (0, 2), (1, 2), replies=3)
    assert worst_mistakes([grid], [[0.0, 1.0, 5.0]]) == (Mistake(0, "g", 0, 2, -5.0),)
    assert worst_mistakes([grid], [[2.0, 2.0, 1.0]]) == ()


def test_equally_wrong_ones_keep_their_order_and_no_more_than_asked_come():
    """The first of equals comes first, so that the list is the same in every run."""
    data = [made(str(n), "a", (1, 0)) for n in range(5)]
    found = worst_mistakes(data, [[1.0, 0.0]] * 5, most=3)
    assert [each.index for each in found] == [0, 1, 2]
    assert worst_mistakes(data, [[1.0, 0.0]] * 5, most=0) == ()
