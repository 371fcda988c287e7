"""forum, pairs, import, export: whole artefacts by command, nothing overwritten, nothing lost."""

import re

import orjson
import pytest
from dumps import SITE, SITE_DROPPED, write_7z

from worldpm.records import Comparison
from worldpm.rows import comparison_from_row, read_comparisons
from worldpm.store import ArtifactWriter


def test_dump_to_threads_to_pairs(worldpm, threads, tmp_path):
    """Each verb's --json is its manifest, and the numbers of one are the next one's."""
    made = worldpm("show", threads, "--json").json["manifest"]
    assert made["dropped"] == SITE_DROPPED
    result = worldpm("pairs", threads, "-o", tmp_path / "data", "-q", "--json")
    manifest = orjson.loads((tmp_path / "data" / "manifest.json").read_bytes())
    assert result.json == {"output": str(tmp_path / "data"), **manifest}
    assert result.err == ""
    kept, dropped = sum(manifest["counts"].values()), sum(manifest["dropped"].values())
    assert kept + dropped == sum(made["counts"].values())
    assert kept == 1


def test_report_for_people(worldpm, dump, tmp_path):
    """Without --json, stdout says what was made and where every other row went."""
    result = worldpm("forum", "stackexchange", dump, "-o", tmp_path / "t", "-q")
    assert f"{tmp_path / 't'}: 1 threads" in result.out
    for reason in (*SITE_DROPPED, "too_few_answers"):
        assert reason in result.out
    assert "14" in result.out.split("repeated_id")[1].split("total")[1]


def test_pairs_settings(worldpm, threads, tmp_path):
    """--max-replies, --held-out and --set arrive in the manifest."""
    out = tmp_path / "data"
    source = next(iter(worldpm("show", threads, "--json").json["manifest"]["counts"]))
    flags = ("--max-replies", "3", "--held-out", source, "--set", "min_margin=2")
    manifest = worldpm("pairs", threads, "-o", out, *flags, "-q", "--json").json
    assert manifest["settings"]["max_replies"] == 3
    assert manifest["settings"]["min_margin"] == 2
    assert manifest["settings"]["split"]["held_out_sources"] == [source]
    assert manifest["counts"] == {"test": 1}


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("max_reply=3", "unknown key 'max_reply'; did you mean 'max_replies'?"),
        ("split.test=2", "split.test: input should be less than or equal to 1"),
        ("seed", "write it as key.path=value"),
    ],
)
def test_wrong_settings(worldpm, threads, tmp_path, flag, message):
    """A wrong --set is named, with the nearest key, before anything is made."""
    result = worldpm("pairs", threads, "-o", tmp_path / "data", "--set", flag)
    assert (result.code, result.out) == (1, "")
    assert message in result.err
    assert not (tmp_path / "data").exists()


def test_dry_runs_write_nothing(worldpm, dump, threads, data, pair_rows, tmp_path, listing):
    """Each says what it would read and write, as text or as one object, and touches nothing."""
    new = tmp_path / "new"
    before = listing()
    commands = [
        ["forum", "stackexchange", dump, "-o", new],
        ["pairs", threads, "-o", new, "--max-replies", "5"],
        ["import", "pairs", pair_rows, "-o", new],
        ["export", data, "-o", new],
    ]
    for command in commands:
        text = worldpm(*command, "--dry-run")
        assert (text.code, text.err) == (0, "")
        assert f"would write  {new}" in text.out
        plan = worldpm(*command, "--dry-run", "--json").json
        assert (plan["dry_run"], plan["writes"]) == (True, str(new))
        assert plan["reads"] == [str(command[1 if command[0] in ("pairs", "export") else 2])]
    assert listing() == before


def test_dry_run_finds_what_the_run_would(worldpm, data, threads, pair_rows, tmp_path):
    """A dry run fails where the run would: input missing, output there already."""
    missing = worldpm("pairs", tmp_path / "none", "-o", tmp_path / "x", "--dry-run")
    there = worldpm("import", "pairs", pair_rows, "-o", data, "--dry-run")
    unknown = worldpm("import", "hh", pair_rows, "-o", tmp_path / "x", "--dry-run")
    inside = worldpm("import", "pairs", data, "-o", data / "x", "--dry-run")
    assert (missing.code, there.code, unknown.code, inside.code) == (1, 1, 1, 1)
    assert "'hh' is unknown; choose from" in unknown.err
    assert "lies inside" in inside.err
    assert "none: no such file or folder" in missing.err
    against = worldpm("pairs", threads, "-o", tmp_path / "x", "--against", tmp_path / "gone")
    assert against.err.startswith(f"error: --against {tmp_path / 'gone'}: no such folder; give")
    assert "exists already" in there.err


def test_outputs_are_not_overwritten(worldpm, data, pair_rows, listing):
    """Without --force an output stays as it is; with it, it is made anew."""
    before = listing()
    result = worldpm("import", "pairs", pair_rows, "-o", data)
    assert result.code == 1
    assert result.err == f"error: {data}: exists already; give another -o, or --force\n"
    assert listing() == before
    again = worldpm("import", "pairs", pair_rows, "-o", data, "--force", "-q", "--json")
    assert again.code == 0
    assert again.json["settings"]["test"] == 0.05


@pytest.mark.parametrize("case", ["foreign folder", "input", "parent of input", "dot"])
def test_force_does_no_harm(worldpm, pair_rows, threads, tmp_path, monkeypatch, listing, case):
    """--force replaces what worldpm made, never a folder of the user's or one with an input."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("years of work")
    if case == "foreign folder":
        command = ["import", "pairs", pair_rows, "-o", home]
    elif case == "dot":
        monkeypatch.chdir(home)
        command = ["import", "pairs", pair_rows, "-o", "."]
    else:
        target = threads if case == "input" else threads.parent
        (threads.parent / "manifest.json").write_text("{}")
        command = ["pairs", threads, "-o", target]
    before = listing()
    result = worldpm(*command, "--force")
    assert result.code == 1
    assert result.err.startswith("error: ")
    assert listing() == before


def test_failure_leaves_nothing(worldpm, tmp_path):
    """A damaged archive is named, and no part of an artefact is left."""
    broken = write_7z(tmp_path / "broken.7z", Posts=SITE * 3)
    broken.write_bytes(broken.read_bytes()[:200])
    result = worldpm("forum", "stackexchange", broken, "-o", tmp_path / "threads", "-q")
    assert result.code == 1
    assert f"error: {broken}: not a complete 7z archive" in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["broken.7z"]


def test_import_names_file_and_line(worldpm, pair_rows, tmp_path):
    """A row that is not of the form is an error with its place."""
    with pair_rows.open("ab") as file:
        file.write(b'\n{"prompt": "?", "chosen": 3, "rejected": "x"}\n')
    result = worldpm("import", "pairs", pair_rows, "-o", tmp_path / "x", "-q")
    assert result.code == 1
    assert result.err.startswith(f"error: {pair_rows}:41: chosen")


def test_import_unknown_set(worldpm, pair_rows, tmp_path):
    """The known sets are listed."""
    result = worldpm("import", "hh", pair_rows, "-o", tmp_path / "x")
    assert result.code == 1
    assert "'hh' is unknown" in result.err
    assert "hh-rlhf" in result.err


def test_export_own_rows_round_trip(worldpm, data, tmp_path):
    """A jsonl file a part, which reads back to the same comparisons."""
    result = worldpm("export", data, "-o", tmp_path / "out", "--json")
    assert result.json["rows"] == worldpm("show", data, "--json").json["manifest"]["counts"]
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == [
        "README.md",
        "test.jsonl",
        "train.jsonl",
        "validation.jsonl",
    ]
    files = files[1:]
    assert [c for file in files for c in read_comparisons(file)] == list(read_comparisons(data))


def test_export_trl_rows(worldpm, tmp_path):
    """One row an edge: prompt, chosen, rejected as messages; a difference, no margin of TRL's."""
    source = tmp_path / "own.jsonl"
    rows = [
        {"prompt": "p", "replies": ["a", "b", "c"], "better": [[2, 0], [1, 0]]},
        {"prompt": "q", "completions": ["x", "y"], "scores": [1, 4]},
        {
            "prompt": "w",
            "replies": ["a", "b"],
            "better": [{"winner": 0, "loser": 1, "weight": 0.5}],
        },
        {"prompt": "tie", "replies": ["a", "b"]},
    ]
    source.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    out = tmp_path / "trl.jsonl"
    result = worldpm("export", source, "--format", "trl", "-o", out, "--json")
    assert result.json["dropped"] == {"no_edge": 1}
    assert result.json["rows"] == {"own": 4}
    made = [orjson.loads(line) for line in out.read_bytes().splitlines()]
    assert made[0] == {
        "id": "1",
        "source": "own",
        "url": None,
        "prompt": [{"role": "user", "content": "p"}],
        "chosen": [{"role": "assistant", "content": "c"}],
        "rejected": [{"role": "assistant", "content": "a"}],
        "difference": None,
        "weight": 1.0,
    }
    assert [row["chosen"][0]["content"] for row in made] == ["c", "b", "y", "a"]
    assert made[2]["difference"] == 3.0
    assert not any("margin" in row for row in made)  # TRL would subtract it from the rewards
    back = [comparison.better[0] for comparison in read_comparisons(out)]
    assert [(edge.margin, edge.weight) for edge in back[1:]] == [(None, 1), (3.0, 1), (None, 0.5)]
    said = worldpm("export", source, "--format", "trl", "-o", out, "--force")
    assert "left out: 1 comparisons without an edge" in said.err


def test_an_export_of_ties_alone_says_that_it_is_empty(worldpm, tmp_path):
    """A part without an edge has no row for TRL: on screen, in JSON and in the data card."""
    data, out = tmp_path / "data", tmp_path / "out"
    with ArtifactWriter(data, Comparison, kind="comparisons", settings={}) as writer:
        for row_id in ("1", "2"):
            row = {"prompt": "p", "replies": ["a", "b"]}
            writer.add("train", comparison_from_row(row, where=row_id, default_id=row_id))
    said = worldpm("export", data, "--format", "trl", "-o", out)
    assert said.out == f"{out / 'train.jsonl'}: 0 rows\n"
    card = (out / "README.md").read_text()
    assert re.search(r"\| train *\| *2 *\| *0 *\|", card)
    again = worldpm("export", data, "--format", "trl", "-o", out, "--force", "--json").json
    assert (again["rows"], again["dropped"]) == ({"train": 0}, {"no_edge": 2})


def test_a_file_of_another_form_is_no_folders_name(worldpm, data, tmp_path):
    """rows.json is refused, where a folder of that name would be a surprise."""
    result = worldpm("export", data, "-o", tmp_path / "rows.json")
    assert (result.code, "give FILE.jsonl" in result.err) == (1, True)
    assert not (tmp_path / "rows.json").exists()


def test_the_wrong_kind_of_data_is_called_by_its_name(worldpm, threads, tmp_path):
    """Threads where comparisons are wanted, and the other way round."""
    assert "it holds threads, of which" in worldpm("export", threads, "-o", tmp_path / "x").err
    assert not (tmp_path / "x").exists()
    data = tmp_path / "data"
    manifest = worldpm("pairs", threads, "-o", data, "-q", "--json").json
    assert manifest["inputs"][0]["path"] == f"{threads.name}/manifest.json"
    assert "it holds comparisons, and" in worldpm("pairs", data, "-o", tmp_path / "x").err


def test_a_folder_of_archives_is_told_from_a_sites(worldpm, dump, tmp_path):
    """What people give first is the folder that they put the dumps into."""
    result = worldpm("forum", "stackexchange", dump.parent, "-o", tmp_path / "x")
    assert result.code == 1
    assert f"{dump.parent}: holds no Posts.xml; give sites' archives" in result.err


def test_parts_in_one_file_are_said_to_be(worldpm, tmp_path):
    """One file of several parts tells how many rows are whose, and that nothing divides them."""
    source, data, out = (tmp_path / name for name in ("own.jsonl", "data", "all.jsonl"))
    rows = [{"prompt": f"q{n}", "chosen": "a", "rejected": "b"} for n in range(40)]
    source.write_bytes(b"\n".join(map(orjson.dumps, rows)))
    flags = ("--set", "validation=0.3", "--set", "test=0.3")
    made = worldpm("import", "pairs", source, "-o", data, *flags, "-q", "--json").json
    said = worldpm("export", data, "-o", out)
    assert len(made["counts"]) == 3
    assert said.out.startswith(f"{out}: 40 rows, ")
    assert all(f"{part} {count}" in said.out for part, count in made["counts"].items())
    assert "a folder as -o keeps them apart" in said.err


def test_failed_export_leaves_nothing(worldpm, tmp_path):
    """An error on the way leaves no half file behind."""
    source = tmp_path / "own.jsonl"
    source.write_text('{"prompt": "p", "replies": ["a"]}\nnot json\n')
    result = worldpm("export", source, "-o", tmp_path / "out.jsonl")
    assert result.code == 1
    assert f"{source}:2: not valid JSON" in result.err
    assert [path.name for path in tmp_path.iterdir()] == ["own.jsonl"]
