"""score --dtype int8: only with a gate, and only through it."""

import orjson
import pytest

from worldpm.rows import read_comparisons
from worldpm.score import load

ROWS = [{"prompt": f"Question {i}?", "replies": ["yes " * i, f"no {i}"]} for i in range(1, 9)]


@pytest.fixture
def gate(tmp_path, model):
    """Comparisons whose better reply is the one that float32 scores higher."""
    path = tmp_path / "gate.jsonl"
    comparisons = []
    for row in ROWS:
        best = load(model, dtype="float32").best_of(row["prompt"], row["replies"])
        comparisons.append({**row, "better": [[best, 1 - best]]})
    path.write_bytes(b"\n".join(map(orjson.dumps, comparisons)))
    return path


def test_gate_and_int8_go_together(worldpm, gate, model):
    """Either without the other is a mistake, and so is the engine that has no int8."""
    gated = ("--gate", gate)
    for options, word in (
        (("--dtype", "int8"), "--gate FILE"),
        (gated, "int8"),
        (("--dtype", "int8", *gated, "--engine", "native"), "native"),
    ):
        found = worldpm("score", gate, "-m", model, *options)
        assert (found.code, found.out) == (1, "")
        assert word in found.err


def test_refused_int8_scores_nothing(worldpm, gate, model, tmp_path, monkeypatch):
    """A gate that nothing can pass ends with code 3, both numbers shown and no output written."""
    monkeypatch.setattr("worldpm.evals.gate.MAX_LOSS_RISE_NATS", -1.0)
    out = tmp_path / "scores.jsonl"
    found = worldpm("score", gate, "-m", model, "--dtype", "int8", "--gate", gate, "-o", out, "-q")
    assert found.code == 3
    assert "flipped" in found.err
    assert "nats" in found.err
    assert not out.exists()


def test_accepted_int8_scores(worldpm, gate, model, monkeypatch):
    """Through the gate, the rows are the int8 scorer's own, which are not float32's."""
    monkeypatch.setattr("worldpm.evals.gate.MAX_FLIPPED", 1.1)
    monkeypatch.setattr("worldpm.evals.gate.MAX_LOSS_RISE_NATS", 10.0)
    found = worldpm("score", gate, "-m", model, "--dtype", "int8", "--gate", gate)
    comparisons = list(read_comparisons(gate))
    assert [row["scores"] for row in found.rows] == load(model, dtype="int8").score(comparisons)
    assert found.rows[0]["scores"] != load(model, dtype="float32").score(comparisons)[0]


def test_gate_without_edges_is_refused(worldpm, model, tmp_path):
    """A file that knows no better reply cannot judge."""
    path = tmp_path / "plain.jsonl"
    path.write_bytes(b"\n".join(map(orjson.dumps, ROWS)))
    found = worldpm("score", path, "-m", model, "--dtype", "int8", "--gate", path)
    assert found.code == 1
    assert "known better reply" in found.err
