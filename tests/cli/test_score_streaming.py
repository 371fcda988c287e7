"""score --memory: the same rows from a streamed model, planned first, and gone on with."""

import shutil

import orjson
import pytest

from worldpm import score as score_module
from worldpm.model import plan as plan_module
from worldpm.model import probe as probe_module
from worldpm.model.engine import Resident
from worldpm.model.native import choose_engine
from worldpm.model.streaming import Streaming
from worldpm.model.weights import Weights

ROWS = [{"id": i, "prompt": f"p{i % 3}", "replies": ["r" * i, "q", f"s{i}"]} for i in range(9)]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(map(orjson.dumps, ROWS)))
    return path


@pytest.fixture
def memory(model, monkeypatch):
    """A limit that the tiny model is just over, this process itself counted as nothing."""
    monkeypatch.setattr(plan_module, "resident_bytes", lambda: 0)
    weights = Weights(model)
    plan = plan_module.plan_memory(weights, choose_engine(weights.config, "float32"), 10**12)
    return str(plan.peak_bytes - 1)


def test_streamed_rows_are_the_resident_ones(worldpm, model, source, memory, tmp_path):
    """With too little memory the weights are streamed, which is said; the rows are the same. States
    that do not fit either ask for a folder."""
    wanted = worldpm("score", source, "--model", model, "-q").out
    command = ("score", source, "--model", model, "--memory", memory)
    lacking = worldpm(*command)
    assert (lacking.code, lacking.out) == (1, "")
    assert "--scratch" in lacking.err
    result = worldpm(*command, "--scratch", tmp_path / "scratch")
    assert result.out == wanted
    assert "streamed" in result.err
    assert "layer 2 of 2" in result.err
    quiet = worldpm(*command, "--scratch", tmp_path / "scratch", "-q")
    assert (quiet.out, quiet.err) == (wanted, "")
    for place in ((), ("--scratch", tmp_path / "scratch")):
        out = tmp_path / f"out{len(place)}.jsonl"
        ran = worldpm(*command, "-o", out, *place)
        assert "the same command goes on" in ran.err
        assert out.read_text() == wanted
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "out0.jsonl", "out2.jsonl", "rows.jsonl",
    ]  # fmt: skip


def test_the_same_command_goes_on(worldpm, model, source, memory, tmp_path, monkeypatch):
    """A stopped job keeps its states beside the output; the same command does the rest, and
    --force starts anew."""
    out = tmp_path / "out.jsonl"
    command = ("score", source, "--model", model, "--memory", memory, "-o", out)
    real = Streaming._make_layer

    def stop(self, index, tensors):
        if index == 1:
            raise KeyboardInterrupt
        return real(self, index, tensors)

    def stopped():
        monkeypatch.setattr(Streaming, "_make_layer", stop)
        assert worldpm(*command).code == 130
        monkeypatch.setattr(Streaming, "_make_layer", real)
        assert (tmp_path / ".out.jsonl.scratch" / "states.json").is_file()

    stopped()
    resumed = worldpm(*command)
    assert "goes on after 1 layers" in resumed.err
    wanted = out.read_text()
    out.unlink()
    stopped()
    anew = worldpm(*command, "--force")
    assert "goes on" not in anew.err.replace("the same command goes on", "")
    assert out.read_text() == wanted
    assert not (tmp_path / ".out.jsonl.scratch").exists()


def test_dry_run_plans(worldpm, model, source, memory, tmp_path):
    """Mode, tokens, scratch, passes, reads and time are said before anything starts."""
    command = ("score", source, "--model", model, "--dry-run", "-o", tmp_path / "o")
    plan = worldpm(*command, "--memory", memory, "--json").json["settings"]["plan"]
    assert (plan["streaming"], plan["passes"], plan["layers"]) == (True, 1, 2)
    assert plan["tokens"] > 300
    assert plan["scratch_bytes"] == 2 * plan["state_bytes"] > 0
    assert plan["expected_seconds"] > 0
    assert plan["speeds"]["bytes_per_second"] > 0
    text = worldpm(*command, "--memory", memory).out
    for word in ("streaming", "scratch", "passes       1", "time         about"):
        assert word in text
    resident = worldpm(*command, "--json").json["settings"]["plan"]
    assert (resident["streaming"], resident["scratch_bytes"]) == (False, 0)
    piped = worldpm("score", "-", "--model", model, "--dry-run", "--json")
    assert piped.json["settings"]["plan"]["tokens"] is None
    assert not (tmp_path / "o").exists()


def test_memory_that_cannot_be_had(worldpm, model, source):
    """A size that is none, and one below a layer, are errors with what to write or take."""
    assert "8GB" in worldpm("score", source, "--model", model, "--memory", "much").err
    little = worldpm("score", source, "--model", model, "--memory", "1kB")
    assert little.code == 1
    assert "not enough" in little.err


def test_load_chooses(model, memory):
    """`load` keeps the weights where they fit, and streams them where they do not."""
    assert isinstance(score_module.load(model).runner, Resident)
    assert isinstance(score_module.load(model, memory=int(memory)).runner, Streaming)
    assert score_module.BATCH_TOKENS == plan_module.BATCH_TOKENS


def test_dry_run_of_a_model_that_is_not_there_yet(worldpm, model, source, tmp_path, monkeypatch):
    """A folder with config.json alone is planned, as an estimate; its tokenizer counts if it has
    one; and it cannot be scored with."""
    monkeypatch.setattr(probe_module, "FILE_BYTES", 8 << 20)
    whole = worldpm("score", source, "--model", model, "--dry-run", "--json").json
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copyfile(model / "config.json", bare / "config.json")
    command = ("score", source, "--model", bare)
    rough = worldpm(*command, "--dry-run", "--json").json["settings"]["plan"]
    assert rough["estimate"]
    assert rough["tokens"] == sum(
        len(row["prompt"]) // 4 + 5 + sum(len(reply) // 4 + 5 for reply in row["replies"])
        for row in ROWS
    )
    names = ("chat_template.jinja", "tokenizer.json", "tokenizer_config.json")
    for name in names:
        shutil.copyfile(model / name, bare / name)
    found = worldpm(*command, "--dry-run", "--json").json["settings"]["plan"]
    for key in ("tokens", "weights_bytes", "layers"):
        assert found[key] == whole["settings"]["plan"][key]
    text = worldpm(*command, "--dry-run").out
    assert "estimate     no weights are there" in text
    assert "were the disk one of 7 GB/s" in text
    assert worldpm(*command).code == 1
    assert {path.name for path in bare.iterdir()} == {"config.json", *names}
