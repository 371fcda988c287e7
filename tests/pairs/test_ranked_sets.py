"""Sets with several answers a prompt: each reader on a few rows in its authors' own form."""

import pytest
from published_sets import assistant, edges, read, texts, user, write

from worldpm.errors import DataError


def test_qa_feedback(tmp_path):
    """Four answers, an edge for each decided pair, passages under the question."""
    row = {
        "question": "Who?",
        "passages": [["Title", "Title\n\nOne. ", "Two."], ["Other", "Three."]],
        "preference": [1, 2, 0, 0, 0, 2],
        **{f"prediction {number}": f"p{number}" for number in range(1, 5)},
    }
    write(tmp_path / "dev_feedback.json", [row, row | {"preference": [0] * 6}])
    (comparison,), dropped = read("qa-feedback", tmp_path)
    assert edges(comparison) == [(0, 1, None), (2, 0, None), (3, 2, None)]
    assert texts(comparison) == ["p1", "p2", "p3", "p4"]
    (asked,) = comparison.prompt
    assert asked.content == (
        "Who?\n\nAnswer from these passages.\n\nTitle\n\nOne. Two.\n\nOther\n\nThree."
    )
    assert dropped == {"all_tied": 1}


def test_ukpconvarg(tmp_path):
    """One comparison a debate side: every argument once, every judged pair an edge."""
    lines = ["#id\tlabel\ta1\ta2", "x1_x2\ta1\tone\ttwo <br/> <br/>more", "x3_x1\ta2\tthree\tone"]
    (tmp_path / "is-tea-good-_yes-it-is-.csv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "empty_no.csv").write_text("#id\tlabel\ta1\ta2\n")
    (comparison,), dropped = read("ukpconvarg", tmp_path)
    assert comparison.prompt[0].content.startswith("Debate: Is tea good\nSide: Yes it is\n\n")
    assert texts(comparison) == ["one", "two\n\nmore", "three"]
    assert edges(comparison) == [(0, 1, None), (0, 2, None)]
    assert comparison.meta == {"replies": [{"id": "x1"}, {"id": "x2"}, {"id": "x3"}]}
    assert dropped == {"no_judged_pair": 1}


def test_oasst_zh(tmp_path):
    """Answers come best first: each beats all that follow; history is the turns before."""
    row = {
        "instruction": "\u8c22\u8c22",
        "input": "",
        "output": ["a", "b", "c"],
        "history": [["q", "r"]],
    }
    write(tmp_path / "rm.json", [row, row | {"output": ["a"]}])
    (comparison,), dropped = read("oasst-zh", tmp_path)
    assert comparison.prompt == (user("q"), assistant("r"), user("\u8c22\u8c22"))
    assert {pair[:2] for pair in edges(comparison)} == {(0, 1), (0, 2), (1, 2)}
    assert dropped == {"only_one_answer": 1}


def test_bad_debates_are_errors(tmp_path):
    """Cells and labels are checked line by line."""
    path = tmp_path / "a_b.csv"
    for line in ("x_y\ta3\tone\ttwo", "x_y\ta1\tone", "x\ta1\tone\ttwo"):
        path.write_text(f"#id\n{line}\n")
        with pytest.raises(DataError, match=r"a_b\.csv:2: not a row"):
            read("ukpconvarg", path)


def node(name, role, text, *replies, rank=None, lang="en", deleted=False):
    """A message of a tree as OpenAssistant publishes it."""
    return {
        "message_id": name,
        "text": text,
        "role": role,
        "lang": lang,
        "rank": rank,
        "deleted": deleted,
        "synthetic": False,
        "replies": list(replies),
    }


def tree(*replies):
    """A whole tree with an opening message."""
    root = node("m0", "prompter", "Hi?", *replies)
    return {"message_tree_id": "m0", "tree_state": "ready_for_export", "prompt": root}


def test_oasst(tmp_path):
    """A user's message with ranked answers is a comparison; rank 0 is best, wherever it stands."""
    later = node("m5", "prompter", "And?", node("m6", "assistant", "x"), lang="de")
    rows = [
        tree(
            node("m1", "assistant", "worst", rank=2),
            node("m2", "assistant", "best", later, rank=0),
            node("m3", "assistant", "middle", rank=1),
            node("m4", "assistant", "gone", rank=3, deleted=True),
        ),
        tree(),
        tree(node("m1", "assistant", "a"), node("m2", "assistant", "b")),
    ]
    write(tmp_path / "x_oasst_ready.trees.jsonl.gz", rows)
    write(tmp_path / "x_oasst_all.trees.jsonl.gz", rows)  # the same and more: not read twice
    write(tmp_path / "x_oasst_ready.messages.jsonl.gz", [{"message_id": "m0"}])
    (comparison,), dropped = read("oasst", tmp_path)
    assert texts(comparison) == ["worst", "best", "middle"]
    assert {pair[:2] for pair in edges(comparison)} == {(1, 0), (1, 2), (2, 0)}
    assert (comparison.id, comparison.subset, comparison.prompt) == ("m0", "en", (user("Hi?"),))
    assert comparison.meta["replies"][1] == {"id": "m2", "rank": 0}
    assert dropped == {"only_one_answer": 1, "no_answer": 1, "not_ranked": 1}


@pytest.mark.parametrize(
    "others", [(), ("x_oasst_all.trees.jsonl", "x_oasst_ready.messages.jsonl")]
)
def test_oasst_unpacked(tmp_path, others):
    """A folder whose files were unpacked gives each comparison once, and of the ready trees."""
    answers = [node(f"m{rank}", "assistant", f"No. {rank}", rank=rank) for rank in (1, 2)]
    write(tmp_path / "x_oasst_ready.trees.jsonl", [tree(*answers)])
    for name in others:
        write(tmp_path / name, [{"message_id": "m0"}])
    found, dropped = read("oasst", tmp_path)
    assert [each.id for each in found] == ["m0"]
    assert not dropped


def test_oasst_deeper_in_the_tree(tmp_path):
    """The whole thread above is the prompt; ranked user messages are no replies."""
    asked = node(
        "m2", "prompter", "And?",
        node("m3", "assistant", "b", rank=1), node("m4", "assistant", "a", rank=0), rank=0,
    )  # fmt: skip
    other = node("m5", "prompter", "So?", rank=1)
    write(tmp_path / "t.jsonl", [tree(node("m1", "assistant", "Yes?", asked, other, rank=0))])
    (comparison,), dropped = read("oasst", tmp_path / "t.jsonl")
    assert comparison.prompt == (user("Hi?"), assistant("Yes?"), user("And?"))
    assert (texts(comparison), edges(comparison)) == (["b", "a"], [(1, 0, 1.0)])
    assert dropped == {"only_one_answer": 1, "no_answer": 1}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"message_id": "m0", "text": "flat"}, "is this a file of trees"),
        (tree(node("m1", "system", "x")), "role must be prompter or assistant"),
        ({"message_tree_id": 1, "prompt": {}}, "message_tree_id must be text"),
        (
            tree() | {"prompt": {"role": "prompter", "text": "x", "replies": [3]}},
            "list of messages",
        ),
    ],
)
def test_other_trees_are_errors(tmp_path, row, message):
    """Flat messages and nodes of another shape are named with their row."""
    write(tmp_path / "t.jsonl", [row])
    with pytest.raises(DataError, match=rf"t\.jsonl:1: .*{message}"):
        read("oasst", tmp_path / "t.jsonl")
