"""A tiny policy that trainers can train, and a tiny model that judges it."""

import json

import pytest
from tiny import small_model, tiny_base


@pytest.fixture(scope="session")
def policy(tmp_path_factory):
    """The folder of a causal language model of 64 dimensions."""
    folder = tiny_base(tmp_path_factory.mktemp("policy") / "model")
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = ["LlamaForCausalLM"]
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session")
def judge(tmp_path_factory):
    """The folder of a preference model."""
    return small_model(tmp_path_factory.mktemp("judge") / "model")


@pytest.fixture(autouse=True)
def no_hub(monkeypatch):
    """Unless told not to, TRL and transformers look models up on the hub and report their use."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY", True)
