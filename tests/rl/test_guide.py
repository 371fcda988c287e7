"""The Python blocks of the guide to RL trainers run as they stand, but for address and models."""

import asyncio
import re
import runpy
from functools import partial
from pathlib import Path

import pytest
from live import live

PAGE = Path(__file__).parents[2] / "docs/guides/rl-trainers.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
OPENED = "<|im_start|>user\nWhy?<|im_end|>\n<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with live(tmp_path_factory.mktemp("guide")) as found:
        yield found


@pytest.fixture
def run(tmp_path):
    """Run a block as a file, each (old, new) put in; what it defines."""
    return partial(run_block, tmp_path / "block.py")


def run_block(path, block, *changes):
    for old, new in changes:
        assert old in block, f"the guide has no {old}"
        block = block.replace(old, new)
    path.write_text(block)
    return runpy.run_path(str(path))


def the_block(text):
    (found,) = [block for block in BLOCKS if text in block]
    return found


def address(server):
    return "http://127.0.0.1:8000", f"http://127.0.0.1:{server.port}"


def test_trl(run, server, policy, tmp_path):
    """The script trains its two steps with the server's rewards."""
    pytest.importorskip("trl")
    changes = [
        address(server), ("Qwen/Qwen2.5-0.5B-Instruct", str(policy)), ('"grpo"', f'"{tmp_path}"'),
        ("max_completion_length=64", "max_completion_length=6, use_cpu=True, bf16=False"),
    ]  # fmt: skip
    names = run(the_block("GRPOTrainer("), *changes)
    logs = [log for log in names["trainer"].state.log_history if "reward" in log]
    assert len(logs) >= 1
    assert names["trainer"].state.global_step == 2
    assert all(log["rewards/worldpm_reward/mean"] < 0 for log in logs)


def test_in_process(run, judge, capsys):
    """The function without a server gives two rewards."""
    run(the_block("worldpm.load("), ('"MODEL"', repr(str(judge))))
    first, second = map(float, capsys.readouterr().out.strip("[]\n").split(", "))
    assert first != second


def test_openrlhf(run, server):
    """The file defines the function that OpenRLHF looks for."""
    reward_func = run(the_block("openrlhf_reward("), address(server))["reward_func"]
    found = reward_func([f"{OPENED}So.<|im_end|>"], [OPENED], [""])
    assert found["rewards"] == found["scores"] == [-3.0]


def test_verl(run, server):
    """The file defines the function that the flags name."""
    compute_score = run(the_block("verl_compute_score("), address(server))["compute_score"]
    asked = compute_score(
        data_source="d", solution_str="So.", ground_truth="", extra_info={"prompt": "Why?"}
    )
    assert asyncio.run(asked) == -3.0
    assert "name=compute_score" in PAGE.read_text(encoding="utf-8")


def test_no_block_is_left_out():
    """Every Python block of the page is run by a test above."""
    assert len(BLOCKS) == 4
