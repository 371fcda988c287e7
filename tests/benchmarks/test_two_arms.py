"""Two arms on tiny models: every cell done once, stopped and gone on with, tabled and drawn."""

import csv
import random
import runpy
import sys

import orjson
import pytest
from tiny import tiny_base, toy_comparison, toy_data

from worldpm.errors import ConfigError
from worldpm.records import Comparison
from worldpm.store import ArtifactWriter, read_artifact

RECIPE = """
[model]
dtype = "float32"
frozen_layers = 1
[lora]
rank = 2
[data]
max_tokens = 200
batch_pairs = 8
[optim]
lr = 3e-3
[run]
validate_every_steps = 8
"""


@pytest.fixture
def command(tmp_path):
    """The arguments of a grid of two sizes and two seeds."""
    base = tiny_base(tmp_path / "base", layers=2)
    forum, human = (toy_data(tmp_path / name, 24, 4) for name in ("forum", "human"))
    rng = random.Random(5)
    with ArtifactWriter(tmp_path / "held", Comparison, kind="comparisons", settings={}) as writer:
        for number in range(30):
            writer.add("test", toy_comparison(number, rng))
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    return [
        "--forum", forum, "--human", human, "--held-out", f"toy={tmp_path / 'held'}:test",
        "--base", base, "--forum-recipe", recipe, "--human-recipe", recipe, "--quiet",
        "--least-steps", 2, "--pairs", 8, 16, "--seeds", 0, 1, "-o", tmp_path / "out",
    ]  # fmt: skip


def run(command, *more):
    import two_arms

    return two_arms.main([str(each) for each in (*command, *more)])


def table(tmp_path):
    return orjson.loads((tmp_path / "out" / "table.json").read_bytes())


def test_the_whole_grid(command, tmp_path, capsys):
    """Nine cells, a row a size with its gain, a figure with its numbers; twice is no work."""
    assert run(command) == 0
    found = table(tmp_path)
    assert found["cells"] == 9
    assert [(row["pairs"], row["seeds"]) for row in found["rows"]] == [(8, [0, 1]), (16, [0, 1])]
    for row in found["rows"]:
        accuracy = row["accuracy"]
        difference = accuracy["with_"]["mean"] - accuracy["without"]["mean"]
        assert accuracy["absolute"] == pytest.approx(difference)
        assert accuracy["num_comparisons"] == 30
    assert found["dropped"]["toy"] == {"kept": 30}
    out = tmp_path / "out"
    assert {p.suffix for p in out.glob("two-arms.*")} == {".svg", ".png", ".csv"}
    with (out / "two-arms.csv").open() as file:
        drawn = list(csv.DictReader(file))
    assert sum(row["seed"] in ("0", "1") for row in drawn) == 8
    assert "| toy | 30 | 8 |" in capsys.readouterr().out
    assert not list(out.glob("cells/*/model"))
    stamps = {p: p.stat().st_mtime_ns for p in out.rglob("*") if "table" not in p.name}
    assert run(command) == 0
    now = {p: p.stat().st_mtime_ns for p in stamps if p.is_file() and "two-arms" not in p.name}
    assert now == {p: t for p, t in stamps.items() if p in now and p.name != "settings.json"} | {
        p: t for p, t in now.items() if p.name == "settings.json"
    }

    both_arms_of_a_seed_have_the_same_pairs(tmp_path)


def both_arms_of_a_seed_have_the_same_pairs(tmp_path):
    """And the larger draw holds the smaller; another seed draws others."""

    def drawn(pairs, seed):
        folder = tmp_path / "out" / "data" / f"human-{pairs:05d}-{seed}"
        return {c.id for c in read_artifact(folder, Comparison, "train")}

    assert len(drawn(8, 0)) == 8
    assert drawn(8, 0) < drawn(16, 0)
    assert drawn(8, 0) != drawn(8, 1)
    runs = [orjson.loads((tmp_path / "out" / "cells" / f"{arm}-00008-0" / "run.json").read_bytes())
            for arm in ("with", "without")]  # fmt: skip
    assert runs[0]["data"] == runs[1]["data"]
    assert runs[0]["recipe"] == runs[1]["recipe"]
    assert (runs[0]["adapter"] is None, runs[1]["adapter"]) == (False, None)


def test_the_forum_is_what_the_arms_differ_in(command, tmp_path):
    """The toy forum teaches what the toy people want, so the arm with it is far ahead at once."""
    more = ("--set", "data.epochs=6", "--pairs", 8, "--seeds", 0)
    assert run(command, *more) == 0
    (row,) = table(tmp_path)["rows"]
    assert row["accuracy"]["absolute"] > 0.1
    assert table(tmp_path)["pretrained_alone"]["toy"] > 0.7


def test_stopped_in_a_slice_and_gone_on_with(command, tmp_path):
    """Exit code 75 while something is left; the end is bitwise that of one piece."""
    one = ("--pairs", 8, "--seeds", 0)
    codes = [run(command, *one, "--minutes", 1e-4)]  # however fast the machine is
    assert codes == [75]
    while codes[-1] == 75 and len(codes) < 60:
        codes.append(run(command, *one, "--minutes", len(codes) / 60))
    assert codes[-1] == 0
    pieces = table(tmp_path)["rows"]
    assert run([*command[:-1], tmp_path / "whole"], *one) == 0
    assert orjson.loads((tmp_path / "whole" / "table.json").read_bytes())["rows"] == pieces


def test_another_protocol_is_refused(command, tmp_path):
    """Cells of other settings would not compare; a larger grid of the same would."""
    assert run(command, "--pairs", 8, "--seeds", 0) == 0
    with pytest.raises(ConfigError, match="was begun with another most"):
        run(command, "--most", 7)
    assert run(command, "--pairs", 8, "--seeds", 0, 1) == 0
    assert table(tmp_path)["rows"][0]["seeds"] == [0, 1]


def test_what_the_user_did_is_one_line(command, tmp_path, monkeypatch):
    """Data that is not there is an error that names it, as from the command line, no traceback."""
    import two_arms

    script = two_arms.__file__
    absent = [*command, "--held-out", f"x={tmp_path / 'absent'}:test"]
    monkeypatch.setattr(sys, "argv", [script, *map(str, absent)])
    with pytest.raises(SystemExit, match=r"^error: .*absent"):
        runpy.run_path(script, run_name="__main__")


def test_a_draw_is_of_what_fits(command, tmp_path):
    """Comparisons over the limits are left out before the draw, and counted."""
    assert run(command, "--set", "data.max_tokens=35", "--pairs", 4, "--seeds", 0) == 0
    dropped = table(tmp_path)["dropped"]["toy"]
    assert dropped["kept"] + dropped["too_long_or_without_edge"] == 30
    assert 0 < dropped["kept"] < 30
    assert table(tmp_path)["rows"][0]["accuracy"]["num_comparisons"] == dropped["kept"]


def test_no_forum_drowns_another():
    """One of each in turn until one is empty, then the rest of the others."""
    from two_arms import in_turn

    rng = random.Random(1)
    small, large = ([toy_comparison(i, rng, name) for i in range(count)]
                    for name, count in (("small", 3), ("large", 50)))  # fmt: skip
    drawn = [each.source for each in in_turn([iter(small), iter(large)], 20)]
    assert drawn[:6] == ["small", "large"] * 3
    assert drawn[6:] == ["large"] * 14
    assert len(in_turn([iter(small)], 20)) == 3
