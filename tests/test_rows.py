"""The community's row shapes: what each means, and what each error says."""

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worldpm.errors import DataError
from worldpm.records import Comparison, Edge, Message
from worldpm.rows import (
    comparison_from_row,
    cut_turns,
    edges_of,
    parse_turns,
    read_comparisons,
    set_name,
    split_shared,
)
from worldpm.schema import comparison_row
from worldpm.store import ArtifactWriter

ASK = Message("user", "Hi")
GOOD = Message("assistant", "Hello!")
BAD = Message("assistant", "No.")


def read(row, **more):
    return comparison_from_row(row, where="FILE:12", default_id="12", **more)


def messages(*turns):
    return [{"role": turn.role, "content": turn.content} for turn in turns]


PAIR = Comparison("12", "input", None, (ASK,), ((GOOD,), (BAD,)), (Edge(0, 1),))
SHAPES = {
    "pair of texts": {"prompt": "Hi", "chosen": "Hello!", "rejected": "No."},
    "pair of messages": {
        "prompt": messages(ASK),
        "chosen": messages(GOOD),
        "rejected": messages(BAD),
    },
    "text prompt, message sides": {
        "prompt": "Hi",
        "chosen": messages(GOOD),
        "rejected": messages(BAD),
    },
    "prompt repeated in the sides": {
        "prompt": "Hi",
        "chosen": messages(ASK, GOOD),
        "rejected": messages(ASK, BAD),
    },
    "implicit prompt": {"chosen": messages(ASK, GOOD), "rejected": messages(ASK, BAD)},
    "implicit prompt, text": {
        "chosen": "\n\nHuman: Hi\n\nAssistant: Hello!",
        "rejected": "\n\nHuman: Hi\n\nAssistant: No.",
    },
    "replies": {"prompt": "Hi", "replies": ["Hello!", messages(BAD)], "better": [[0, 1]]},
    "our own": {
        "prompt": messages(ASK),
        "replies": [messages(GOOD), messages(BAD)],
        "better": [{"winner": 0, "loser": 1, "margin": None, "weight": 1.0}],
    },
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_way_to_write_a_pair_gives_the_same_comparison(shape):
    """Text or messages, explicit or implicit prompt: one meaning."""
    assert read(SHAPES[shape]) == PAIR


SCORED = {
    "scores": {"prompt": "Hi", "completions": ["a", "b", "c"], "scores": [1, 3, 1]},
    "ranks": {"prompt": "Hi", "completions": ["a", "b", "c"], "ranks": [2, 0, 2]},
    "ultrafeedback": {
        "instruction": "Hi",
        "source": "flan",
        "completions": [
            {"model": "m", "response": text, "overall_score": score}
            for text, score in (("a", 4.0), ("b", 6.0), ("c", 4.0))
        ],
    },
}


@pytest.mark.parametrize("shape", SCORED)
def test_ranked_completions_make_an_edge_for_every_difference(shape):
    """Higher scores and lower ranks win, ties are absent edges, margins are the differences."""
    comparison = read(SCORED[shape])
    assert comparison.better == (Edge(1, 0, margin=2.0), Edge(1, 2, margin=2.0))
    assert [reply[0].content for reply in comparison.replies] == ["a", "b", "c"]
    assert comparison.prompt == (ASK,)


def test_messages_are_one_reply_to_score():
    """The last message is the reply, all before it the prompt; it may be empty."""
    row = {"id": 7, "messages": messages(Message("system", "s"), ASK, Message("assistant", ""))}
    comparison = read(row)
    assert comparison.id == "7"
    assert comparison.prompt == (Message("system", "s"), ASK)
    assert comparison.replies == ((Message("assistant", ""),),)
    assert comparison.better == ()


def test_margin_and_fields_of_ours_are_kept():
    """`margin`, `id`, `source`, `subset` and `meta` survive; null counts as absent."""
    row = SHAPES["pair of texts"] | {"margin": 2, "id": "x", "subset": "s", "meta": {"a": [1]}}
    comparison = read(row, source="set")
    assert comparison.better == (Edge(0, 1, margin=2.0),)
    assert (comparison.id, comparison.source, comparison.subset) == ("x", "set", "s")
    assert comparison.meta == {"a": [1]}
    assert read(SHAPES["pair of texts"] | {"margin": None, "id": None, "meta": None}) == PAIR


ERRORS = {
    r"must be a JSON object": ["a", "list"],
    r"has none of the keys messages, replies": {"text": "a"},
    r"messages\[1\]\.role: input should be 'system', 'user' or 'assistant'": {
        "messages": [*messages(ASK), {"role": "tool", "content": "x"}]
    },
    r"messages\[0\]\.content: input should be a valid string": {
        "messages": [{"role": "user", "content": 3}]
    },
    r"messages\[0\]\.content: (field required|missing)": {"messages": [{"role": "user"}]},
    r"messages: the last message must be the assistant's": {"messages": messages(ASK)},
    r"messages: must be text or a list": {"messages": 3},
    r"prompt: is missing": {"replies": ["a"]},
    r"needs at least one reply": {"prompt": "Hi", "replies": []},
    r"replies\[1\]: holds no message": {"prompt": "Hi", "replies": ["a", []]},
    r"replies\[1\]: must be text or a list": {"prompt": "Hi", "replies": ["a", None]},
    r"better\[0\]: must be two different numbers from 0 to 1": {
        "prompt": "Hi",
        "replies": ["a", "b"],
        "better": [[0, 2]],
    },
    r"better\[1\]: must be two different": {
        "prompt": "Hi",
        "replies": ["a", "b"],
        "better": [[0, 1], [1, 1]],
    },
    r"better\[0\]: must be two": {"prompt": "Hi", "replies": ["a", "b"], "better": [[-1, 0]]},
    r"rejected: is missing": {"prompt": "Hi", "chosen": "a"},
    r"chosen: holds no message": {"prompt": "Hi", "chosen": [], "rejected": "b"},
    r"has no prompt, and chosen is not a dialogue": {"chosen": "a", "rejected": "b"},
    r"rejected: the last message must be": {
        "chosen": messages(ASK, GOOD),
        "rejected": messages(ASK, GOOD, ASK),
    },
    r"has 2 completions and 1 scores": {"prompt": "Hi", "completions": ["a", "b"], "scores": [1]},
    r"ranks: is missing": {"prompt": "Hi", "completions": ["a", "b"]},
    r"scores\[1\]: input should be a finite number": {
        "prompt": "Hi",
        "completions": ["a", "b"],
        "scores": [1, float("nan")],
    },
    r"completions\[1\]\.overall_score": {
        "instruction": "Hi",
        "completions": [{"response": "a", "overall_score": 1}, {"response": "b"}],
    },
    r"prompt: holds a lone surrogate at character 0": {"prompt": "\ud800", "replies": ["a"]},
    r"replies\[0\]: holds a lone surrogate at character 0": {"prompt": "a", "replies": ["\udfff"]},
    r"messages\[0\]\.content: holds a lone surrogate at character 0": {
        "messages": [{"role": "assistant", "content": "\ud800"}]
    },
    r"id: holds a lone": {"id": "\ud800", "messages": messages(GOOD)},
    r"margin: ": SHAPES["pair of texts"] | {"margin": "wide"},
}


@pytest.mark.parametrize("message", ERRORS)
def test_errors_name_the_row_and_the_place(message):
    """Each begins with FILE:12 and says what is wrong where."""
    with pytest.raises(DataError, match=rf"^FILE:12: .*{message}"):
        read(ERRORS[message])


def test_pairs_part_at_their_last_shared_message():
    """The prompt is what both share, and never swallows a whole side."""
    a, b = Message("user", "more"), Message("assistant", "x")
    assert split_shared((ASK, GOOD, a, b), (ASK, GOOD, a, BAD)) == ((ASK, GOOD, a), (b,), (BAD,))
    assert split_shared((ASK, GOOD), (ASK, GOOD)) == ((ASK,), (GOOD,), (GOOD,))
    assert split_shared((ASK, GOOD), (ASK, GOOD, a, b)) == ((ASK,), (GOOD,), (GOOD, a, b))
    assert split_shared((GOOD,), (BAD,)) == ((), (GOOD,), (BAD,))


def test_turns_are_found_only_where_a_paragraph_begins():
    """`Human:` inside a line is text, and other strings hold no turns."""
    text = "\n\nHuman: Say Human: twice\nHuman: no\n\nAssistant:  ok \n\nHuman:"
    assert parse_turns(text) == (
        Message("user", "Say Human: twice\nHuman: no"),
        Message("assistant", "ok"),
        Message("user", ""),
    )
    assert parse_turns("Tell me. \n\nHuman: hi") == ()
    assert parse_turns("plain") == ()


@given(st.lists(st.integers(-5, 5), max_size=6), st.integers(0, 4))
def test_edges_are_all_differences_of_at_least_the_margin(scores, least):
    """Every ordered pair with a large enough difference is an edge, and nothing else is."""
    expected = {
        (i, j): a - b
        for i, a in enumerate(scores)
        for j, b in enumerate(scores)
        if a > b and a - b >= least
    }
    found = edges_of(scores, least)
    assert {(edge.winner, edge.loser): edge.margin for edge in found} == expected
    assert len(found) == len(expected)


_text = st.text(st.characters(codec="utf-8"), max_size=20)
_message = st.builds(Message, st.sampled_from(["system", "user", "assistant"]), _text)
_talk = st.lists(_message, min_size=1, max_size=3).map(tuple)


@given(_text, _talk, st.lists(_talk, min_size=2, max_size=4), st.floats(0.1, 9), st.none() | _text)
def test_our_own_form_round_trips(row_id, prompt, replies, margin, subset):
    """Record -> JSON -> record is the identity."""
    better = (Edge(1, 0, margin=margin, weight=2.0),)
    record = Comparison(row_id, "s", subset, prompt, tuple(replies), better, {"k": [1, None]})
    assert read(orjson.loads(orjson.dumps(comparison_row(record)))) == record


def test_files_of_every_kind_are_read(tmp_path):
    """JSON lines, gzip or not, anyone's Parquet, our Parquet and our folders give the same."""
    import gzip

    lines = b"\n".join(orjson.dumps(SHAPES[s]) for s in ("pair of texts", "our own"))
    (tmp_path / "a.jsonl").write_bytes(b"\n" + lines)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(lines))
    pq.write_table(pa.Table.from_pylist([SHAPES["pair of texts"]] * 2), tmp_path / "c.parquet")
    with ArtifactWriter(tmp_path / "d", Comparison, kind="comparisons", settings={}) as out:
        out.add("train", PAIR)
    read_from = {
        name: list(read_comparisons(tmp_path / name))
        for name in ("a.jsonl", "b.jsonl.gz", "c.parquet", "d", "d/train.parquet")
    }
    assert [[c.id for c in found] for found in read_from.values()] == [
        ["2", "3"],
        ["1", "2"],
        ["1", "2"],
        ["12"],
        ["12"],
    ]
    assert {c.source for c in read_from["a.jsonl"]} == {"a"}
    for found in read_from.values():
        assert {c.replies for c in found} == {PAIR.replies}


def test_a_bad_line_is_named(tmp_path):
    """The error begins with the file and the line's number, blank lines counted."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(orjson.dumps(SHAPES["replies"]) + b'\n\n{"messages": []}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:3: messages: the last message"):
        list(read_comparisons(path))
    path.write_bytes(b'{"prompt": "\\ud800", "replies": ["a"]}')
    with pytest.raises(DataError, match=r"a\.jsonl:1: not valid JSON"):
        list(read_comparisons(path))


@pytest.mark.parametrize("weight", [0, -1.0])
def test_an_edge_weighs_something(weight):
    """A weight that would turn a preference round is refused where it is read."""
    row = {"prompt": "Hi", "replies": ["a", "b"]}
    row["better"] = [{"winner": 0, "loser": 1, "weight": weight}]
    with pytest.raises(DataError, match=r"FILE:12: better\[0\]: weight must be over 0"):
        read(row)


@pytest.mark.parametrize(
    ("file", "name"),
    [("a.jsonl", "a"), ("b.c.jsonl.gz", "b.c"), ("ai.x.com.parquet", "ai.x.com"), ("d.json", "d"),
     ("ai.x.com", "ai.x.com"), (".jsonl", ".jsonl")],
)  # fmt: skip
def test_sets_are_called_by_their_files(tmp_path, file, name):
    """Endings of row files go, other dots stay; comparisons without a source are given the name."""
    path = tmp_path / file
    assert set_name(path) == name
    if file.endswith(("l", "m")):
        path.write_bytes(orjson.dumps({"prompt": "?", "replies": ["a"]}))
        assert [comparison.source for comparison in read_comparisons(path)] == [name]
    path = tmp_path / "folder" / "ai.x.jsonl"
    path.mkdir(parents=True)
    assert set_name(path) == "ai.x.jsonl"


def test_turns_are_cut_as_they_stand():
    """White space and what stands before stay; a mark inside a line is none."""
    text = "Note.\n\nHuman:  a\nHuman: b \n\nAssistant:c\n\nHuman:"
    turns = (Message("user", "  a\nHuman: b "), Message("assistant", "c"), Message("user", ""))
    assert cut_turns(text) == ("Note.", turns)
    assert parse_turns(text) == ()
    stripped = tuple(Message(turn.role, turn.content.strip()) for turn in turns)
    assert parse_turns(text.removeprefix("Note.")) == stripped
    assert cut_turns("none") == ("none", ())


def test_the_weight_of_a_pair():
    """A pair may weigh its edge, and an export's difference is its margin; a margin goes first."""
    row = {"prompt": "p", "chosen": "a", "rejected": "b", "difference": 3, "weight": 0.25}
    (edge,) = comparison_from_row(row, where="F:1", default_id="1").better
    assert (edge.margin, edge.weight) == (3, 0.25)
    (edge,) = comparison_from_row(row | {"margin": 2}, where="F:1", default_id="1").better
    assert edge.margin == 2
    for weight in (0, -1):
        with pytest.raises(DataError, match=r"^F:1: weight must be over 0"):
            comparison_from_row(row | {"weight": weight}, where="F:1", default_id="1")
