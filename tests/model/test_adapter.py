"""LoRA adapters: peft reads ours, we read peft's, and both merge to the same weights."""

import json

import pytest
import torch
from checkpoints import read_state, write_layout
from safetensors.torch import load_file, save_file

from worldpm.errors import CheckpointError, WorldPMError
from worldpm.model import checkpoint
from worldpm.model.adapter import CONFIG, WEIGHTS, Adapter, read_adapter, write_adapter
from worldpm.model.checkpoint import iter_tensors

MODULES = [
    f"model.layers.1.{name}"
    for name in ("self_attn.q_proj", "self_attn.v_proj", "mlp.gate_proj", "mlp.down_proj")
]


@pytest.fixture
def base(tmp_path):
    return write_layout(tmp_path / "base", "LlamaForSequenceClassification", seed=1)


@pytest.fixture
def adapter(base):
    """Random factors on a part of the last layer, and a new head."""
    generator = torch.Generator().manual_seed(0)
    state = read_state(base)
    factors = {}
    for module in MODULES:
        rows, columns = state[f"{module}.weight"].shape
        factors[module] = (
            torch.randn(4, columns, generator=generator) / 8,
            torch.randn(rows, 4, generator=generator) / 8,
        )
    head = {"score.weight": torch.randn(1, 64, generator=generator)}
    return Adapter(factors, head, rank=4, alpha=6.0)


def change_config(folder, **changes):
    path = folder / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_round_trip(adapter, tmp_path):
    """What is written is read back to the same bits."""
    write_adapter(adapter, tmp_path / "a", "base")
    again = read_adapter(tmp_path / "a")
    assert (again.rank, again.alpha) == (4, 6.0)
    assert again.factors.keys() == adapter.factors.keys()
    for module, (down, up) in adapter.factors.items():
        assert torch.equal(again.factors[module][0], down)
        assert torch.equal(again.factors[module][1], up)
    assert torch.equal(again.head["score.weight"], adapter.head["score.weight"])


def test_merge_by_hand():
    """W + (alpha / r) B A, in the dtype of W; other tensors pass; the head is replaced."""
    factors = {"m": (torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0], [4.0]]))}
    merged = Adapter(factors, {"score.weight": torch.ones(1)}, rank=1, alpha=0.5).merge(
        iter(
            [
                ("m.weight", torch.ones(2, 2, dtype=torch.bfloat16)),
                ("m.bias", torch.ones(2)),
                ("score.weight", torch.zeros(1)),
            ]
        )
    )
    assert merged["m.weight"].tolist() == [[2.5, 4.0], [3.0, 5.0]]
    assert merged["m.weight"].dtype == torch.bfloat16
    assert merged["m.bias"].tolist() == [1, 1]
    assert merged["score.weight"].tolist() == [1]


def test_peft_loads_it_and_merges_to_the_same(adapter, base, tmp_path):
    """peft takes the folder as its own; its merge_and_unload gives the tensors of our merge."""
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForSequenceClassification

    write_adapter(adapter, tmp_path / "a", "base")
    model = AutoModelForSequenceClassification.from_pretrained(base)
    wrapped = peft.PeftModel.from_pretrained(model, tmp_path / "a")
    adapted = {
        name.removeprefix("base_model.model.").split(".lora_A")[0]
        for name, _ in wrapped.named_parameters()
        if ".lora_A." in name
    }
    assert adapted == set(MODULES)
    theirs = wrapped.merge_and_unload().state_dict()
    ours = adapter.merge(iter_tensors(base))
    assert ours.keys() == theirs.keys()
    before = read_state(base)
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], atol=1e-6, rtol=1e-6)
        changed = name.removesuffix(".weight") in MODULES or name == "score.weight"
        assert torch.equal(tensor, before[name]) != changed, name


def test_reads_what_peft_writes(base, tmp_path):
    """An adapter that peft made and saved merges as peft merges it."""
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(3)
    config = peft.LoraConfig(
        task_type="SEQ_CLS", r=3, lora_alpha=5, target_modules=["q_proj", "up_proj"],
        modules_to_save=["score"], init_lora_weights=False,
    )  # fmt: skip
    model = peft.get_peft_model(AutoModelForSequenceClassification.from_pretrained(base), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "modules_to_save" in name:
                parameter.mul_(-2)
    model.save_pretrained(tmp_path / "theirs")
    ours = read_adapter(tmp_path / "theirs").merge(iter_tensors(base))
    for name, tensor in model.merge_and_unload().state_dict().items():
        torch.testing.assert_close(ours[name], tensor, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"peft_type": "IA3"},
        {"use_dora": True},
        {"use_rslora": True},
        {"fan_in_fan_out": True},
        {"rank_pattern": {"q_proj": 8}},
        {"alpha_pattern": {"q_proj": 8}},
        {"bias": "all"},
        {"r": None},
        {"lora_alpha": "much"},
        {"r": 5},
    ],
)
def test_other_kinds_of_adapters_are_refused(adapter, tmp_path, changes):
    """What is not plain LoRA would merge to something else, and is an error instead."""
    write_adapter(adapter, tmp_path / "a", "base")
    change_config(tmp_path / "a", **changes)
    with pytest.raises(CheckpointError, match=r"only plain LoRA|r or lora_alpha|factors of rank"):
        read_adapter(tmp_path / "a")


DOWN, UP = (f"base_model.model.{MODULES[0]}.lora_{side}.weight" for side in "AB")
DAMAGE = {
    "no factors of rank": lambda s: s.pop(UP),
    "neither a factor nor the head": lambda s: s.pop(DOWN),
    "model.layers.0.extra is neither": lambda s: s.update(
        {"base_model.model.model.layers.0.extra": torch.ones(1)}
    ),
    "no score head": lambda s: s.pop("base_model.model.score.weight"),
    "not finite": lambda s: s[UP].__setitem__((0, 0), float("nan")),
}


@pytest.mark.parametrize("message", DAMAGE)
def test_damaged_adapters(adapter, tmp_path, message):
    """A missing factor or head, an unknown tensor or a NaN is an error that names it."""
    write_adapter(adapter, tmp_path, "base")
    tensors = load_file(tmp_path / WEIGHTS)
    DAMAGE[message](tensors)
    save_file(tensors, tmp_path / WEIGHTS)
    with pytest.raises(CheckpointError, match=message):
        read_adapter(tmp_path)


def test_files_that_cannot_be_read(adapter, tmp_path):
    """A missing or cut file is named."""
    with pytest.raises(
        CheckpointError, match=r"adapter_config\.json: cannot be read: No such file"
    ):
        read_adapter(tmp_path)
    write_adapter(adapter, tmp_path, "base")
    (tmp_path / WEIGHTS).write_bytes((tmp_path / WEIGHTS).read_bytes()[:-9])
    with pytest.raises(CheckpointError, match=r"adapter_model\.safetensors: cannot be read"):
        read_adapter(tmp_path)


@pytest.mark.parametrize("side", ["A", "B"])
@pytest.mark.parametrize("shape", [(), (4,), (4, 4, 4), (3, 64), (64, 3)])
def test_factors_of_no_matrix(adapter, tmp_path, side, shape):
    """Factors that are no matrices of the rank are named, whatever their dimensions."""
    write_adapter(adapter, tmp_path, "base")
    state = load_file(tmp_path / WEIGHTS)
    state[f"base_model.model.{MODULES[0]}.lora_{side}.weight"] = torch.ones(shape)
    save_file(state, tmp_path / WEIGHTS)
    with pytest.raises(CheckpointError, match=f"{MODULES[0]} has no factors of rank 4"):
        read_adapter(tmp_path)


@pytest.mark.parametrize("rank", [0, -4])
def test_a_rank_that_is_none(adapter, tmp_path, rank):
    """The factors' product is divided by the rank: one below 1 is refused when it is read."""
    write_adapter(adapter, tmp_path, "base")
    change_config(tmp_path, r=rank)
    with pytest.raises(CheckpointError, match="r must be over 0"):
        read_adapter(tmp_path)


def test_an_adapter_of_another_base(adapter, base, tmp_path):
    """Factors for a module or shape that the base does not have are refused, not dropped."""
    other = write_layout(tmp_path / "one", "LlamaForSequenceClassification", num_hidden_layers=1)
    with pytest.raises(CheckpointError, match=r"changes model\.layers\.1\..*base does not have"):
        adapter.merge(iter_tensors(other))
    wide = write_layout(tmp_path / "w", "LlamaForSequenceClassification", intermediate_size=96)
    with pytest.raises(CheckpointError, match="another base"):
        adapter.merge(iter_tensors(wide))


def test_full_disk(adapter, tmp_path, monkeypatch):
    """A disk that fills up is said in one sentence, and leaves no config."""

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(WorldPMError, match="No space left"):
        write_adapter(adapter, tmp_path / "a", "base")
    assert not (tmp_path / "a" / CONFIG).exists()
