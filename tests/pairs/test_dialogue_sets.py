"""Sets of pairs: each reader on a few rows in its authors' own form."""

import pytest
from published_sets import assistant, edges, read, texts, user, write

from worldpm.errors import DataError
from worldpm.records import Edge


def test_hh_rlhf(tmp_path):
    """Dialogues are cut where they part; the folder is the subset; no choice is a drop."""
    start = "\n\nHuman: Hi\n\nAssistant: Yes?"
    rows = [
        {
            "chosen": f"{start}\n\nHuman: Go\n\nAssistant: a",
            "rejected": f"{start}\n\nHuman: Go\n\nAssistant: b",
        },
        {
            "chosen": f"{start}\n\nHuman: Go\n\nAssistant: a",
            "rejected": f"{start}\n\nHuman: No\n\nAssistant: b",
        },
        {"chosen": start, "rejected": start},
        {"chosen": f"{start}\n\nHuman: Go", "rejected": start},
    ]
    write(tmp_path / "helpful-base" / "test.jsonl.gz", rows)
    write(tmp_path / "harmless-base" / "train.jsonl.gz", rows[:1])
    found, dropped = read("hh-rlhf", tmp_path)
    assert [comparison.id for comparison in found] == [
        "harmless-base/train/1",
        "helpful-base/test/1",
        "helpful-base/test/2",
    ]
    assert {comparison.subset for comparison in found} == {"harmless-base", "helpful-base"}
    assert found[0].prompt == (user("Hi"), assistant("Yes?"), user("Go"))
    assert [texts(comparison) for comparison in found[1:]] == [["a", "b"], ["Go|a", "No|b"]]
    assert all(comparison.better == (Edge(0, 1),) for comparison in found)
    assert dropped == {"identical_replies": 1, "ends_with_the_user": 1}
    assert len(found) + sum(dropped.values()) == 5


def test_hh_rlhf_leaves_the_transcripts_of_red_teams(tmp_path):
    """The repository holds a folder of single transcripts too, which are no pairs."""
    talk = "\n\nHuman: Hi\n\nAssistant: "
    write(
        tmp_path / "helpful-base" / "a.jsonl.gz", [{"chosen": f"{talk}a", "rejected": f"{talk}b"}]
    )
    # One JSON list by the name of JSON lines, as it is published.
    write(tmp_path / "red-team-attempts" / "red.jsonl.gz", [[{"transcript": talk}]])
    found, dropped = read("hh-rlhf", tmp_path)
    assert (len(found), dropped) == (1, {})


def turns(*contents):
    """Messages of user and assistant in turn, as rows hold them."""
    roles = ("user", "assistant")
    return [{"content": text, "role": roles[i % 2]} for i, text in enumerate(contents)]


def test_rlhflow(tmp_path):
    """Whole dialogues as lists of messages, cut where they part; scores are kept, not margins."""
    rows = [
        {
            "chosen": turns("Hi", "Yes?", "Go", "a"),
            "rejected": turns("Hi", "Yes?", "Go", "b"),
            "chosen_score": 4.0,
            "rejected_score": 1.0,
        },
        {"chosen": turns("Q", "a"), "rejected": turns("Q", "b", "Why?", "c")},
        {"chosen": turns("Q", "same"), "rejected": turns("Q", "same")},
        {"chosen": turns("Q", "a", "more"), "rejected": turns("Q", "b")},
    ]
    write(tmp_path / "data" / "train-00000-of-00001.parquet", rows)
    found, dropped = read("rlhflow", tmp_path)
    assert [texts(comparison) for comparison in found] == [["a", "b"], ["a", "b|Why?|c"]]
    assert found[0].prompt == (user("Hi"), assistant("Yes?"), user("Go"))
    assert found[0].meta == {"replies": [{"score": 4.0}, {"score": 1.0}]}
    assert found[1].meta == {}
    assert all(edges(comparison) == [(0, 1, None)] for comparison in found)
    assert found[1].id == "train-00000-of-00001/2"
    assert dropped == {"identical_replies": 1, "ends_with_the_user": 1}
    assert len(found) + sum(dropped.values()) == len(rows)


def test_skywork(tmp_path):
    """As RLHFlow's rows; where a pair comes from is its subset."""
    row = {"chosen": turns("Q", "a"), "rejected": turns("Q", "b"), "source": "magpie_pro"}
    write(tmp_path / "train-00000-of-00001.parquet", [row])
    ((comparison,), dropped) = read("skywork", tmp_path)
    assert (comparison.source, comparison.subset) == ("skywork", "magpie_pro")
    assert (comparison.prompt, texts(comparison)) == ((user("Q"),), ["a", "b"])
    assert dropped == {}


SHP = {
    "post_id": "p1",
    "domain": "askculinary_train",
    "upvote_ratio": 0.98,
    "history": "How do I boil an egg?",
    "c_root_id_A": "a1",
    "c_root_id_B": "b1",
    "created_at_utc_A": 200,
    "created_at_utc_B": 100,
    "score_A": 340,
    "score_B": 116,
    "human_ref_A": "In water.",
    "human_ref_B": "Slowly.",
    "labels": 1,
    "seconds_difference": 100.0,
    "score_ratio": 2.9,
}


@pytest.mark.parametrize("name", ["askculinary/train.json", "askculinary/train.jsonl"])
def test_shp(tmp_path, name):
    """The label, not the place, says which comment won; a label against the votes is a drop."""
    rows = [
        SHP,
        SHP | {"labels": 0, "score_A": 3, "score_B": 9, "c_root_id_A": "a2"},
        SHP | {"labels": 0},
        SHP | {"human_ref_B": "In water."},
    ]
    write(tmp_path / "lines.jsonl", rows)  # a row a line, whatever the ending
    (tmp_path / name).parent.mkdir()
    (tmp_path / "lines.jsonl").rename(tmp_path / name)
    (first, second), dropped = read("shp", tmp_path)
    assert (edges(first), edges(second)) == ([(0, 1, 224.0)], [(1, 0, 6.0)])
    assert texts(first) == texts(second) == ["In water.", "Slowly."]
    assert (first.id, second.id, first.subset) == ("p1/a1-b1", "p1/a2-b1", "askculinary")
    assert first.meta["replies"][0] == {"id": "a1", "votes": 340.0, "created": 200}
    assert dropped == {"label_against_votes": 1, "identical_replies": 1}
    assert len({first.id, second.id}) == 2


def test_tldr(tmp_path):
    """The label, not the place, says which summary won."""
    row = {"id": "x", "prompt": "Long.", "response_a": " s", "response_b": " t", "label": "A"}
    rows = [row, row | {"id": "y", "label": "B"}, row | {"response_b": " s"}]
    write(tmp_path / "t.jsonl", rows)
    (first, second), dropped = read("tldr", tmp_path)
    assert first.prompt == (user("Long.\n\nTL;DR:"),)
    assert texts(first) == texts(second) == ["s", "t"]
    assert (edges(first), edges(second)) == ([(0, 1, None)], [(1, 0, None)])
    assert dropped == {"identical_replies": 1}


def test_pairs(tmp_path):
    """Any row shape with a preference; rows without one are counted."""
    rows = [{"prompt": "p", "chosen": "a", "rejected": "b"}, {"prompt": "p", "replies": ["a"]}]
    write(tmp_path / "mine.jsonl", rows)
    (comparison,), dropped = read("pairs", tmp_path / "mine.jsonl")
    assert (comparison.source, edges(comparison)) == ("mine", [(0, 1, None)])
    assert dropped == {"no_preference": 1}


def test_pairs_of_any_origin(tmp_path):
    """A folder of TRL's rows in several forms: message lists, text, an implicit prompt."""
    write(tmp_path / "a.parquet", [{"chosen": turns("Q", "a"), "rejected": turns("Q", "b")}])
    write(tmp_path / "sub" / "b.jsonl.gz", [{"prompt": "Q", "chosen": "a", "rejected": "b"}])
    whole = {"prompt": turns("Q"), "chosen": turns("Q", "a"), "rejected": turns("Q", "b")}
    write(tmp_path / "c.json", [whole | {"margin": 2.5, "source": "own"}])
    found, dropped = read("pairs", tmp_path, source="mine")
    assert [comparison.id for comparison in found] == [
        "a.parquet/1",
        "c.json/1",
        "sub/b.jsonl.gz/1",
    ]
    assert [comparison.source for comparison in found] == ["mine", "own", "mine"]
    assert all(comparison.prompt == (user("Q"),) for comparison in found)
    assert all(texts(comparison) == ["a", "b"] for comparison in found)
    assert [edges(comparison)[0][2] for comparison in found] == [None, 2.5, None]
    assert dropped == {}


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("rlhflow", {"chosen": "text"}, "chosen must be a list of messages"),
        ("rlhflow", {"chosen": []}, "chosen must be a list of messages"),
        ("rlhflow", {"chosen": [{"role": "tool", "content": "x"}]}, r"chosen\[0\].role"),
        ("skywork", {"source": 3}, "source must be text, not int"),
        ("shp", {"labels": True}, "labels must be 1"),
        ("shp", {"labels": 2}, "labels must be 1"),
        ("shp", {"score_A": "9"}, "score_A must be a number"),
        ("shp", {"domain": None}, "domain must be text"),
    ],
)
def test_fields_of_another_kind_are_errors(tmp_path, name, row, message):
    """A field that is not what its authors publish is an error with the row, not a traceback."""
    whole = {**SHP, "chosen": turns("Q", "a"), "rejected": turns("Q", "b"), **row}
    write(tmp_path / "a.jsonl", [whole])
    with pytest.raises(DataError, match=f"a.jsonl:1: {message}"):
        read(name, tmp_path / "a.jsonl")
