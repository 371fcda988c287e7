"""`worldpm forum`: each forum by its verb, planned, shared, resumed, and settings by --set."""

import pytest
from dumps import REDDIT, REDDIT_DROPPED, write_lines

from worldpm.making import partial_path

PLAIN = {
    "id": 1,
    "title": "Knots?",
    "answers": [{"text": f"{n}.", "votes": n} for n in (1, 2)] + [{"text": "", "votes": 1}],
}
QUORA = [{"question": "Why?", "answer": f"Because {n}.", "upvotes": n} for n in range(3)]
TOPIC = {
    "id": 5,
    "title": "How?",
    "post_stream": {
        "posts": [
            {"id": n, "post_number": n, "cooked": f"<p>{n}</p>", "actions_summary": []}
            for n in (1, 2, 3)
        ]
    },
}


@pytest.mark.parametrize(
    ("verb", "name", "rows", "threads", "dropped"),
    [
        ("plain", "f.jsonl", [PLAIN], 1, {"empty_body": 1}),
        ("quora", "q.jsonl.gz", QUORA, 1, {}),
        ("discourse", "d.jsonl.zst", [TOPIC], 1, {}),
        ("reddit", "RS_1.zst", REDDIT, 1, REDDIT_DROPPED[1] | {"too_few_answers": 2}),
    ],
)
def test_every_forum_has_a_verb(worldpm, tmp_path, verb, name, rows, threads, dropped):
    """Its rows become threads and counted drops; --json is the manifest."""
    dump = write_lines(tmp_path / name, *rows)
    made = worldpm("forum", verb, dump, "-o", tmp_path / "t", "-q", "--json").json
    assert sum(made["counts"].values()) == threads
    assert made["dropped"] == dropped
    assert made["settings"]["forum"] == verb


def test_settings_of_a_forum_are_its_own(worldpm, tmp_path):
    """--set reaches them, and an unknown one names the nearest."""
    dump = write_lines(tmp_path / "RS_1.zst", *REDDIT)
    sets = ("depth=3", "mask_contacts=true", "min_answers=0")
    flags = ("-q", "--json", *(flag for each in sets for flag in ("--set", each)))
    made = worldpm("forum", "reddit", dump, "-o", tmp_path / "t", *flags).json
    assert (made["settings"]["depth"], made["settings"]["mask_contacts"]) == (3, True)
    assert made["dropped"] == REDDIT_DROPPED[3]
    wrong = worldpm("forum", "reddit", dump, "-o", tmp_path / "u", "--set", "dept=3")
    assert wrong.code == 1
    assert "did you mean 'depth'" in wrong.err


def test_a_dry_run_plans(worldpm, tmp_path):
    """Time, disk, memory and workers, as text and as one object; nothing is written."""
    dump = write_lines(tmp_path / "f.jsonl", PLAIN)
    command = ("forum", "plain", dump, "-o", tmp_path / "t", "--dry-run", "--memory", "2GB")
    plan = worldpm(*command, "--json").json["plan"]
    assert plan["text_bytes"] == dump.stat().st_size
    assert (plan["shards"], plan["workers"]) == (1, 1)
    assert 0 < plan["memory_bytes"] <= 2_000_000_000
    text = worldpm(*command).out
    assert "expect" in text
    assert "of memory" in text
    assert list(tmp_path.iterdir()) == [dump]


def test_a_share_that_is_done_exits_as_resumable(worldpm, tmp_path):
    """75 and what to do next; the last call, without --shard, finishes."""
    dumps = [write_lines(tmp_path / f"{name}.jsonl", PLAIN) for name in "ab"]
    command = ("forum", "plain", *dumps, "-o", tmp_path / "t", "-q")
    first = worldpm(*command, "--shard", "1/2")
    assert first.code == 75
    assert "share 1 of 2 is done" in first.err
    assert partial_path(tmp_path / "t").exists()
    made = worldpm(*command, "--json").json
    assert made["counts"] == {"a": 1, "b": 1}
    assert worldpm(*command, "--shard", "3/2").code == 1


def test_an_output_inside_a_dump_is_refused(worldpm, tmp_path):
    """A folder of topics is read whole; of a folder of RS and RC files those are read alone."""
    folder = tmp_path / "topics"
    folder.mkdir()
    (tmp_path / "months").mkdir()
    write_lines(folder / "1.json", TOPIC)
    for more in (("--dry-run",), ()):
        refused = worldpm("forum", "discourse", folder, "-o", folder / "t", "-q", *more)
        assert refused.code == 1
        assert f"lies inside {folder}" in refused.err
    assert [path.name for path in folder.iterdir()] == ["1.json"]
    write_lines(tmp_path / "months" / "RS_1.zst", *REDDIT)
    made = worldpm("forum", "reddit", tmp_path / "months", "-o", tmp_path / "months" / "t", "-q")
    assert made.code == 0
