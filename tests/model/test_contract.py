"""The contract beside the weights: written at every save, held against every load."""

import json
import shutil

import orjson
import pytest
import torch
from checkpoints import read_state, write_layout, write_shards
from tiny import tiny_tokenizer

from worldpm.errors import CheckpointError, WorldPMError
from worldpm.model import contract as module
from worldpm.model.batch import collate
from worldpm.model.checkpoint import CONTRACT, read_model, write_model
from worldpm.model.contract import GOLDEN, check_contract, golden_of, read_contract
from worldpm.model.fingerprint import fingerprints, weights_sha256
from worldpm.tokens.encode import Encoder
from worldpm.tokens.tree import build_tree


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return tiny_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def written(tokenizer, tmp_path_factory):
    """A checkpoint with an MLP head, stored in bfloat16, as `write_model` leaves it."""
    folder = tmp_path_factory.mktemp("written")
    model = read_model(write_layout(folder / "m", "Qwen2ForRewardModel", seed=3))
    write_model(model, folder / "w", tokenizer, dtype=torch.bfloat16, training_data=["ab" * 32])
    return folder / "w"


@pytest.fixture
def folder(written, tmp_path):
    """A copy to be damaged."""
    return shutil.copytree(written, tmp_path / "copy")


def check(folder):
    return check_contract(folder, Encoder.from_folder(folder))


def edit(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def test_a_save_writes_what_the_folder_is(written, tokenizer):
    """Template, scored token, head, precision, shape, golden scores and data digests are stated."""
    contract = read_contract(written)
    facts = contract.facts
    assert facts.template_sha256 == Encoder.from_folder(tokenizer).template.hash
    assert facts.scored_token.text == "<|endoftext|>"
    assert (facts.head, facts.dtype, facts.shape["rope_theta"]) == ("mlp", "bfloat16", 1e6)
    assert [golden.messages for golden in contract.golden] == list(GOLDEN)
    assert contract.training_data == ("ab" * 32,)
    assert contract.weights_sha256 == weights_sha256([written / "model.safetensors"])
    assert check(written) == contract


def test_golden_scores_are_those_of_the_stored_weights(written):
    """The scores are the float32 model's on the rounded weights, not those before rounding."""
    model, encoder = read_model(written), Encoder.from_folder(written)
    contract = read_contract(written)
    with torch.inference_mode():
        for golden in contract.golden:
            again = model(collate([build_tree([encoder.encode(golden.messages)])])).item()
            assert golden.score == pytest.approx(again, abs=1e-6)
    unrounded = read_model(written.parent / "m")
    before = golden_of(encoder, unrounded)
    assert all(a.score != b.score for a, b in zip(before, contract.golden, strict=True))
    assert len({golden.score for golden in contract.golden}) == len(GOLDEN)


def test_golden_conversations_cover_what_goes_wrong(written):
    """Several turns, Chinese, emoji, typed control tokens and an empty reply are among them."""
    texts = ["".join(m.content for m in conversation) for conversation in GOLDEN]
    assert any(len(conversation) > 3 for conversation in GOLDEN)
    assert any("睡" in text for text in texts)
    assert any("👩‍🚀" in text for text in texts)
    assert any(conversation[-1].content == "" for conversation in GOLDEN)
    (typed,) = [c for c, text in zip(GOLDEN, texts, strict=True) if "<|im_start|>" in text]
    encoder = Encoder.from_folder(written)
    plain = (*GOLDEN[0][:1], GOLDEN[0][1])
    controls = [sum(i in encoder.control_ids for i in encoder.encode(c)) for c in (typed, plain)]
    assert controls[0] == controls[1]


def test_short_context_leaves_long_conversations_out(tokenizer, tmp_path):
    """A golden conversation that the model cannot take is not in its contract."""
    model = read_model(
        write_layout(tmp_path / "m", "Qwen2ForRewardModel", max_position_embeddings=90)
    )
    write_model(model, tmp_path / "w", tokenizer, dtype=torch.float32)
    golden = read_contract(tmp_path / "w").golden
    assert 0 < len(golden) < len(GOLDEN)
    assert max(each.num_tokens for each in golden) <= 90


def template(folder):
    path = folder / "chat_template.jinja"
    path.write_text(path.read_text() + "\n{{- '\\n' }}")


def tokens(folder):
    def swap(value):
        vocab = value["model"]["vocab"]
        vocab["a"], vocab["b"] = vocab["b"], vocab["a"]

    edit(folder / "tokenizer.json", swap)


def config(**changes):
    return lambda folder: edit(folder / "config.json", lambda value: value.update(changes))


def weights(change, shards=1):
    def damage(folder):
        state = read_state(folder)
        change(state)
        (folder / "model.safetensors").unlink()
        write_shards(folder, state, shards)

    return damage


BIAS = "model.layers.1.self_attn.k_proj.bias"
DIFFERS = {
    r"template is \w{16}, the contract says \w{16}": template,
    "tokens differ in golden conversations 1, 2": tokens,
    "rope_theta is 10000.0, the contract says 1000000.0": config(rope_theta=1e4),
    "rms_norm_eps is 1e-06, the contract says 0.01": config(rms_norm_eps=1e-6),
    f"tensors missing: {BIAS}": weights(lambda s: s.pop(BIAS)),
    "tensors new: model.extra": weights(lambda s: s.update({"model.extra": torch.ones(1)})),
    "tensors changed: score.0.weight": weights(
        lambda s: s.update({"score.0.weight": s["score.0.weight"].T.contiguous()})
    ),
    "tensors changed: model.norm.weight": weights(lambda s: s["model.norm.weight"].neg_()),
    "dtype is float32, the contract says bfloat16": weights(
        lambda s: s.update({name: tensor.float() for name, tensor in s.items()})
    ),
    "head is none, the contract says mlp": weights(
        lambda s: [s.pop(name) for name in list(s) if name.startswith("score.")]
    ),
    "and [0-9]+ more": weights(lambda s: [tensor.neg_() for tensor in s.values()]),
}


@pytest.mark.parametrize("message", DIFFERS)
def test_differences_are_named(folder, message):
    """Each departure from the contract is an error at load that says what it is."""
    DIFFERS[message](folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        check(folder)
    assert str(folder) in str(caught.value)
    assert "worldpm model doctor" in str(caught.value)


def test_all_differences_at_once(folder):
    """The error is a list, not its first entry."""
    template(folder)
    config(rope_theta=1e4)(folder)
    with pytest.raises(CheckpointError, match=r"template is .*rope_theta is"):
        check(folder)


def test_resharding_keeps_the_contract(folder):
    """The same tensors in three files are the same checkpoint, to the full digest."""
    before = weights_sha256([folder / "model.safetensors"])
    weights(lambda state: None, shards=3)(folder)
    contract = check(folder)
    files = sorted(folder.glob("model-*.safetensors"))
    assert len(files) == 3
    assert contract.weights_sha256 == before == weights_sha256(files)


def test_language_head_is_no_part_of_the_contract(folder):
    """An output layer that is not read may come and go."""
    weights(lambda s: s.update({"lm_head.weight": torch.ones(4, 4)}))(folder)
    assert check(folder) is not None


def test_full_digest_sees_what_samples_miss(folder):
    """A value between the samples changes only the full digest; the samples see both edges."""
    name = "model.embed_tokens.weight"
    files = [folder / "model.safetensors"]
    sampled, full = fingerprints(files), weights_sha256(files)
    size = read_state(folder)[name].numel()

    def flip(place):
        return lambda state: state[name].view(-1)[place].neg_()

    weights(flip(size // 6))(folder)
    assert fingerprints(files) == sampled
    assert weights_sha256(files) != full
    for place in (0, -1):
        weights(flip(place))(folder)
        assert fingerprints(files)[name] != sampled[name]
        weights(flip(place))(folder)


def test_foreign_checkpoint(folder):
    """Without the file there is no contract and no error."""
    (folder / CONTRACT).unlink()
    assert check(folder) is None


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "not a contract"),
        ("[]", "not a contract"),
        ("{", "not a contract"),
        ('{"format": "worldpm-contract/2"}', "format"),
        (None, "golden.0.messages.0.role"),
    ],
)
def test_broken_contract(folder, text, where):
    """A file that is no contract is an error that names the file and the place in it."""
    path = folder / CONTRACT
    if text is None:
        edit(path, lambda value: value["golden"][0]["messages"][0].update(role="robot"))
    else:
        path.write_text(text)
    with pytest.raises(CheckpointError, match=where) as caught:
        check(folder)
    assert str(caught.value).startswith(f"{path}: not a contract")


def test_fields_of_another_version_are_not_held_against_it(folder):
    """A shape field that this version does not know is passed over; known ones still count."""
    edit(folder / CONTRACT, lambda value: value["facts"]["shape"].update(new_field=3))
    assert check(folder) is not None
    edit(folder / CONTRACT, lambda value: value["facts"]["shape"].update(head_dim=8))
    with pytest.raises(CheckpointError, match="head_dim is 16, the contract says 8"):
        check(folder)


def test_the_old_contract_goes_before_the_new_weights(folder, tokenizer, monkeypatch):
    """A save that fails on the way leaves no contract that speaks of other weights."""
    model = read_model(folder)

    def full(*args):
        raise WorldPMError("no space")

    monkeypatch.setattr(module, "write_atomic", full)
    with pytest.raises(WorldPMError, match="no space"):
        write_model(model, folder, tokenizer, dtype=torch.float32)
    assert not (folder / CONTRACT).exists()


def test_contract_is_plain_json(written):
    """Anybody can read it: numbers as numbers, text as text."""
    raw = orjson.loads((written / CONTRACT).read_bytes())
    assert raw["format"] == "worldpm-contract/1"
    assert raw["golden"][2]["messages"][0]["content"] == GOLDEN[2][0].content
    assert isinstance(raw["golden"][0]["score"], float)
