"""Importing published sets: splits that nothing straddles, and all rows accounted for."""

from itertools import combinations

import orjson
import pytest

from worldpm.errors import ConfigError, DataError, OutputExistsError
from worldpm.pairs.imports import ImportSettings, import_published, opening, shuffled
from worldpm.pairs.published import PUBLISHED
from worldpm.records import Comparison, Edge, Message
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


def test_what_is_left_out_neither_holds_out_nor_counts(tmp_path):
    """A row of one text twice takes no opening from others; edges are of rows that stay."""
    rows = [pair("q1", "held", chosen="same", rejected="same"), pair("q1", "free")]
    rows += [pair("q2", "held"), pair("q3", "held")]
    three = {"prompt": "q2", "replies": ["x", "x", "y"], "better": [[0, 1], [0, 2]]}
    rows.append({**three, "subset": "free"})
    src = write_pairs(tmp_path / "p.jsonl", rows)
    settings = ImportSettings(test=0, validation=0, test_by_subset={"held": 1.0})
    manifest = import_published("pairs", src, tmp_path / "out", settings, quiet=True)
    assert manifest["dropped"] == {"identical_replies": 1, "opening_held_out": 1}
    assert manifest["subsets"] == {"held": {"test": 2}, "free": {"train": 1}}
    assert manifest["numbers"]["edges_between_identical_replies"] == 0


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
    ((edge,), replies) = comparison.better, [reply[0].content for reply in comparison.replies]
    assert sorted(replies) == ["x", "x", "y"]
    assert (replies[edge.winner], replies[edge.loser]) == ("x", "y")
    assert [entry["path"] for entry in manifest["inputs"]] == ["p.jsonl"]
    assert manifest["settings"]["set"] == "pairs"


def test_mistakes_are_named(tmp_path):
    """Unknown sets and subsets, bad rows and existing outputs; nothing is left behind."""
    src = write_pairs(tmp_path / "p.jsonl", [pair("p", "one")])
    out = tmp_path / "out"
    with pytest.raises(
        ConfigError, match="unknown; choose from helpsteer2, helpsteer2-preference, hh-rlhf"
    ):
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


def test_a_set_of_one_source_is_read_once(tmp_path, monkeypatch):
    """Where the hash of an opening alone decides, one pass makes the same splits as two would."""
    talks = [f"\n\nHuman: q{n % 40}\n\nAssistant: {n}" for n in range(120)]
    rows = [{"chosen": f"{talk}a", "rejected": f"{talk}b"} for talk in talks]
    for subset in ("one", "two"):
        (tmp_path / "hh" / subset).mkdir(parents=True)
        write_pairs(tmp_path / "hh" / subset / "train.jsonl", rows)
    passes = []

    def counted(path, drop):
        passes.append(path)
        yield from read(path, drop)

    read = PUBLISHED["hh-rlhf"]
    monkeypatch.setitem(PUBLISHED, "hh-rlhf", counted)
    once, manifest = imported("hh-rlhf", tmp_path / "hh", tmp_path / "once", test=0.3)
    assert len(passes) == 1
    assert set(manifest["subsets"]) == {"one", "two"}
    same = {"one": 0.3, "two": 0.3}
    twice, other = imported(
        "hh-rlhf", tmp_path / "hh", tmp_path / "twice", test=0.3, test_by_subset=same
    )
    assert len(passes) == 3
    assert (once, manifest["counts"]) == (twice, other["counts"])
    assert other["dropped"] == manifest["dropped"] == {}
    openings = {p: {opening(c) for c in cs} for p, cs in parts(tmp_path / "once", manifest).items()}
    assert not openings["test"] & (openings["train"] | openings["validation"])


def test_an_opening_of_two_sources_is_held_out_of_both(tmp_path):
    """Rows that name their own sources are drawn apart; what one of them holds out, none trains on.

    Nor does one validate on what another tests.
    """
    rows = [pair(f"q{n}") | {"source": source} for n in range(200) for source in ("x", "y")]
    src = write_pairs(tmp_path / "p.jsonl", rows)
    found, manifest = imported("pairs", src, tmp_path / "out", test=0.3, validation=0.3)
    split = parts(tmp_path / "out", manifest)
    openings = {part: {opening(each) for each in split[part]} for part in split}
    assert min(map(len, openings.values())) > 20
    for one, other in combinations(openings.values(), 2):
        assert not one & other
    assert manifest["dropped"]["opening_held_out"] > 20
    assert len(found) + manifest["dropped"]["opening_held_out"] == 400


def imported(name, src, out, **settings):
    """All comparisons of an import, in the order of their ids, and the manifest."""
    manifest = import_published(name, src, out, ImportSettings(**settings), quiet=True)
    found = [each for part in parts(out, manifest).values() for each in part]
    return sorted(found, key=lambda each: each.id), manifest


def beaten(comparison):
    """Texts of (winner, loser), whatever their places."""
    texts = [reply[0].content for reply in comparison.replies]
    return {(texts[edge.winner], texts[edge.loser]) for edge in comparison.better}


def test_the_place_of_a_reply_tells_nothing(tmp_path):
    """Rows that all put the chosen reply first become comparisons with it in either place."""
    src = write_pairs(tmp_path / "p.jsonl", [pair(f"q{n}", chosen=f"a{n}") for n in range(400)])
    found, _ = imported("pairs", src, tmp_path / "out")
    first = sum(comparison.better[0].winner == 0 for comparison in found)
    assert 160 < first < 240  # four standard deviations of a fair coin
    assert {(winner[0], loser) for c in found for winner, loser in beaten(c)} == {("a", "b")}
    again, _ = imported("pairs", src, tmp_path / "again")
    assert again == found
    kept, _ = imported("pairs", src, tmp_path / "kept", shuffle=False)
    assert all(comparison.better == (Edge(0, 1),) for comparison in kept)


def test_what_is_known_of_a_reply_moves_with_it():
    """Edges, margins, weights and the lists of meta keep to their replies at every order drawn."""
    texts = list("abcde")
    meta = {"replies": [{"is": text} for text in texts], "other": texts, "posts": ["too", "few"]}
    edges = tuple(
        Edge(i, j, margin=float(10 * i + j), weight=1.0 + i) for i, j in combinations(range(5), 2)
    )
    orders = set()
    for number in range(50):
        comparison = Comparison(
            str(number),
            "s",
            None,
            (),
            tuple((Message("assistant", t),) for t in texts),
            edges,
            meta,
        )
        moved = shuffled(comparison)
        now = [reply[0].content for reply in moved.replies]
        orders.add(tuple(now))
        assert [each["is"] for each in moved.meta["replies"]] == now
        assert (moved.meta["other"], moved.meta["posts"]) == (texts, ["too", "few"])
        known = {(now[e.winner], now[e.loser], e.margin, e.weight) for e in moved.better}
        assert known == {(texts[e.winner], texts[e.loser], e.margin, e.weight) for e in edges}
        assert list(moved.better) == sorted(moved.better, key=lambda e: (e.winner, e.loser))
    assert len(orders) > 30


def ultrafeedback(path, rows):
    """UltraFeedback's file of rows of scores; the text of reply i is its letter."""
    written = [
        {
            "source": "flan",
            "instruction": f"q{number}",
            "completions": [
                {"model": f"m{letter}", "response": letter, "overall_score": score}
                for letter, score in zip("abcd", scores, strict=True)
            ],
        }
        for number, scores in enumerate(rows)
    ]
    return write_pairs(path, written)


def test_ultrafeedback_as_the_paper_pairs_it(tmp_path):
    """Two pairs of four completions that share no reply; a tied pair is a counted drop."""
    src = ultrafeedback(tmp_path / "flan.jsonl", [(1, 2, 3, 4)] * 60 + [(1, 1, 1, 4)] * 60)
    found, manifest = imported("ultrafeedback", src, tmp_path / "out", disjoint_pairs=True)
    rows = {}
    for comparison in found:
        assert len(comparison.replies) == 2
        ((winner, loser),) = beaten(comparison)
        assert "abcd".index(winner) > "abcd".index(loser)
        models = [each["model"] for each in comparison.meta["replies"]]
        assert models == [f"m{reply[0].content}" for reply in comparison.replies]
        rows.setdefault(comparison.id.rpartition("/")[0], []).append({winner, loser})
    assert len(rows) == 120
    whole = [pairs for pairs in rows.values() if len(pairs) == 2]
    assert len(whole) == 60
    assert all(set.union(*pairs) == set("abcd") for pairs in whole)
    assert len({frozenset(map(frozenset, pairs)) for pairs in whole}) == 3  # every matching occurs
    assert manifest["dropped"] == {"tied_pair": 60}
    assert sum(manifest["counts"].values()) + 60 == 2 * 120


def test_ultrafeedback_as_one_comparison(tmp_path):
    """Without the setting, the four stay together with all their known edges."""
    src = ultrafeedback(tmp_path / "flan.jsonl", [(1, 2, 3, 4), (1, 1, 1, 4), (2, 2, 2, 2)])
    found, manifest = imported("ultrafeedback", src, tmp_path / "out")
    assert [len(comparison.replies) for comparison in found] == [4, 4]
    assert [len(comparison.better) for comparison in found] == [6, 3]
    assert beaten(found[1]) == {("d", "a"), ("d", "b"), ("d", "c")}
    assert manifest["dropped"] == {"all_scores_equal": 1}
    assert manifest["published"]["license"] == "MIT"


def test_another_rating_decides_where_the_set_has_it(tmp_path):
    """`rating` is checked against the set before a row is read, and recorded."""
    names = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
    rows = [
        {"prompt": "p", "response": text, **dict.fromkeys(names, 2), "verbosity": verbosity}
        for text, verbosity in (("a", 1), ("b", 3))
    ]
    src = write_pairs(tmp_path / "train.jsonl", rows)
    ((comparison,), manifest) = imported("helpsteer2", src, tmp_path / "out", rating="verbosity")
    assert beaten(comparison) == {("b", "a")}
    assert manifest["settings"]["rating"] == "verbosity"
    with pytest.raises(ConfigError, match="rating: helpsteer2 has no 'votes'; it has helpfulness,"):
        imported("helpsteer2", src, tmp_path / "no", rating="votes")
    with pytest.raises(ConfigError, match="rating: pairs has no 'votes'; it has none"):
        imported("pairs", src, tmp_path / "no", rating="votes")


def test_ties_are_kept_for_a_regression(tmp_path):
    """On request: rated equal, without an edge, the ratings at the places of their replies."""
    names = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
    rows = [
        {"prompt": "p", "response": text, **dict.fromkeys(names, 2), "verbosity": verbosity}
        for text, verbosity in (("a", 1), ("b", 3))
    ]
    src = write_pairs(tmp_path / "train.jsonl", rows)
    found, manifest = imported("helpsteer2", src, tmp_path / "without")
    assert (found, manifest["dropped"]) == ([], {"all_scores_equal": 1})
    ((comparison,), manifest) = imported("helpsteer2", src, tmp_path / "out", keep_ties=True)
    assert (comparison.better, manifest["dropped"]) == ((), {})
    rated = {
        reply[0].content: own["ratings"]["verbosity"]
        for reply, own in zip(comparison.replies, comparison.meta["replies"], strict=True)
    }
    assert rated == {"a": 1, "b": 3}
    with pytest.raises(ConfigError, match="keep_ties: pairs has no ratings"):
        imported("pairs", src, tmp_path / "no", keep_ties=True)
