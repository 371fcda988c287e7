"""A checkpoint's config.json -> `ModelConfig`, through a list of the fields we allow.

    {"model_type": "qwen2", "hidden_size": 896, ...} -> ModelConfig(hidden_size=896, ...)

Fields that change the computation in a way we do not have are an error, never ignored; fields
that could make a loader run code (`auto_map`, quantisation hooks, attention kernels) are not read.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from worldpm.errors import CheckpointError

POSITIONS = {"qwen2": 32768, "qwen3": 32768, "llama": 2048}  # where config.json names none
FAMILIES = tuple(POSITIONS)
MAX_LAYERS = 1024  # the largest released models have 126; a damaged number must not fill memory


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The shape of a decoder; field names as in Hugging Face's config.json."""

    model_type: str
    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    rms_norm_eps: float
    rope_theta: float
    qkv_bias: bool
    o_bias: bool
    mlp_bias: bool
    qk_norm: bool
    max_position_embeddings: int

    @property
    def query_channels(self) -> int:
        """Channels of a token's queries, all heads together."""
        return self.num_attention_heads * self.head_dim

    @property
    def key_channels(self) -> int:
        """Channels of a token's keys, and of its values, all heads together."""
        return self.num_key_value_heads * self.head_dim

    def layer_matrices(self) -> dict[str, tuple[int, int]]:
        """A layer's matrices by name: channels in, channels out."""
        hidden, inner = self.hidden_size, self.intermediate_size
        return {
            "q_proj": (hidden, self.query_channels),
            "k_proj": (hidden, self.key_channels),
            "v_proj": (hidden, self.key_channels),
            "o_proj": (self.query_channels, hidden),
            "gate_proj": (hidden, inner),
            "up_proj": (hidden, inner),
            "down_proj": (inner, hidden),
        }

    def layer_parameters(self) -> int:
        """Parameters of one layer: matrices, biases and norms."""
        hidden, inner = self.hidden_size, self.intermediate_size
        layer = sum(a * b for a, b in self.layer_matrices().values()) + 2 * hidden
        layer += (self.query_channels + 2 * self.key_channels) * self.qkv_bias
        layer += hidden * self.o_bias + (2 * inner + hidden) * self.mlp_bias
        return layer + 2 * self.head_dim * self.qk_norm

    def num_parameters(self) -> int:
        """Parameters of the decoder without embeddings and head (N of the scaling laws)."""
        return self.layer_parameters() * self.num_hidden_layers + self.hidden_size


def parse_config(raw: Mapping[str, Any], where: str) -> ModelConfig:
    """Read the allow-listed fields of a config.json.

    Raises CheckpointError, naming `where` and the field, for a model family, activation, rotary
    scaling or attention window that the decoder does not have, and for missing fields.
    """
    family = raw.get("model_type")
    if family not in FAMILIES:
        raise CheckpointError(
            f"{where}: model_type {family!r} is not supported; supported are {', '.join(FAMILIES)}"
        )
    if raw.get("quantization_config"):
        raise CheckpointError(f"{where}: quantised weights are not supported; give bf16 or float32")
    if raw.get("hidden_act", "silu") != "silu":
        raise CheckpointError(f"{where}: hidden_act {raw['hidden_act']!r} is not supported (silu)")
    layer_types = raw.get("layer_types") or []
    full = isinstance(layer_types, list) and set(map(str, layer_types)) <= {"full_attention"}
    if raw.get("use_sliding_window") or not full:
        raise CheckpointError(f"{where}: use_sliding_window is not supported (full attention only)")
    rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    if not isinstance(rope, Mapping) or any(isinstance(value, Mapping) for value in rope.values()):
        raise CheckpointError(f"{where}: rotary settings for each kind of layer are not supported")
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise CheckpointError(f"{where}: rotary scaling {kind!r} is not supported (default only)")
    theta = rope.get("rope_theta", raw.get("rope_theta", 10_000.0))
    try:
        heads = int(raw["num_attention_heads"])
        # A config.json may leave out what equals its family's default: 128 in Qwen3.
        head_dim = 128 if family == "qwen3" else int(raw["hidden_size"]) // heads
        config = ModelConfig(
            model_type=family,
            vocab_size=int(raw["vocab_size"]),
            hidden_size=int(raw["hidden_size"]),
            intermediate_size=int(raw["intermediate_size"]),
            num_hidden_layers=int(raw["num_hidden_layers"]),
            num_attention_heads=heads,
            num_key_value_heads=int(raw.get("num_key_value_heads") or heads),
            head_dim=int(raw.get("head_dim") or head_dim),
            rms_norm_eps=float(raw.get("rms_norm_eps", 1e-6)),
            rope_theta=float(theta),
            qkv_bias=family == "qwen2" or bool(raw.get("attention_bias", False)),
            o_bias=family != "qwen2" and bool(raw.get("attention_bias", False)),
            mlp_bias=family == "llama" and bool(raw.get("mlp_bias", False)),
            qk_norm=family == "qwen3",
            max_position_embeddings=int(raw.get("max_position_embeddings", POSITIONS[family])),
        )
    except KeyError as error:
        raise CheckpointError(f"{where}: the field {error.args[0]!r} is missing") from None
    except (TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise CheckpointError(f"{where}: a field is not of its kind: {error}") from None
    for name, value in asdict(config).items():
        if not isinstance(value, str | bool) and value <= 0:
            raise CheckpointError(f"{where}: {name} must be over 0, not {value}")
    if config.num_hidden_layers > MAX_LAYERS:
        raise CheckpointError(f"{where}: num_hidden_layers is over {MAX_LAYERS}")
    if config.head_dim % 2:
        raise CheckpointError(
            f"{where}: head_dim {config.head_dim} is odd; rotary halves need even"
        )
    if config.num_attention_heads % config.num_key_value_heads:
        raise CheckpointError(f"{where}: attention heads are not a multiple of key-value heads")
    return config


def hf_config(config: ModelConfig) -> dict[str, Any]:
    """The config.json fields of a checkpoint we write, in Hugging Face's names."""
    fields = asdict(config)
    for ours in ("qkv_bias", "o_bias", "qk_norm"):
        fields.pop(ours)
    if config.model_type != "qwen2":
        fields["attention_bias"] = config.qkv_bias
    if config.model_type != "llama":
        fields.pop("mlp_bias")
    return {**fields, "hidden_act": "silu", "tie_word_embeddings": True}
