"""TRL's own GRPOTrainer trains a tiny policy for two steps with our rewards."""

import math
import subprocess
import sys
from contextlib import contextmanager

import pytest
from live import Live, free_port, wait_ready

import worldpm
from worldpm.errors import DataError, ServiceError
from worldpm.rl import remote, trl_reward

trl = pytest.importorskip("trl")
PROMPTS = [[{"role": "user", "content": text}] for text in ("the cat", "red hills")] * 4


def train(policy, reward, out):
    """(all that the reward function was asked and said, what the trainer logged)."""
    from datasets import Dataset

    calls = []

    def worldpm_reward(prompts, completions, **kwargs):
        found = reward(prompts=prompts, completions=completions, **kwargs)
        calls.append((prompts, completions, found))
        return found

    args = trl.GRPOConfig(
        output_dir=str(out), max_steps=2, per_device_train_batch_size=4, num_generations=4,
        max_completion_length=6, use_cpu=True, bf16=False, report_to="none", logging_steps=1,
        save_strategy="no", seed=1, disable_tqdm=True, temperature=4.0,
    )  # fmt: skip
    data = Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS])
    trainer = trl.GRPOTrainer(
        model=str(policy), reward_funcs=worldpm_reward, args=args, train_dataset=data
    )
    trainer.train()
    return calls, [log for log in trainer.state.log_history if "reward" in log]


@contextmanager
def serving(model, folder):
    """`worldpm serve` with a checkpoint, as a user starts it."""
    port, log = free_port(), folder / "log"
    command = [sys.executable, "-m", "worldpm", "serve", "-m", str(model), "--port", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen([*command, "--threads", "1"], stdout=file, stderr=file)
    server = Live(port, process, log)
    try:
        wait_ready(server, seconds=120)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def test_two_steps_with_a_scorer_and_by_http(policy, judge, tmp_path):
    """Both ways train; the trainer's mean is that of our rewards, and the two agree to the bit."""
    scorer = worldpm.load(judge, threads=1)
    calls, logs = train(policy, trl_reward(scorer.score), tmp_path / "a")
    assert [log["step"] for log in logs] == [1, 2]
    assert max(len(set(found)) for _, _, found in calls) > 1
    for (_, _, found), log in zip(calls, logs, strict=True):
        assert len(found) == 4
        assert log["rewards/worldpm_reward/mean"] == pytest.approx(math.fsum(found) / 4, rel=1e-5)
    with serving(judge, tmp_path) as url:
        by_http = trl_reward(url)
        for prompts, completions, found in calls:
            assert by_http(prompts=prompts, completions=completions) == found
        again, logs_again = train(policy, by_http, tmp_path / "b")
    assert [found for _, _, found in again] == [found for _, _, found in calls]
    assert [log["loss"] for log in logs_again] == [log["loss"] for log in logs]


def test_samples_without_a_reward_are_left_out(policy, tmp_path):
    """TRL takes None for samples and goes on; a lost server stops the run instead of a zero."""

    def fussy(comparisons):
        if any(c.prompt[0].content == "the cat" for c in comparisons):
            raise DataError("too long")
        return [[float(i) for i in range(len(c.replies))] for c in comparisons]

    calls, logs = train(policy, trl_reward(fussy, on_error="abstain"), tmp_path / "a")
    assert len(logs) == 2
    for prompts, _, found in calls:
        cat = prompts[0][0]["content"] == "the cat"
        assert found == ([None] * 4 if cat else [0.0, 1.0, 2.0, 3.0])
    assert any(None in found for _, _, found in calls)
    lost = trl_reward(remote("http://127.0.0.1:9", rounds=1))
    with pytest.raises(ServiceError):
        train(policy, lost, tmp_path / "b")
