"""`worldpm scaling run` on tiny sizes: what it leaves, how it is killed, and what fails."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import orjson
import pyarrow.parquet as pq
import pytest
from tiny import SMALL, TOY, small_model, tiny_tokenizer, toy_data

TABLES = ("observations.csv", "observations.parquet")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A ladder of two sizes and two amounts, with what its command names but for the folder."""
    work = tmp_path_factory.mktemp("ladder")
    for size, hidden in (("a", 16), ("b", 32)):
        shape = {k: v for k, v in SMALL.items() if k != "vocab_size"}
        shape |= {"hidden_size": hidden, "architectures": ["LlamaForCausalLM"]}
        (work / f"{size}.json").write_text(json.dumps(shape))
    (work / "toy.toml").write_text("")
    settings = [*TOY, "run.checkpoint_every_seconds=1e-9"]
    lines = ["comparisons = [24, 48]", "looks = 2", f"settings = {json.dumps(settings)}"]
    lines += [f'[sizes.{n}]\nrecipe = "toy.toml"\nshape = "{n}.json"' for n in "ab"]
    (work / "ladder.toml").write_text("\n".join(lines))
    tokenizer = tiny_tokenizer(work / "tokenizer", merges=False)
    data = toy_data(work / "toy", 60, 24)
    return [
        "scaling", "run", work / "ladder.toml", "--data", data, "--suite", data,
        "--part", "validation", "--base", tokenizer, "-q",
    ]  # fmt: skip


def command(inputs, out, *more):
    return [sys.executable, "-m", "worldpm", *map(str, [*inputs, "-o", out, *more])]


@pytest.fixture(scope="module")
def whole(inputs, tmp_path_factory):
    """The folder of a ladder that nothing stopped."""
    out = tmp_path_factory.mktemp("whole") / "out"
    subprocess.run(command(inputs, out), check=True, stdout=subprocess.DEVNULL)
    return out


def rows(out):
    with (out / "observations.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_table(whole):
    """A row a look and suite: data and FLOPs grow, the size is told, both files say the same."""
    found = rows(whole)
    assert [r["run"] for r in found] == [
        name for name in ("a-24-s0", "a-48-s0", "b-24-s0", "b-48-s0") for _ in range(2)
    ]
    for first, last in zip(found[::2], found[1::2], strict=True):
        assert float(first["pairs"]) < float(last["pairs"])
        assert 0 < float(first["flops"]) < float(last["flops"])
    assert int(found[0]["params"]) < int(found[-1]["params"])
    assert float(found[-1]["loss"]) < 0.7
    table = pq.read_table(whole / "observations.parquet").to_pylist()
    assert [{k: "" if v is None else str(v) for k, v in row.items()} for row in table] == found


def test_a_folder_that_is_no_ladders(worldpm, tmp_path):
    """A damaged ladder.json is told in one line, with what is wrong in it."""
    for text, what in (
        ("{}", "ladder: Input should be"),
        ('{"ladder": null}', "ladder: Input should be"),
        ('{"ladder": {"sizes": {}}}', "ladder.comparisons: Field required"),
    ):
        (tmp_path / "ladder.json").write_text(text)
        result = worldpm("show", tmp_path)
        assert (result.code, result.err.count("\n")) == (1, 1)
        assert f"ladder.json: is not as `scaling run` writes it: {what}" in result.err


def test_data_are_nested(whole):
    """The smaller amount is part of the larger, and not its beginning."""
    few, many = (
        pq.read_table(whole / "data" / f"{n}-s0" / "train.parquet")["id"].to_pylist()
        for n in (24, 48)
    )
    assert (len(few), len(many)) == (24, 48)
    assert set(few) < set(many)
    assert few != many[:24]


def test_nothing_large_is_kept(whole):
    """Of a finished cell the looks and the verdict, no weights."""
    names = {path.name for path in (whole / "cells" / "a-24-s0").iterdir()}
    assert names == {"looks", "done.json", "params.json"}


def test_killed_at_any_moment(inputs, whole, tmp_path):
    """kill -9 again and again, by its own clock: the tables are the same, byte for byte."""
    out, kills = tmp_path / "out", 0
    for number in range(4):
        process = subprocess.Popen(command(inputs, out), stdout=subprocess.DEVNULL)
        before = len(list(out.rglob("*"))) if out.exists() else 0
        end = time.monotonic() + 90
        # Dies once it has made some files more than were there: at another place each time.
        while process.poll() is None and time.monotonic() < end:
            now = sum(len(files) for _, _, files in os.walk(out))
            if now > before + 3 + 9 * number:
                process.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.002)
        if process.wait() == 0:
            break
    else:
        subprocess.run(command(inputs, out), check=True, stdout=subprocess.DEVNULL)
    assert kills >= 2
    for name in TABLES:
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


def test_slices_and_single_cells(worldpm, inputs, whole, tmp_path):
    """A slice ends with 75; cells may be run one by one, in any order, to the same table."""
    out = tmp_path / "out"
    stopped = worldpm(*inputs, "-o", out, "--minutes", 0)
    assert stopped.code == 75
    for name in ("b-*", "a-48-s0", "a-24-s0"):
        result = worldpm(*inputs, "-o", out, "--cell", name)
        assert result.code == 0, result.err
    for name in TABLES:
        assert (out / name).read_bytes() == (whole / name).read_bytes()


def test_a_failed_cell_is_absent(worldpm, inputs, whole, tmp_path, monkeypatch):
    """Its reason is told and none of its numbers; it is tried again when it is named."""
    from worldpm.errors import WorldPMError
    from worldpm.train import run

    real, out = run.train, tmp_path / "out"

    def train(recipe, base, data, folder, **flags):
        if "a-48" in str(folder):
            raise WorldPMError("the loss was not finite")
        return real(recipe, base, data, folder, **flags)

    monkeypatch.setattr(run, "train", train)
    result = worldpm(*inputs, "-o", out, "--cell", "a-*", "--json").json
    assert result["cells"]["a-48-s0"] == {
        "state": "failed", "reason": "WorldPMError: the loss was not finite",
    }  # fmt: skip
    assert {row["run"] for row in rows(out)} == {"a-24-s0"}
    shown = worldpm("show", out)
    assert "a ladder of 4 cells, 2 absent, 1 done, 1 failed" in shown.out
    assert "failed    a-48-s0: WorldPMError: the loss was not finite" in shown.out
    found = worldpm("show", out, "--json").json
    assert found["failed"] == {"a-48-s0": "WorldPMError: the loss was not finite"}
    assert found["counts"] == {"absent": 2, "done": 1, "failed": 1}
    assert found["cells"]["b-48-s0"] == "absent"
    monkeypatch.setattr(run, "train", real)
    assert "1 failed" in worldpm(*inputs, "-o", out).out
    assert "4 done" in worldpm(*inputs, "-o", out, "--cell", "a-48-s0").out
    assert (out / TABLES[0]).read_bytes() == (whole / TABLES[0]).read_bytes()


def test_scores_make_the_table_again(worldpm, inputs, whole):
    """Without a model: the tables are gone, and the same command measures the kept scores."""
    before = (whole / TABLES[0]).read_bytes()
    for name in TABLES:
        (whole / name).unlink()
    assert worldpm(*inputs, "-o", whole).code == 0
    assert (whole / TABLES[0]).read_bytes() == before


def test_a_plan(worldpm, inputs, tmp_path, listing):
    """FLOPs, time and disk of each cell, in proportion to its data; nothing is made."""
    before = listing()
    plan = worldpm(*inputs, "-o", tmp_path / "out", "--dry-run", "--json").json
    assert listing() == before
    few, many = plan["cells"][:2]
    assert many["flops"] == pytest.approx(2 * few["flops"])
    assert plan["total"]["cells"] == 4
    assert plan["total"]["seconds"] > 0
    assert "4 cells to run" in worldpm(*inputs, "-o", tmp_path / "out", "--dry-run").out


def test_layers_of_a_base(worldpm, inputs, tmp_path):
    """Sizes that begin with some of a base's layers; what frozen ones gave goes in the end."""
    base = small_model(tmp_path / "base", head=False)
    text = 'recipe = "toy.toml"\nlayers = {}\nsettings = ["model.frozen_layers={}"]'
    sizes = [f"[sizes.{n}]\n{text.format(n, n - 1)}" for n in (1, 2)]
    lines = [line for line in inputs[2].read_text().split("[sizes", 1)[0].splitlines() if line]
    ladder = inputs[2].with_name("layers.toml")
    ladder.write_text("\n".join([*lines, *sizes]))
    given = [*inputs[:2], ladder, *inputs[3:], "--base", base, "-o", tmp_path / "out"]
    plan = worldpm(*given, "--dry-run", "--json").json
    assert [row["frozen_bytes"] > 0 for row in plan["cells"]] == [False, False, True, True]
    assert worldpm(*given, "--cell", "2-*").code == 0
    assert any((tmp_path / "out" / "frozen").rglob("*.npy"))
    assert worldpm(*given).code == 0
    assert not (tmp_path / "out" / "frozen").exists()
    few, many = rows(tmp_path / "out")[0], rows(tmp_path / "out")[-1]
    assert 2 * int(few["params"]) - int(many["params"]) == SMALL["hidden_size"]  # the last norm


def test_another_base_is_another_ladder(worldpm, inputs, tmp_path):
    """Layers of other weights do not go into the same table; too many are refused."""
    ladder = inputs[2].with_name("layers.toml")
    ladder.write_text('comparisons = [24]\n[sizes.a]\nrecipe = "toy.toml"\nlayers = 3')
    base, out = small_model(tmp_path / "base", head=False), tmp_path / "out"
    given = [*inputs[:2], ladder, *inputs[3:], "-o", out]
    assert "layers: 3 were asked for" in worldpm(*given, "--base", base).err
    other = small_model(tmp_path / "other", head=False, seed=1)
    assert "began with another base" in worldpm(*given, "--base", other).err
    ladder.write_text('comparisons = [24]\n[sizes.a]\nrecipe = "toy.toml"')
    assert "give either shape or layers" in worldpm(*given, "--base", base).err


def test_a_ladder_of_before_a_setting_goes_on(worldpm, inputs, whole, tmp_path):
    """Keys that came since it began have their defaults in what it recorded."""
    out = shutil.copytree(whole, tmp_path / "out")
    begun = orjson.loads((out / "ladder.json").read_bytes())
    assert begun["ladder"]["sizes"]["a"].pop("layers", 0) is None
    assert begun["recipes"]["a-s0"]["run"].pop("keep_best") is not None
    (out / "ladder.json").write_bytes(orjson.dumps(begun))
    assert worldpm(*inputs, "-o", out).code == 0
    assert rows(out) == rows(whole)
    begun["recipes"]["a-s0"]["run"]["keep_best"] = None
    (out / "ladder.json").write_bytes(orjson.dumps(begun))
    assert "began with another recipes" in worldpm(*inputs, "-o", out).err


def test_what_is_refused(worldpm, inputs, whole, tmp_path):
    """Another study's folder, a folder of something else, a cell that is not, too little data."""
    text = inputs[2].read_text()
    other = inputs[2].with_name("other.toml")
    other.write_text(text.replace("[24, 48]", "[24, 600]"))
    changed = [*inputs[:2], other, *inputs[3:]]
    assert "began with another ladder" in worldpm(*changed, "-o", whole).err
    short = worldpm(*changed, "-o", tmp_path / "out", "--cell", "a-600*")
    assert (short.code, "the data has 60" in short.err) == (1, True)
    assert "the data has 60" in worldpm(*changed, "-o", tmp_path / "x", "--dry-run").err
    assert "none of a-24-s0" in worldpm(*inputs, "-o", whole, "--cell", "c-*").err
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    assert "not a ladder's" in worldpm(*inputs, "-o", tmp_path / "mine").err
    assert orjson.loads((whole / "cells.json").read_bytes())["a-24-s0"] == {"state": "done"}
