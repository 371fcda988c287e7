"""model doctor and model inspect: the page, the object, the exit codes; ids of the hub."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

TORCH = ("--engine", "torch")


@pytest.fixture
def broken(model, tmp_path):
    """A copy with another rotary base than its contract has, and a pickle."""
    folder = shutil.copytree(model, tmp_path / "broken")
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rope_theta": 7.0}))
    (folder / "optimizer.pt").write_bytes(b"x")
    return folder


@pytest.fixture
def foreign(model, tmp_path):
    folder = shutil.copytree(model, tmp_path / "foreign")
    (folder / "worldpm.json").unlink()
    return folder


def test_page(worldpm, model):
    """A good checkpoint: every section, the layouts, and exit code 0."""
    result = worldpm("model", "doctor", model, *TORCH)
    assert result.code == 0
    for text in ("torch", "float32", "SHA-256", "<|endoftext|> (id", "linear: score.weight 1x16"):
        assert text in result.out
    for text in ("batches of 64", "two threads", "with siblings", "0 failed, 0 warnings"):
        assert text in result.out
    assert result.err == ""


def test_faults_end_with_3(worldpm, broken):
    """All that is wrong stands on the page with what to do, and the exit code says so."""
    result = worldpm("model", "doctor", broken, *TORCH)
    assert result.code == 3
    assert "rope_theta is 7.0, the contract says" in result.out
    assert "optimizer.pt" in result.out
    assert "-> " in result.out
    assert "3 failed" in result.out


def test_object(worldpm, broken, model):
    """--json gives the same as one object, with the golden scores and every check."""
    found = worldpm("model", "doctor", model, "--json", *TORCH).json
    assert found["healthy"]
    assert (found["counts"]["fail"], len(found["layouts"]), len(found["golden"])) == (0, 8, 6)
    assert found["golden"][0]["score"] == pytest.approx(found["golden"][0]["contract"], abs=1e-4)
    result = worldpm("model", "doctor", broken, "--json", *TORCH)
    assert (result.code, result.json["healthy"]) == (3, False)
    states = {check["state"] for check in result.json["checks"]}
    assert {"ok", "fail"} <= states


def test_foreign_checkpoint_is_only_warned_of(worldpm, foreign):
    """No contract is no fault, but stated by doctor and inspect."""
    result = worldpm("model", "doctor", foreign, *TORCH)
    assert result.code == 0
    assert "no contract: inferred" in result.out
    assert "no contract: inferred" in worldpm("model", "inspect", foreign).out
    assert worldpm("model", "inspect", foreign, "--json").json["contract"] is None


def test_inspect_tells_of_the_contract(worldpm, model, broken):
    """Kept or not, and in what it differs, without reading a tensor."""
    assert "6 golden conversations; kept" in worldpm("model", "inspect", model).out
    result = worldpm("model", "inspect", broken)
    assert result.code == 0
    assert "NOT KEPT: rope_theta is 7.0" in result.out


def test_bad_input(worldpm, tmp_path):
    """What is no checkpoint is an error with exit code 1."""
    for folder in (tmp_path / "nothing", tmp_path):
        result = worldpm("model", "doctor", folder)
        assert (result.code, result.out) == (1, "")
        assert str(folder) in result.err


def test_scoring_refuses_a_broken_contract(worldpm, broken, foreign, model):
    """score loads what keeps its contract or has none, and names what differs in the rest."""
    row = b'{"prompt": "Why?", "replies": ["a", "b"]}'
    good = worldpm("score", "-", "-m", model, *TORCH, stdin=row)
    assert worldpm("score", "-", "-m", foreign, *TORCH, stdin=row).rows == good.rows
    result = worldpm("score", "-", "-m", broken, *TORCH, stdin=row)
    assert (result.code, result.out) == (1, "")
    assert "rope_theta is 7.0, the contract says" in result.err
    state = load_file(broken / "model.safetensors")
    save_file({**state, "score.weight": -state["score.weight"]}, broken / "model.safetensors")
    result = worldpm("score", "-", "-m", broken, *TORCH, stdin=row)
    assert "tensors changed: score.weight" in result.err


def test_hub_ids(worldpm, model, monkeypatch):
    """--model and the model verbs take org/name, and the commit is told on stderr."""
    import huggingface_hub

    folder = model.parent / ("c" * 40)
    shutil.copytree(model, folder)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: str(folder))
    row = b'{"prompt": "Why?", "replies": ["a", "b"]}'
    result = worldpm("score", "-", "-m", "org/name@v2", *TORCH, stdin=row)
    assert result.rows == worldpm("score", "-", "-m", model, *TORCH, stdin=row).rows
    assert f"org/name: v2 is commit {'c' * 40}" in result.err
    assert worldpm("model", "inspect", "org/name").code == 0
    assert worldpm("model", "doctor", "org/name", *TORCH).code == 0
