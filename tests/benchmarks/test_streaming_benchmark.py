"""The benchmark of streaming on a small shape: what it writes, reads, limits and compares."""

import sys

import pytest
from tiny import tiny_tokenizer

from worldpm.model.weights import Weights

SMALL = {
    "hidden_size": 256, "intermediate_size": 1024, "num_hidden_layers": 6,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 400,
}  # fmt: skip


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """Twelve megabytes in shards of at most three."""
    import large_checkpoint

    monkeypatch.setattr(large_checkpoint, "SHARD_BYTES", 3_000_000)
    large_checkpoint.make_checkpoint(
        tmp_path / "m", tiny_tokenizer(tmp_path / "t"), large_checkpoint.SHAPE | SMALL
    )
    return tmp_path / "m"


def test_the_checkpoint_is_whole_and_each_tensor_its_own(checkpoint):
    """All tensors of the shape, no two alike, in several shards, none too large."""
    weights = Weights(checkpoint)
    assert weights.config.num_hidden_layers == 6
    files = sorted(checkpoint.glob("*.safetensors"))
    assert len(files) >= 4
    assert max(file.stat().st_size for file in files) < 3_200_000
    state = weights.read(list(weights.places))
    seen = {tensor.view(-1)[:64].float().numpy().tobytes() for tensor in state.values()}
    assert len(seen) == len(state)
    up = state["model.layers.3.mlp.down_proj.weight"].float()
    assert up.std().item() == pytest.approx(1024**-0.5, rel=0.05)
    assert len(up.unique(dim=0)) == len(up)


def test_forecast_errors_by_hand():
    """The time left as told against what was left, without the first layer and the last two."""
    from streaming import forecast_errors

    rows = [{"layers_done": i, "layers": 6, "at": 10.0 * i, "seconds_left": 33.0} for i in range(6)]
    assert forecast_errors(rows, 60.0) == pytest.approx([17 / 50, 7 / 40, 3 / 30])


def test_shares_by_hand():
    """Rates against the disk's, and how much of the time was work or waiting."""
    from streaming import summary

    cost = {
        "num_bytes": 800, "read_seconds": 4.0, "stalled_seconds": 1.0, "pack_seconds": 2.0,
        "compute_seconds": 6.0, "seconds": 10.0, "layers": 6,
    }  # fmt: skip
    row = {"layers_done": 2, "layers": 6, "at": 2.0, "seconds_left": 4.0}
    end = {"engine": "x", "tokens": 5, "seconds": 12.0, "peak_bytes": 9, "cost": cost}
    found = summary([row, end], disk=250.0)
    assert (found["share_of_disk"], found["busy"], found["waiting"]) == (0.8, 0.8, 0.1)
    assert found["forecast_error_largest"] == pytest.approx(0.6)
    assert found["forecasts_within_a_fifth"] == 0


def test_a_child_that_is_killed_in_the_middle(tmp_path, monkeypatch):
    """Rows up to the layer asked for, then SIGKILL; a child that ends otherwise is an error."""
    import streaming

    script = tmp_path / "child.py"
    script.write_text(
        "import json, time\n"
        "for i in range(5):\n"
        "    print(json.dumps({'layers_done': i}), flush=True)\n"
        "time.sleep(0.1)\n"
    )
    monkeypatch.setattr(streaming, "__file__", str(script))
    monkeypatch.setattr(sys, "argv", ["streaming.py"])
    whole = streaming.run_child("score", 2 * 10**9)
    assert [row["layers_done"] for row in whole] == [0, 1, 2, 3, 4]
    killed = streaming.run_child("score", 2 * 10**9, kill_at=2)
    assert [row["layers_done"] for row in killed] == [0, 1, 2]
    script.write_text("import mmap; mmap.mmap(-1, 3 * 10**9)")
    with pytest.raises(SystemExit, match="the score run ended with 1"):
        streaming.run_child("score", 2 * 10**9)
