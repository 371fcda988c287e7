"""Faults in files: pickles by content, indexes and shards that do not fit, values, shapes."""

import os
import zipfile

import orjson
import pytest
import torch
from checkpoints import LAYOUTS, read_state, write_layout, write_shards
from safetensors.torch import save_file

from worldpm.model.checkpoint import read_config
from worldpm.model.faults import check_files, check_weights, is_pickle, some
from worldpm.model.fingerprint import stored_tensors

LAYOUT = "LlamaForSequenceClassification"


@pytest.fixture
def sharded(tmp_path):
    return write_layout(tmp_path / "m", LAYOUT, shards=2, seed=4)


def said(checks, state="fail"):
    return [f"{c.name}: {c.found}" for c in checks if c.state == state]


def weights_said(folder, state="fail", *, complete=True):
    _, files = check_files(folder)
    checks = check_weights(stored_tensors(files), read_config(folder), complete=complete)
    return said(checks, state)


def change_index(folder, change):
    path = folder / "model.safetensors.index.json"
    index = orjson.loads(path.read_bytes())
    change(index)
    path.write_bytes(orjson.dumps(index))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_whole_checkpoint_has_none(layout, tmp_path):
    """Every released layout passes, whole and in shards, and its values are counted."""
    for shards in (1, 3):
        folder = write_layout(tmp_path / f"{shards}", layout, shards=shards)
        checks, files = check_files(folder)
        assert said(checks) == said(checks, "warn") == []
        assert len(files) == shards
        count = sum(t.numel() for n, t in read_state(folder).items() if "lm_head" not in n)
        assert weights_said(folder) == []
        assert f"values: {count:,}, all finite" in weights_said(folder, "ok")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i.pop("weight_map"), "has no weight_map"),
        (lambda i: i.update(weight_map=[]), "has no weight_map"),
        (lambda i: i["weight_map"].update(x="../model.safetensors"), "outside of the folder"),
        (lambda i: i["weight_map"].update(x="other.bin"), "which is no safetensors file"),
        (lambda i: i["weight_map"].update(x=7), "names 7, which is no safetensors file"),
        (lambda i: i["weight_map"].update(x="a.safetensors"), "which is not there"),
    ],
)
def test_an_index_that_lies(sharded, change, message):
    """What an index may not name is a complaint; the files that are well are still looked at."""
    change_index(sharded, change)
    checks, files = check_files(sharded)
    (found,) = said(checks)
    assert message in found
    assert len(files) == (0 if "weight_map" in message else 2)


def test_a_tensor_put_into_the_wrong_shard(sharded):
    """An index that points to a file without that tensor is not taken for complete."""
    first, second = sorted(path.name for path in sharded.glob("*.safetensors"))

    def swap(index):
        names = index["weight_map"]
        names.update({name: second for name, file in list(names.items()) if file == first}, y=first)

    change_index(sharded, swap)
    (found,) = said(check_files(sharded)[0])
    assert "into files that do not hold them" in found
    assert "and " in found  # only the first few are named


def test_no_weights_at_all(tmp_path):
    """A folder without safetensors says what it lacks."""
    checks, files = check_files(tmp_path)
    assert files == []
    assert said(checks) == ["weights: no model.safetensors and no model.safetensors.index.json"]


@pytest.mark.parametrize("complete", [True, False])
def test_what_is_missing_is_only_sure_when_all_was_read(sharded, complete):
    """With a shard that cannot be read, absent tensors and head are not called missing."""
    state = read_state(sharded)
    del state["score.weight"], state["model.layers.0.mlp.up_proj.bias"]
    for path in sharded.glob("model*"):
        path.unlink()
    write_shards(sharded, state, 1)
    found = weights_said(sharded, complete=complete)
    if complete:
        assert any("no scalar head" in text for text in found)
        assert "names: missing: model.layers.0.mlp.up_proj.bias" in found
    else:
        assert found == []


@pytest.mark.parametrize("kind", [torch.int64, torch.uint8, torch.bool])
def test_numbers_of_a_wrong_kind(tmp_path, kind):
    """Tensors that are not floats are named by kind, and nothing is claimed of their values."""
    folder = write_layout(tmp_path / "m", LAYOUT)
    state = read_state(folder)
    state["model.norm.weight"] = torch.ones(64, dtype=kind)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (found,) = weights_said(folder)
    assert "in model.norm.weight" in found
    assert not any("all finite" in text for text in weights_said(folder, "ok"))


def test_bad_values_are_counted_by_file(sharded):
    """Of several bad tensors each is named with how many of its values are bad."""
    state = read_state(sharded)
    state["model.norm.weight"][:3] = float("inf")
    state["score.weight"][0, 5] = float("nan")
    for path in sharded.glob("model*"):
        path.unlink()
    write_shards(sharded, state, 2)
    (found,) = weights_said(sharded)
    assert "(3 of 64)" in found
    assert "(1 of 64)" in found


def test_some_names_and_the_rest_counted():
    """Four names at most; what is left out is counted."""
    assert some(list("abcd")) == "a, b, c, d"
    assert some(list("abcdef")) == "a, b, c, d and 2 more"


def test_what_cannot_be_opened_is_no_pickle(tmp_path, monkeypatch):
    """A file that cannot be read is not judged by its content, but still by its name."""
    (tmp_path / "a.dat").write_bytes(b"\x80\x04K\x01.")
    assert is_pickle(tmp_path / "a.dat")
    assert not is_pickle(tmp_path / "gone.dat")
    assert is_pickle(tmp_path / "gone.BIN")


def test_a_broken_archive_is_no_pickle(tmp_path):
    """An archive cut short, which nothing could load, does not end the doctor."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", "x" * 100)
    assert is_pickle(path)
    data = path.read_bytes()
    at = data.index(b"PK\x01\x02")  # the directory's entry
    path.write_bytes(data[:at] + b"XX" + data[at + 2 :])
    assert not is_pickle(path)


def test_pickles_by_content(tmp_path):
    """Old and new protocols, archives that hold one; not safetensors, JSON, text or a plain zip."""
    import pickle as library

    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    yes, no = [], []
    for protocol in range(6):
        path = tmp_path / f"p{protocol}"
        path.write_bytes(library.dumps([{"a": Payload()}, 1.5], protocol))
        yes.append(path)
    torch.save([1], tmp_path / "new")
    torch.save([1], tmp_path / "old", _use_new_zipfile_serialization=False)
    yes += [tmp_path / "new", tmp_path / "old"]
    with zipfile.ZipFile(tmp_path / "plain", "w") as archive:
        archive.writestr("a.txt", "text")
    # A header of 640 bytes begins as a pickle of protocol 2 does.
    (tmp_path / "header").write_bytes((640).to_bytes(8, "little") + b"{" + b" " * 700)
    (tmp_path / "text").write_text("A sentence that ends as old pickles do.")
    (tmp_path / "json").write_text('{"a": 1}')
    (tmp_path / "empty").write_text("")
    no += [tmp_path / name for name in ("plain", "header", "text", "json", "empty")]
    assert [path.name for path in yes if not is_pickle(path)] == []
    assert [path.name for path in no if is_pickle(path)] == []
    assert not (tmp_path / "ran").exists()
