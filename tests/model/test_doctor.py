"""The doctor: every planted fault is found, all of them at once, and none of them ends it."""

import json
import random
import shutil

import pytest
import torch
from checkpoints import read_state, write_layout, write_shards
from tiny import tiny_tokenizer

from worldpm.errors import CheckpointError, WorldPMError
from worldpm.model.checkpoint import CONTRACT, read_model, write_model
from worldpm.model.contract import read_contract
from worldpm.model.doctor import examine
from worldpm.model.layouts import Scoring
from worldpm.score import load

SHARD = "model-00002-of-00003.safetensors"
BIAS = "model.layers.1.self_attn.k_proj.bias"
NORM = "model.layers.0.input_layernorm.weight"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A checkpoint of ours: an MLP head, three shards, a contract."""
    folder = tmp_path_factory.mktemp("own")
    tokenizer = tiny_tokenizer(folder / "tokenizer")
    model = read_model(write_layout(folder / "m", "Qwen2ForRewardModel", seed=3))
    write_model(model, folder / "w", tokenizer, dtype=torch.float32)
    weights(lambda state: None)(folder / "w")
    return folder / "w"


@pytest.fixture(scope="module")
def foreign_source(tmp_path_factory):
    """A checkpoint of others with a linear head: no contract."""
    folder = tmp_path_factory.mktemp("foreign")
    tokenizer = tiny_tokenizer(folder / "tokenizer")
    return write_layout(
        folder / "m", "Qwen2ForSequenceClassification", tokenizer=tokenizer, shards=3, seed=4,
        rope_theta=1e6,
    )  # fmt: skip


@pytest.fixture
def folder(own, tmp_path):
    """A copy of ours to be damaged."""
    return shutil.copytree(own, tmp_path / "copy")


@pytest.fixture
def foreign(foreign_source, tmp_path):
    """A copy of theirs to be damaged."""
    return shutil.copytree(foreign_source, tmp_path / "foreign")


def opener(folder, **options):
    """What the command line hands to the doctor."""

    def open_scoring(threads):
        scorer = load(folder, threads=threads, engine="torch", **options)
        used = scorer.runner.engine
        return Scoring(used.name, used.dtype, False, scorer.score)

    return open_scoring


def diagnose(folder):
    return examine(folder, opener(folder))


def quickly(folder):
    """The same with a stand-in that scores as contracts say, where scores are not the point."""
    contract = read_contract(folder) if (folder / CONTRACT).is_file() else None
    kept = {} if contract is None else {g.messages: g.score for g in contract.golden}

    def score(comparisons):
        return [[kept.get(c, 0.0) for c in x.conversations()] for x in comparisons]

    return examine(folder, lambda threads: Scoring("stand-in", "float32", True, score))


def failures(found):
    return [check for check in found.checks if check.state == "fail"]


def said(found, state="fail"):
    return "\n".join(f"{c.section} {c.name}: {c.found}" for c in found.checks if c.state == state)


def edit(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def weights(change):
    """Rewrite the tensors in three shards after `change` of their dict."""

    def damage(folder):
        state = read_state(folder)
        change(state)
        for path in folder.glob("model*"):
            path.unlink()
        write_shards(folder, state, 3)

    return damage


def scored_pad(folder):
    ids = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    (pad,) = [token["id"] for token in ids if token["content"] == "<|endoftext|>"]
    edit(folder / "config.json", lambda value: value.update(pad_token_id=pad))


def newline(folder):
    path = folder / "chat_template.jinja"
    text = path.read_text()
    assert "'<|im_end|>'" in text
    path.write_text(text.replace("'<|im_end|>'", "'<|im_end|>\\n'"))


def blank_line(folder):
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text() + "\n")


def headless(state):
    for name in [name for name in state if name.startswith("score.")]:
        del state[name]


def turn(name):
    return lambda state: state.update({name: state[name].T.contiguous()})


def rotary(folder):
    edit(folder / "config.json", lambda value: value.update(rope_theta=1e4, rope_parameters=None))


def cut(folder):
    path = folder / SHARD
    path.write_bytes(path.read_bytes()[:-9])


def vanish(folder):
    (folder / SHARD).unlink()


def pickle(name):
    return lambda folder: torch.save({"a": torch.ones(2)}, folder / name)


# Each planted fault of the brief, on a checkpoint with a contract, and what must be said of it.
PLANTED = {
    "pad id equal to the scored token": (scored_pad, "config pad id: .*is the scored token"),
    "template changed by one newline": (newline, "template is .* the contract says"),
    "template file longer by a line end": (blank_line, "template is .* the contract says"),
    "head missing": (weights(headless), "weights head: no scalar head"),
    "head transposed": (weights(turn("score.2.weight")), r"transposed: score.2.weight is \(64, 1"),
    "square head transposed": (weights(turn("score.0.weight")), "tensors changed: score.0.weight"),
    "bias dropped": (weights(lambda s: s.pop(BIAS)), f"missing: {BIAS}"),
    "head's bias dropped": (weights(lambda s: s.pop("score.2.bias")), "no scalar head that we"),
    "rope theta 1e4 for 1e6": (rotary, "rope_theta is 10000.0, the contract says 1000000.0"),
    "NaN in a shard": (
        weights(lambda s: s[NORM].__setitem__(5, float("nan"))),
        rf"not finite: {NORM} in model-\d+-of-00003.safetensors \(1 of 64\)",
    ),
    "truncated shard": (cut, f"files shard: .*{SHARD}: damaged or cut short"),
    "index names a missing file": (vanish, f"files index: names {SHARD}, which is not there"),
    "a .bin pickle": (pickle("pytorch_model.bin"), "files pickles: pytorch_model.bin"),
    "a .pt pickle": (pickle("optimizer.pt"), "files pickles: optimizer.pt"),
    "a .pkl pickle": (pickle("x.pkl"), "files pickles: x.pkl"),
    "a pickle by another name": (pickle("notes.txt"), "files pickles: notes.txt"),
    "a pickle in a sub-folder": (
        lambda f: ((f / "extra").mkdir(), pickle("extra/a.dat")(f)), "pickles: extra/a.dat",
    ),
}  # fmt: skip


def test_healthy(own):
    """Nothing fails on a good checkpoint; its bits and its golden scores are reported."""
    found = diagnose(own)
    assert failures(found) == []
    assert said(found, "warn") == ""
    assert len(found.layouts) == 8
    assert len(found.golden) == 6
    assert all(abs(row["score"] - row["contract"]) < 1e-4 for row in found.golden)
    assert found.facts["engine"].startswith("torch")
    assert found.facts["head_shapes"]["score.0.weight"] == (64, 64)
    assert found.facts["scored_token"]["text"] == "<|endoftext|>"
    assert found.as_json()["healthy"]


@pytest.mark.parametrize("fault", PLANTED)
def test_planted_fault(folder, fault):
    """Each fault is a failed check that names it and says what to do."""
    plant, message = PLANTED[fault]
    plant(folder)
    found = quickly(folder)
    matching = [c for c in failures(found) if _matches(message, c)]
    assert matching, said(found)
    assert all(check.advice for check in failures(found))
    assert not found.as_json()["healthy"]


def _matches(pattern, check):
    import re

    return re.search(pattern, f"{check.section} {check.name}: {check.found}")


def test_all_faults_at_once(folder):
    """One fault does not hide another."""
    weights(lambda s: (s[NORM].__setitem__(5, float("nan")), s.pop(BIAS)))(folder)
    for plant in (scored_pad, newline, rotary, pickle("a.bin")):
        plant(folder)
    text = said(diagnose(folder))
    for part in ("pad id", "template is", "rope_theta is", "not finite", "a.bin", "scores loading"):
        assert part in text
    assert f"missing: {BIAS}" in text
    cut(folder)
    text = said(diagnose(folder))
    for part in ("cut short", "pad id", "a.bin", "tokens differ", "not finite"):
        assert part in text


def test_foreign_checkpoint(foreign):
    """Without a contract that is said, with what was inferred; bits are still reported."""
    found = diagnose(foreign)
    assert failures(found) == []
    assert "no contract: inferred" in said(found, "warn")
    assert len(found.layouts) == 8
    assert [row["contract"] for row in found.golden] == [None] * 6


# What must be seen without a contract, and how loud.
PLAUSIBLE = {
    "pad id equal to the scored token": (scored_pad, "fail", "which is the scored token"),
    "template changed by one newline": (newline, "warn", "in white space only"),
    "head missing": (weights(headless), "fail", "no scalar head"),
    "head transposed": (weights(turn("score.weight")), "fail", "transposed: score.weight"),
    "bias dropped": (weights(lambda s: s.pop(BIAS)), "fail", f"missing: {BIAS}"),
    "rope theta 1e4 for 1e6": (rotary, "warn", "rope_theta: 10000, where qwen2 models have 1e+06"),
    "NaN in a shard": (
        weights(lambda s: s[NORM].__setitem__(5, float("nan"))), "fail", "not finite"),
    "truncated shard": (cut, "fail", "cut short"),
    "index names a missing file": (vanish, "fail", "which is not there"),
    "pickle": (pickle("pytorch_model.bin"), "fail", "pytorch_model.bin"),
    "code": (lambda f: (f / "modeling_own.py").write_text("import os"), "warn", "modeling_own.py"),
    "head of zeros": (weights(lambda s: s["score.weight"].zero_()), "warn", "all zero"),
    "another class": (
        lambda f: edit(f / "config.json", lambda v: v.update(architectures=["Qwen2ForCausalLM"])),
        "warn", "Qwen2ForCausalLM; for this head it is Qwen2ForSequenceClassification"),
    "auto_map": (
        lambda f: edit(f / "config.json", lambda v: v.update(auto_map={"AutoModel": "m.M"})),
        "warn", "asks for code"),
    "other precision": (
        lambda f: edit(f / "config.json", lambda v: v.update(dtype="float16")),
        "warn", "says float16, the weights are float32"),
    "extra tensor": (
        weights(lambda s: s.update({"model.extra": torch.ones(1)})), "fail", "unknown: model.ext"),
    "wrong shape": (
        weights(lambda s: s.update({NORM: torch.ones(63)})), "fail", f"{NORM} is (63,)"),
    "integers": (
        weights(lambda s: s.update({NORM: torch.ones(64, dtype=torch.int8)})), "fail", "I8 in"),
    "larger vocabulary": (
        lambda f: edit(f / "config.json", lambda v: v.update(vocab_size=300)), "fail", "300 embed"),
    "stray shard": (
        lambda f: shutil.copy(f / SHARD, f / "model-old.safetensors"), "warn",
        "never read: model-old.safetensors"),
    "system message of its own": (
        lambda f: (f / "chat_template.jinja").write_text(
            "{% if messages[0]['role'] != 'system' %}Be good.{% endif %}"
            "{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}<|endoftext|>"),
        "warn", "not the same without a system message"),
    "template that drops the reply": (
        lambda f: (f / "chat_template.jinja").write_text("{{ messages[0]['role'] }}<|endoftext|>"),
        "fail", "leaves out what was said"),
    "template that writes nothing": (
        lambda f: (f / "chat_template.jinja").write_text(""), "fail", "writes nothing"),
    "no closing token": (
        lambda f: (f / "chat_template.jinja").write_text(
            "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>\n{% endfor %}"),
        "warn", "no control token"),
    "pad in every conversation": (
        lambda f: edit(f / "config.json", lambda v: v.update(pad_token_id=_id(f, "<|im_end|>"))),
        "warn", "in every conversation"),
}  # fmt: skip


def _id(folder, text):
    tokens = json.loads((folder / "tokenizer.json").read_text())["added_tokens"]
    return next(token["id"] for token in tokens if token["content"] == text)


@pytest.mark.parametrize("fault", PLAUSIBLE)
def test_without_a_contract(foreign, fault):
    """What can be seen or suspected in a foreign checkpoint is, and was not said before."""
    plant, state, message = PLAUSIBLE[fault]
    assert message not in said(quickly(foreign), state)
    plant(foreign)
    found = quickly(foreign)
    assert message in said(found, state)


def test_golden_scores_are_checked(folder):
    """A contract whose scores are not those of the model is a failure, a null score another."""
    edit(folder / CONTRACT, lambda value: value["golden"][3].update(score=9.0))
    assert "scores golden: 6 conversations within" in said(diagnose(folder))
    edit(folder / CONTRACT, lambda value: value["golden"][3].update(score=None))
    assert "not finite" in said(diagnose(folder))


def test_value_between_the_samples(folder):
    """A weight that a load's samples pass over is found by the full digest."""
    weights(lambda s: s["model.embed_tokens.weight"].view(-1)[3000].neg_())(folder)
    load(folder, engine="torch")
    assert "between those that a load samples" in said(diagnose(folder))


def test_low_precision_is_judged_by_its_own_measure(own):
    """bfloat16 is held against the float32 scores with a wider tolerance, and says so."""
    found = examine(own, opener(own, dtype="bfloat16"))
    (golden,) = [check for check in found.checks if check.name == "golden"]
    assert found.facts["dtype"] == "bfloat16"
    assert golden.state in {"ok", "warn"}
    assert max(abs(row["score"] - row["contract"]) for row in found.golden) > 1e-4


def test_threads_are_given_back(own):
    """The doctor leaves the number of torch's threads as it was."""
    before = torch.get_num_threads()
    diagnose(own)
    assert torch.get_num_threads() == before


def test_bad_input(tmp_path):
    """A folder that is not there or holds nothing of a checkpoint is an error, not a diagnosis."""
    with pytest.raises(CheckpointError, match="no such folder"):
        diagnose(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        diagnose(tmp_path)


@pytest.mark.parametrize("name", [
    "config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", CONTRACT,
    "model.safetensors.index.json", SHARD, "model-00001-of-00003.safetensors",
])  # fmt: skip
def test_never_ends_in_an_exception(own, tmp_path, name):
    """Each file missing, empty, not JSON, of another JSON type, or with bytes flipped: a page."""
    data = (own / name).read_bytes()
    rng = random.Random(name)
    variants = [None, b"", b"[]", b"{}", b"7", b"{", b"\xff\xfe", data[: len(data) // 2]]
    for _ in range(12):
        changed = bytearray(data)
        for _ in range(3):
            changed[rng.randrange(min(len(data), 3000))] = rng.randrange(256)
        variants.append(bytes(changed))

    # The scorer is not under test here: a load of each variant would take most of the time.
    def refuse(threads):
        raise WorldPMError("not loaded")

    for number, variant in enumerate(variants):
        folder = shutil.copytree(own, tmp_path / str(number))
        if variant is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(variant)
        found = examine(folder, refuse)
        assert found.checks
