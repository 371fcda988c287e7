"""Comparisons -> examples: edges keep their meaning, and all that is left out is counted."""

from collections import Counter

import pytest
import torch
from tiny import tiny_tokenizer, toy_data

from worldpm.errors import DataError
from worldpm.records import Comparison, Edge, Message
from worldpm.store import ArtifactWriter
from worldpm.tokens.encode import Encoder
from worldpm.train.examples import join_edges, load_examples, make_examples
from worldpm.train.recipe import DataSettings


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return Encoder.from_folder(tiny_tokenizer(tmp_path_factory.mktemp("tokenizer")))


def comparison(*texts, better=((0, 1),), **fields):
    edges = tuple(e if isinstance(e, Edge) else Edge(*e) for e in better)
    replies = tuple((Message("assistant", text),) for text in texts)
    return Comparison("1", "toy", None, (Message("user", "Hi"),), replies, edges, **fields)


def examples_of(encoder, *comparisons, **settings):
    dropped = Counter()
    found = list(make_examples(comparisons, encoder, DataSettings(**settings), dropped))
    return found, dict(dropped)


def test_an_example(encoder):
    """The tree holds the encoded replies, and the edges point to them."""
    row = comparison("good", "bad one", "the cat", better=((2, 0), (2, 1)))
    (example,), dropped = examples_of(encoder, row)
    assert example.tree.paths() == encoder.encode_replies(row)
    assert (example.winners, example.losers) == ((2, 2), (0, 1))
    assert (example.edge_weights, example.pairs) == ((1.0, 1.0), 2.0)
    assert (example.source, dropped) == ("toy", {})


def test_edge_weights_multiply(encoder):
    """An edge's own weight multiplies its share; what the comparison counts stays."""
    row = comparison("a", "b", "c", better=(Edge(0, 1, weight=0.5), (0, 2), (1, 2)))
    (example,), _ = examples_of(encoder, row)
    assert example.edge_weights == pytest.approx((1 / 3, 2 / 3, 2 / 3))
    assert example.pairs == 2.0


def test_long_replies_are_left_out_and_counted(encoder):
    """A reply over max_tokens goes with its edges; the others are renumbered and keep theirs."""
    row = comparison("the cat " * 60, "good", "bad", better=((0, 1), (0, 2), (1, 2)))
    (example,), dropped = examples_of(encoder, row, max_tokens=60)
    assert (example.winners, example.losers) == ((0,), (1,))
    assert example.tree.paths() == encoder.encode_replies(row)[1:]
    assert dropped == {"reply_over_max_tokens": 1}


def test_conversations_too_long_to_encode_are_left_out(tmp_path):
    """One that the encoder refuses is a counted drop like any long reply, and stops no run."""
    encoder = Encoder.from_folder(tiny_tokenizer(tmp_path), max_chars=100)
    row = comparison("x" * 98, "good", "x" * 99, "bad", better=((0, 1), (1, 3), (2, 0)))
    (example,), dropped = examples_of(encoder, row, max_tokens=300)
    assert dropped == {"conversation_too_long": 1}  # 98 and the two of the prompt are the limit
    texts = [Message("assistant", text) for text in ("x" * 98, "good", "bad")]
    assert example.tree.paths() == [encoder.encode((Message("user", "Hi"), t)) for t in texts]
    assert (example.winners, example.losers) == ((0, 1), (1, 2))
    alone, dropped = examples_of(encoder, comparison("x" * 200, "y" * 200))
    assert (alone, dropped) == (
        [],
        {"conversation_too_long": 2, "no_edge_between_kept_replies": 1},
    )
    with pytest.raises(DataError, match="over the limit of 100"):
        encoder.encode_replies(row)


def test_what_cannot_be_encoded_names_the_comparison(encoder):
    """A lone surrogate among thousands of rows is found by source and id."""
    with pytest.raises(DataError, match=r"^toy 1: messages\[1\]\.content: lone surrogate"):
        examples_of(encoder, comparison("a", "\ud800"))


def test_a_limit_is_the_longest_that_stays(encoder):
    """A conversation of exactly max_tokens stays, one token more goes."""
    row = comparison("the cat saw red hills", "the cat saw red")
    longest = max(map(len, encoder.encode_replies(row)))
    assert examples_of(encoder, row, max_tokens=longest)[1] == {}
    _, dropped = examples_of(encoder, row, max_tokens=longest - 1)
    assert dropped == {"reply_over_max_tokens": 1, "no_edge_between_kept_replies": 1}


def test_comparisons_without_edges_and_large_trees(encoder):
    """Each other reason is counted under its own name."""
    plain = comparison("a", "b", better=())
    large = comparison(*(f"{n} the cat saw red hills" for n in range(9)))
    found, dropped = examples_of(encoder, plain, large, max_tree_tokens=40)
    assert found == []
    assert dropped == {"no_edge": 1, "tree_over_max_tree_tokens": 1}


def test_join_edges_numbers_the_replies_of_a_batch(encoder):
    """Edges of later examples count on from the replies before, edge or no edge."""
    first = comparison("a", "b", "c", better=((2, 0),))
    second = comparison("d", "e", better=((1, 0),))
    examples, _ = examples_of(encoder, first, second)
    edges = join_edges(examples)
    assert (edges.winners.tolist(), edges.losers.tolist()) == ([2, 4], [0, 3])
    assert edges.weights.tolist() == [1.0, 1.0]
    assert (edges.winners.dtype, edges.weights.dtype) == (torch.int64, torch.float32)


def test_load_examples(encoder, tmp_path):
    """Both parts of several folders are read; a folder without the part is counted."""
    one, two = toy_data(tmp_path / "one", 5, 2), tmp_path / "two"
    with ArtifactWriter(two, Comparison, kind="comparisons", settings={}) as writer:
        writer.add("train", comparison("good", "bad"))
    train, dropped = load_examples([one, two], "train", encoder, DataSettings())
    assert (len(train), dict(dropped)) == (6, {})
    assert [e.source for e in train] == ["a", "b", "a", "b", "a", "toy"]
    held, dropped = load_examples([one, two], "validation", encoder, DataSettings())
    assert (len(held), dict(dropped)) == (2, {"two_has_no_validation": 1})


def test_nothing_left(encoder, tmp_path):
    """Data of which nothing remains is an error that says where it went."""
    data = toy_data(tmp_path / "data", 4, 1)
    with pytest.raises(DataError, match=r"part 'train'.*4 no_edge_between_kept_replies"):
        load_examples([data], "train", encoder, DataSettings(max_tokens=16))
    with pytest.raises(DataError, match="1 data_has_no_test"):
        load_examples([data], "test", encoder, DataSettings())


def test_ratings(encoder):
    """By attribute, NaN for what is missing or no number; a rated comparison needs no edge."""
    ratings = [{"ratings": {"a": 1, "b": 2.5}}, {"ratings": {"b": "x"}}, {"model": "m"}]
    rows = [
        comparison("good", "bad", "cat", better=(), meta={"replies": ratings}),
        comparison("good", "bad", better=((0, 1),), meta={"replies": ratings[1:]}),
        comparison("good", "bad"),
    ]
    dropped = Counter()
    found = list(make_examples(rows, encoder, DataSettings(), dropped, ("b", "a")))
    assert dropped == {"no_rating_of_kept_replies": 2}
    (one,) = found
    assert one.ratings[0] == (2.5, 1.0)
    assert all(value != value for own in one.ratings[1:] for value in own)
    assert (one.winners, one.pairs) == ((), 1.0)
    plain, _ = examples_of(encoder, rows[1])
    assert plain[0].ratings == ()
    single = comparison("good", better=(), meta={"replies": ratings[:1]})
    (alone,) = make_examples([single], encoder, DataSettings(), dropped, ("a",))
    assert alone.pairs == 1.0
