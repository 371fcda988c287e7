"""Importing published sets: splits that nothing straddles, and all rows accounted for."""

import orjson
import pytest

from worldpm.errors import ConfigError, DataError, OutputExistsError
from worldpm.pairs.imports import ImportSettings, import_published, opening
from worldpm.records import Comparison, Message
from worldpm.store import read_artifact


def write_pairs(path, rows):
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def pair(prompt, subset=None, chosen="a", rejected="b"):
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, "subset": subset}


def parts(folder, manifest):
    return {part: list(read_artifact(folder, Comparison, part)) for part in manifest["counts"]}


def test_the_same_opening_never_straddles_splits(tmp_path):
    """Repeated prompts, whatever their case, blanks and later turns, share one split."""
    rows = []
    for number in range(200):
        rows += [pair(f"Question {number}?"), pair(f"question  {number}? ")]
        turns = [f"Question {number}?", "Well", "And?"]
        roles = ["user", "assistant", "user"]
        messages = [{"role": r, "content": c} for r, c in zip(roles, turns, strict=True)]
        rows.append(pair(messages))
    src = write_pairs(tmp_path / "p.jsonl", rows)
    settings = ImportSettings(test=0.3, validation=0.2)
    manifest = import_published("pairs", src, tmp_path / "out", settings, quiet=True)
    openings = {
        part: {opening(comparison) for comparison in found}
        for part, found in parts(tmp_path / "out", manifest).items()
    }
    assert sum(map(len, openings.values())) == len(set.union(*openings.values())) == 200
    assert sum(manifest["counts"].values()) == 600
    assert set(openings) == {"train", "validation", "test"}


def test_subsets_have_their_own_test_fractions_and_openings_stay_held_out(tmp_path):
    """What one subset holds out is dropped from another's training, and counted."""
    rows = [pair(f"q{n}", "held") for n in range(50)]
    rows += [pair(f"q{n}", "free") for n in range(40, 100)]
    src = write_pairs(tmp_path / "p.jsonl", rows)
    settings = ImportSettings(test=0, validation=0.1, test_by_subset={"held": 1.0})
    manifest = import_published("pairs", src, tmp_path / "out", settings, quiet=True)
    assert manifest["dropped"] == {"opening_held_out": 10}
    assert manifest["subsets"]["held"] == {"test": 50}
    assert sum(manifest["subsets"]["free"].values()) == 50
    found = parts(tmp_path / "out", manifest)
    trained = {opening(c) for part in ("train", "validation") for c in found[part]}
    assert trained == {f"q{n}" for n in range(50, 100)}


def test_rows_read_are_comparisons_plus_dropped(tmp_path):
    """Identical replies hold no preference; edges between equal texts go, the rest stays."""
    rows = [
        pair("p", chosen="same", rejected="same"),
        {"prompt": "q", "replies": ["x", "x", "y"], "better": [[0, 1], [0, 2]]},
        {"prompt": "r", "replies": ["x"]},
    ]
    src = write_pairs(tmp_path / "p.jsonl", rows)
    manifest = import_published("pairs", src, tmp_path / "out", quiet=True)
    assert manifest["dropped"] == {"identical_replies": 1, "no_preference": 1}
    numbers = manifest["numbers"]
    assert (numbers["edges"], numbers["edges_between_identical_replies"]) == (1, 1)
    ((comparison,),) = parts(tmp_path / "out", manifest).values()
    assert [(edge.winner, edge.loser) for edge in comparison.better] == [(0, 2)]
    assert [entry["path"] for entry in manifest["inputs"]] == ["p.jsonl"]
    assert manifest["settings"]["set"] == "pairs"


def test_mistakes_are_named(tmp_path):
    """Unknown sets and subsets, bad rows and existing outputs; nothing is left behind."""
    src = write_pairs(tmp_path / "p.jsonl", [pair("p", "one")])
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match="unknown; choose from helpsteer2, hh-rlhf"):
        import_published("hh", src, out, quiet=True)
    wrong = ImportSettings(test_by_subset={"two": 1.0})
    with pytest.raises(ConfigError, match="pairs has no subset two; it has one"):
        import_published("pairs", src, out, wrong, quiet=True)
    bad = write_pairs(tmp_path / "bad.jsonl", [pair("p"), {}])
    with pytest.raises(DataError, match=r"bad\.jsonl:2"):
        import_published("pairs", bad, out, quiet=True)
    assert not out.exists()
    import_published("pairs", src, out, quiet=True)
    with pytest.raises(OutputExistsError):
        import_published("pairs", src, out, quiet=True)
    import_published("pairs", src, out, force=True, quiet=True)


def test_an_output_inside_the_set_is_refused(tmp_path):
    """What is written would be read: refused at any depth, by any name, and nothing is made."""
    src = tmp_path / "set"
    (src / "deep").mkdir(parents=True)
    talks = [f"\n\nHuman: {n}\n\nAssistant: " for n in range(5)]
    rows = [{"chosen": f"{talk}a", "rejected": f"{talk}b"} for talk in talks]
    write_pairs(src / "deep" / "train.jsonl", rows)
    (tmp_path / "link").symlink_to(src)
    for out in (src / "out", src / "deep" / "out", tmp_path / "link" / "out"):
        with pytest.raises(OutputExistsError, match="lies inside"):
            import_published("hh-rlhf", src, out, quiet=True)
    assert [path.name for path in src.rglob("*")] == ["deep", "train.jsonl"]
    beside = import_published("hh-rlhf", src, tmp_path / "set-out", quiet=True)
    assert sum(beside["counts"].values()) == 5
    one_file = src / "deep" / "train.jsonl"
    assert import_published("hh-rlhf", one_file, src / "out", quiet=True)["counts"]


def test_opening_is_the_first_thing_asked():
    """System text does not count, and a prompt without a question is its own opening."""
    system, ask = Message("system", "s"), Message("user", " A\n b ")
    reply = ((Message("assistant", "x"),),)
    assert opening(Comparison("1", "s", None, (system, ask), reply)) == "a b"
    assert opening(Comparison("1", "s", None, (system,), reply)) == "s"
    assert opening(Comparison("1", "s", None, (), reply)) == ""
