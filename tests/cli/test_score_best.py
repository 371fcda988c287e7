"""`score --best`: the best of n replies of a row, in the form that TRL fine-tunes on."""

import orjson
import pytest

from worldpm.cli.scoring import _weights_digest
from worldpm.score import load

ROWS = [
    {"id": "a", "prompt": "Why?", "replies": ["So.", "Because it is.", "x"]},
    {"id": "b", "messages": [{"role": "user", "content": "q"},
                             {"role": "assistant", "content": ""}]},
    {"id": "c", "prompt": [{"role": "system", "content": "Be brief."},
                           {"role": "user", "content": "Go"}], "replies": ["same", "same"]},
]  # fmt: skip


@pytest.fixture
def rows_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n".join(map(orjson.dumps, ROWS)))
    return path


def test_the_best_reply_is_given(worldpm, rows_file, model):
    """Each row is as without --best, with its prompt and the reply of the highest score."""
    plain = worldpm("score", rows_file, "-m", model).rows
    first, single, equal = worldpm("score", rows_file, "-m", model, "--best").rows
    for row, same in zip((first, single, equal), plain, strict=True):
        assert {k: v for k, v in row.items() if k not in {"prompt", "completion"}} == same
    best = ROWS[0]["replies"][plain[0]["best"]]
    assert plain[0]["scores"][plain[0]["best"]] == max(plain[0]["scores"])
    assert first["prompt"] == [{"role": "user", "content": "Why?"}]
    assert first["completion"] == [{"role": "assistant", "content": best}]
    assert single["completion"] == [{"role": "assistant", "content": ""}]
    assert equal["best"] == 0
    assert [m["role"] for m in equal["prompt"]] == ["system", "user"]


def test_with_traces(worldpm, rows_file, model, tmp_path):
    """It goes with --trace and -o."""
    out = tmp_path / "best.jsonl"
    worldpm("score", rows_file, "-m", model, "--best", "--trace", "-o", out)
    rows = [orjson.loads(line) for line in out.read_bytes().splitlines()]
    assert all({"prompt", "completion", "traces"} <= row.keys() for row in rows)


@pytest.mark.parametrize("best", [True, False])
def test_rows_of_two_kinds_are_not_mixed(worldpm, rows_file, model, tmp_path, best):
    """A file that was begun without --best is gone on with only without it."""
    out = tmp_path / "rows.out.jsonl"
    begun = worldpm("score", rows_file, "-m", model).out.encode().splitlines(True)[:1]
    engine = load(model).runner.engine
    partial = out.with_name(f".{out.name}.unfinished")
    partial.write_bytes(begun[0])
    identity = {"model": "tiny", "weights": _weights_digest(str(model)), "trace": False,
                "engine": engine.name, "dtype": engine.dtype}  # fmt: skip
    partial.with_name(f"{partial.name}.json").write_bytes(orjson.dumps(identity))
    flags = ["--best"] if best else []
    found = worldpm("score", rows_file, "-m", model, *flags, "--resume", "-o", out)
    assert found.code == int(best)
    assert ("begun with another" in found.err) is best
    assert out.exists() is not best


def test_trl_reads_the_rows(worldpm, rows_file, model, tmp_path):
    """TRL takes the file as conversational prompts and completions, ready for fine-tuning."""
    data_utils = pytest.importorskip("trl.data_utils")
    from datasets import load_dataset

    out = tmp_path / "best.jsonl"
    worldpm("score", rows_file, "-m", model, "--best", "-o", out)
    data = load_dataset("json", data_files=str(out), split="train", cache_dir=str(tmp_path / "c"))
    assert all(data_utils.is_conversational(row) for row in data)
    assert data[0]["completion"][0]["role"] == "assistant"
