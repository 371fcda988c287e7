"""config.json -> ModelConfig: what each family means, and what is refused."""

import pytest
import torch
from checkpoints import LAYOUTS, hf_model

from worldpm.errors import CheckpointError
from worldpm.model.config import hf_config, parse_config
from worldpm.model.decoder import Decoder

RAW = {
    "model_type": "qwen2",
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 88,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def parse(**changes):
    return parse_config({**RAW, **changes}, "FOLDER/config.json")


def test_families():
    """Qwen2 has biases on queries, keys and values; Qwen3 norms of queries and keys; Llama none."""
    qwen2, qwen3, llama = (parse(model_type=name) for name in ("qwen2", "qwen3", "llama"))
    assert (qwen2.qkv_bias, qwen2.o_bias, qwen2.mlp_bias, qwen2.qk_norm) == (
        True,
        False,
        False,
        False,
    )
    assert (qwen3.qkv_bias, qwen3.o_bias, qwen3.mlp_bias, qwen3.qk_norm) == (
        False,
        False,
        False,
        True,
    )
    assert (llama.qkv_bias, llama.o_bias, llama.mlp_bias, llama.qk_norm) == (False,) * 4
    biased = parse(model_type="llama", attention_bias=True, mlp_bias=True)
    assert (biased.qkv_bias, biased.o_bias, biased.mlp_bias) == (True, True, True)
    assert parse(mlp_bias=True).mlp_bias is False  # Qwen2 has no such setting and ignores it


def test_defaults_are_the_families_own():
    """What a config.json leaves out is what transformers takes for it."""
    assert parse().head_dim == 16
    assert parse(model_type="qwen3").head_dim == 128
    assert parse(num_key_value_heads=None).num_key_value_heads == 4
    assert (parse().rms_norm_eps, parse().rope_theta) == (1e-6, 10_000.0)
    assert parse().max_position_embeddings == 32_768
    assert parse(model_type="llama").max_position_embeddings == 2048


def test_rotary_base_in_old_and_new_files():
    """The base stands in rope_theta in older files and in rope_parameters in newer ones."""
    assert parse(rope_theta=1e6).rope_theta == 1e6
    assert parse(rope_parameters={"rope_type": "default", "rope_theta": 1e6}).rope_theta == 1e6
    assert parse(rope_theta=1e6, rope_scaling={"type": "default"}).rope_theta == 1e6
    assert parse(rope_theta=1e6, rope_scaling=None).rope_theta == 1e6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "mamba"}, "'mamba' is not supported; supported are qwen2, qwen3, llama"),
        ({"model_type": None}, "model_type None"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "full attention only"),
        ({"rope_scaling": {"type": "yarn", "factor": 4.0}}, "rotary scaling 'yarn'"),
        ({"rope_parameters": {"rope_type": "llama3"}}, "rotary scaling 'llama3'"),
        ({"rope_parameters": {"full_attention": {"rope_theta": 1e6}}}, "each kind of layer"),
        ({"rope_scaling": "yarn"}, "rotary settings"),
        ({"hidden_size": "wide"}, "not of its kind"),
        ({"vocab_size": [1]}, "not of its kind"),
        ({"num_attention_heads": 0}, "not of its kind"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be over 0, not 0"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers is over 1024"),
        ({"rms_norm_eps": -1.0}, "rms_norm_eps must be over 0"),
        ({"num_key_value_heads": 3}, "not a multiple"),
        ({"head_dim": 15}, "head_dim 15 is odd"),
        ({"layer_types": 5}, "full attention only"),
        ({"layer_types": "full_attention"}, "full attention only"),
        ({"layer_types": [["full_attention"]]}, "full attention only"),
        ({"hidden_size": float("inf")}, "not of its kind"),
        ({"rope_theta": None}, "not of its kind"),
    ],
)
def test_refusals_name_the_field(changes, message):
    """A setting that would change the computation is an error naming file and field."""
    with pytest.raises(CheckpointError) as caught:
        parse(**changes)
    assert str(caught.value).startswith("FOLDER/config.json: ")
    assert message in str(caught.value)


def test_layers_of_full_attention_are_what_we_have():
    """Newer files name the kind of every layer; all of them full is the plain case."""
    assert parse(layer_types=["full_attention"] * 2) == parse(layer_types=None) == parse()


@pytest.mark.parametrize("field", [key for key in RAW if key != "num_key_value_heads"])
def test_missing_fields(field):
    """A missing field is named."""
    with pytest.raises(CheckpointError, match=field):
        parse_config({key: value for key, value in RAW.items() if key != field}, "c")


def test_only_allowed_fields_are_read():
    """Fields that could make a loader run code, and unknown ones, change nothing."""
    hostile = {
        "auto_map": {"AutoModel": "evil.Model"},
        "_attn_implementation_internal": "somebody/kernel",
        "custom_pipelines": {"x": {}},
        "_target_": "os.system",
        "torch_dtype": "bfloat16",
    }
    assert parse(**hostile) == parse()
    assert set(hf_config(parse(**hostile))).isdisjoint(hostile)


@pytest.mark.parametrize("changes", [{}, {"attention_bias": True}], ids=["", "biased"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_reads_what_transformers_writes(layout, changes):
    """A config written by transformers gives a decoder with the same tensors as its model's."""
    config, model = hf_model(layout, **changes)
    ours = parse_config(config.to_dict(), "c")
    assert (ours.rms_norm_eps, ours.rope_theta) == (1e-2, LAYOUTS[layout][1]["rope_theta"])
    with torch.device("meta"):
        decoder = Decoder(ours)
    theirs = {name: tensor.shape for name, tensor in model.model.state_dict().items()}
    assert {name: tensor.shape for name, tensor in decoder.state_dict().items()} == theirs


@pytest.mark.parametrize("layout", LAYOUTS)
def test_num_parameters(layout):
    """N is what a real model holds, embeddings and head left out."""
    config, model = hf_model(layout)
    counted = sum(p.numel() for p in model.model.parameters())
    counted -= model.model.embed_tokens.weight.numel()
    assert parse_config(config.to_dict(), "c").num_parameters() == counted


@pytest.mark.parametrize("layout", LAYOUTS)
def test_written_config_reads_back_the_same(layout):
    """parse_config undoes hf_config."""
    ours = parse_config(hf_model(layout)[0].to_dict(), "c")
    assert parse_config(hf_config(ours), "c") == ours
