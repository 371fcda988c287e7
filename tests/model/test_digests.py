"""What makes two checkpoints, two jobs or two scores the same: digests, and what moves them."""

import hashlib
import json
import os
import shutil

import pytest
import torch
from checkpoints import read_state, write_layout, write_shards
from safetensors.torch import save_file
from tiny import small_model

from worldpm.errors import CheckpointError
from worldpm.model.batch import collate
from worldpm.model.checkpoint import weight_files
from worldpm.model.digest import score_digest
from worldpm.model.engine import TorchEngine
from worldpm.model.fingerprint import (
    NUM_SAMPLES,
    SAMPLE_BYTES,
    fingerprints,
    read_header,
    stored_tensors,
    weights_sha256,
)
from worldpm.model.identity import batches_digest, job_identity, weights_fingerprint
from worldpm.model.weights import Weights
from worldpm.tokens.encode import Encoder
from worldpm.tokens.tree import build_tree

BIG, SMALL = "model.embed_tokens.weight", "model.norm.weight"
TREE = build_tree([[3, 4, 5], [3, 4, 9, 9]])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return write_layout(tmp_path_factory.mktemp("m") / "m", "LlamaForSequenceClassification")


@pytest.fixture
def folder(source, tmp_path):
    return shutil.copytree(source, tmp_path / "m")


def rewrite(folder, change, shards=1):
    state = read_state(folder)
    change(state)
    for path in folder.glob("model*"):
        path.unlink()
    write_shards(folder, state, shards)


def digests(folder):
    files = weight_files(folder)
    return fingerprints(files), weights_sha256(files)


def test_a_fingerprint_is_what_it_says(folder):
    """Of a small tensor the hash of type, shape and every byte, by hand."""
    tensor = read_state(folder)[SMALL]
    wanted = hashlib.sha256(b"F32 (64,)" + tensor.numpy().tobytes()).hexdigest()[:16]
    assert digests(folder)[0][SMALL] == wanted


@pytest.mark.parametrize("place", [0, -1])
def test_first_and_last_values_are_sampled(folder, place):
    """A large tensor's fingerprint changes with its first or its last value, and only its own."""
    before, whole = digests(folder)
    rewrite(folder, lambda state: state[BIG].view(-1)[place].add_(1))
    after, whole_after = digests(folder)
    assert {name for name in before if before[name] != after[name]} == {BIG}
    assert whole_after != whole


def test_between_the_samples_only_the_full_digest_sees(folder):
    """A value that no sample covers moves the digest of every byte and no fingerprint."""
    count = read_state(folder)[BIG].numel()
    starts = [i * (4 * count - SAMPLE_BYTES) // (NUM_SAMPLES - 1) for i in range(NUM_SAMPLES)]
    hidden = (starts[1] + SAMPLE_BYTES) // 4 + 1
    assert starts[1] + SAMPLE_BYTES < 4 * hidden < starts[2]
    before, whole = digests(folder)
    rewrite(folder, lambda state: state[BIG].view(-1)[hidden].add_(1))
    assert digests(folder)[0] == before
    assert digests(folder)[1] != whole


def test_a_shape_or_a_type_is_another_tensor(folder):
    """The same bytes read as another shape or type have another digest."""
    before = digests(folder)[0][BIG]
    rewrite(folder, lambda state: state.update({BIG: state[BIG].view(64, 320)}))
    turned = digests(folder)[0][BIG]
    rewrite(folder, lambda state: state.update({BIG: state[BIG].view(torch.int32)}))
    assert len({before, turned, digests(folder)[0][BIG]}) == 3


def test_shards_and_a_language_head_are_no_difference(folder):
    """Both digests go by tensor, without what is never read."""
    before = digests(folder)
    rewrite(folder, lambda state: state.update({"lm_head.weight": torch.ones(3)}), shards=3)
    assert digests(folder) == before
    assert "lm_head.weight" not in stored_tensors(weight_files(folder))
    assert any("lm_head.weight" in read_header(path) for path in weight_files(folder))


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff" * 16, (9**9).to_bytes(8, "little") + b"{"])
def test_damaged_headers(tmp_path, data):
    """What is no safetensors file is named."""
    (tmp_path / "x.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"x\.safetensors: damaged or cut short"):
        read_header(tmp_path / "x.safetensors")


def test_a_file_that_shrinks_while_it_is_read(folder, monkeypatch):
    """A file cut after its header was read is an error, not the digest of what is left."""
    (path,) = weight_files(folder)
    places = stored_tensors([path])
    os.truncate(path, path.stat().st_size - 100)
    monkeypatch.setattr("worldpm.model.fingerprint.stored_tensors", lambda files: places)
    with pytest.raises(CheckpointError, match="became shorter"):
        weights_sha256([path])


def test_scores_depend_on_all_that_is_digested(tmp_path):
    """Weights, template, shape and settings each move it; a copy elsewhere and a pad id do not."""
    model = small_model(tmp_path / "m")

    def digest(folder=model, **settings):
        encoder = Encoder.from_folder(folder)
        return score_digest(folder, encoder, **({"engine": "torch"} | settings))

    def changed(name, change):
        copy = shutil.copytree(model, tmp_path / name)
        change(copy)
        return digest(copy)

    def config(**fields):
        def change(folder):
            path = folder / "config.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | fields))

        return change

    def template(folder):
        path = folder / "chat_template.jinja"
        path.write_text(path.read_text().replace("'\\n'", "'\\n\\n'", 1) + " ")

    def head(folder):
        state = read_state(folder)
        state["score.weight"][0, 0] += 1
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})

    same = digest()
    assert len(same) == 40
    assert changed("copy", lambda folder: None) == same
    assert changed("pad", config(pad_token_id=0)) == same
    others = {
        changed("rope", config(rope_theta=5.0)), changed("template", template),
        changed("head", head), digest(engine="native"), digest(engine="torch", dtype="bfloat16"),
    }  # fmt: skip
    assert len(others) == 5
    assert same not in others


def test_a_jobs_batches(folder):
    """Tokens, positions, layout and order each make another job; the same trees do not."""
    trees = [TREE, build_tree([[3, 4, 5], [3, 4, 9, 8]]), build_tree([[3, 4, 5, 9, 9]])]
    jobs = [[collate([tree])] for tree in trees]
    jobs += [[*jobs[0], *jobs[1]], [*jobs[1], *jobs[0]], [collate(trees[:2])], []]
    found = [batches_digest(job) for job in jobs]
    assert len(set(found)) == len(jobs)
    assert batches_digest([collate([TREE])]) == found[0]


def test_a_jobs_model(folder):
    """Shape, file times and the first bytes of each tensor; not where the folder is."""
    weights = Weights(folder)

    def fingerprint(folder):
        return weights_fingerprint(Weights(folder))

    before = fingerprint(folder)
    moved = shutil.copytree(folder, folder.with_name("moved"))
    assert fingerprint(moved) == before
    os.utime(moved / "model.safetensors", ns=(1, 1))
    assert fingerprint(moved) != before
    identity = job_identity(weights, TorchEngine(weights.config, "float32"), [])
    assert identity["threads"] == torch.get_num_threads()  # torch's bits depend on them
    assert identity["model"] == before
