"""Several processes: the numbers of one in every layout, and one mind about what goes wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import tiny_base, toy_data, toy_recipe

from worldpm.errors import ConfigError
from worldpm.train.parallel import ALONE, Ranks, joined, share
from worldpm.train.recipe import ParallelSettings

sys.path.insert(0, str(Path(__file__).parent))
from many import BEST, CASES, SHARD, STEPS, go, sets_of, trace


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """(base, data, the toy sets, a folder to work in)."""
    work = tmp_path_factory.mktemp("many")
    base, data = tiny_base(work / "base"), toy_data(work / "data")
    return base, data, sets_of(base, data), work


@pytest.fixture(scope="module")
def alone(here):
    """Each case's (trace, model) by one process."""
    base, _, sets, work = here
    made = {}

    def of(name):
        if name not in made:
            stop = 2 if "less than" in name else None
            records, model, _ = go(base, sets, work / f"1 {name}", CASES[name], ALONE, stop=stop)
            made[name] = trace(records), model
        return made[name]

    return of


@pytest.fixture(scope="module")
def both(here):
    """What two processes saw, each for itself, of all that `many.py` does."""
    base, data, sets, work = here
    go(base, sets, work / "one", STEPS, ALONE, stop=2)  # for them to go on with
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        Path(__file__).with_name("many.py"), base, data, work,
    ]  # fmt: skip
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, timeout=280,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads((work / f"seen-{rank}.json").read_text()) for rank in range(2)]


def assert_close(found, expected, tolerance=1e-5):
    assert [r.keys() for r in found] == [r.keys() for r in expected]
    for ours, one in zip(found, expected, strict=True):
        for key, value in one.items():
            if key in ("kind", "step", "tokens", "pairs", "skipped"):
                assert ours[key] == value
            elif "accuracy" not in key or tolerance < 1e-4:  # near ties fall either way
                loose = tolerance * (10 if key == "grad_norm" else 1)
                assert ours[key] == pytest.approx(value, abs=loose), (key, one["step"])


@pytest.mark.parametrize("name", CASES)
def test_two_processes_have_the_numbers_of_one(alone, both, name):
    """Losses within 1e-5 in float32, in both processes alike; the model gathered at the end too."""
    assert both[0][name] == both[1][name]
    steps, model = alone(name)
    tolerance = 3e-2 if "bfloat16" in name else 1e-5
    assert_close(both[0][name]["trace"], steps, tolerance)
    whole = both[0][name]["whole"]
    plain = {n.replace(".base.", "."): p for n, p in model.state_dict().items() if "lora" not in n}
    assert whole.keys() == plain.keys()
    assert both[0][name]["head"] == ["score.weight"]
    if "lora" not in name:
        for key, tensor in plain.items():
            assert whole[key] == pytest.approx(float(tensor.abs().sum()), rel=3 * tolerance)


def test_the_comparison_would_see_a_mean(alone):
    """Gradients divided by the number of processes, or another seed, are told apart."""
    steps, _ = alone("shard")
    halved = [{**r, "grad_norm": r["grad_norm"] / 2} if "grad_norm" in r else r for r in steps]
    with pytest.raises(AssertionError):
        assert_close(halved, steps)
    assert len([r for r in steps if r["kind"] == "step"]) == 5


def test_from_one_to_two_and_back(here, alone, both):
    """A checkpoint of one process goes on in two, that of two in one: the losses are the same."""
    base, _, sets, work = here
    whole, _ = alone("shard")
    after = next(i for i, r in enumerate(whole) if r["step"] == 3)
    assert_close(both[0]["1 to 2"], whole[after:])
    assert [p.name for p in (work / "two" / "checkpoints").iterdir()] == ["step-00000002"]
    records, _, notes = go(base, sets, work / "two", STEPS, ALONE, resume=True)
    assert_close(trace(records), whole[after:])
    assert notes == []


def test_from_two_to_one_and_back(alone, both):
    """Two processes, then one, then two, in one run: the last steps are those of one throughout."""
    whole, _ = alone("shard")
    after = next(i for i, r in enumerate(whole) if r["step"] == 4)
    for seen in both:
        assert_close(seen["2 to 1 to 2"], whole[after:])


def test_the_best_is_an_earlier_one(alone):
    """Where the best look is kept, it was not the last, so the weights had to be read back."""
    steps, _ = alone(BEST)
    looks = [r["validation_loss_nats"] for r in steps if r["kind"] == "validation"]
    assert min(looks) < looks[-1]


def test_both_fall_back_to_the_same_checkpoint(alone, both):
    """A bit of one process's file is turned: both say so and go on from the one before."""
    whole, _ = alone("shard")
    for seen in both:
        (note,) = seen["damaged"]["notes"]
        assert "step-00000003: damaged (shard-00002" in note
        assert "was changed" in note
    after = next(i for i, r in enumerate(whole) if r["step"] == 3)
    assert_close(both[0]["damaged"]["trace"], whole[after:])
    assert both[0]["damaged"] == both[1]["damaged"]


def test_both_skip_what_is_not_finite_in_one(both):
    """NaN scores in the second process alone: both skip, and stop at the third in a row."""
    for seen in both:
        assert seen["not finite"]["steps"] == 4
        assert "not finite in steps 2 to 4 (learning rate 0.003, " in seen["not finite"]["error"]
    assert both[0]["not finite"] == both[1]["not finite"]


def test_both_say_that_the_disk_of_one_is_full(both):
    """What one cannot write, no process takes for written; nothing half is left."""
    for seen in both:
        assert "could not be written ([Errno 28] No space left on device)" in seen["full"]["error"]
    assert both[1]["full"]["left"] == [] or both[0]["full"]["left"] == []


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_shares(world):
    """Every item is one process's, in order; the largest share is near the mean."""
    sizes = [(7 * i * i) % 101 + 1 for i in range(40)]
    shares = share(sizes, world)
    assert sorted(i for each in shares for i in each) == list(range(40))
    assert all(each == sorted(each) for each in shares)
    held = [sum(sizes[i] for i in each) for each in shares]
    assert max(held) - min(held) <= max(sizes)
    assert share([5], 3) == [[0], [], []]
    assert share([], 2) == [[], []]


def test_alone_by_default(monkeypatch):
    """Without torchrun nothing is joined; what it would say is told where it says half."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined(ParallelSettings(layout="shard")) as ranks:
        assert ranks == Ranks() == ALONE
        assert ranks.gather({"a": float("inf")}) == [{"a": float("inf")}]
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    with pytest.raises(ConfigError, match="WORLD_SIZE is 2"), joined(ParallelSettings()):
        pass


def test_the_layout_is_no_part_of_a_runs_identity(here):
    """A run may go on with another layout, and with no other setting."""
    from worldpm.errors import WorldPMError
    from worldpm.train.run import train

    base, data, _, work = here
    run = work / "identity"
    train(toy_recipe(*STEPS), base, [data], run, quiet=True)
    again = train(toy_recipe(*SHARD), base, [data], run, quiet=True, resume=True)
    assert again["validation_accuracy"] > 0.5
    with pytest.raises(WorldPMError, match="another recipe"):
        train(toy_recipe(*SHARD, "seed=4"), base, [data], run, quiet=True, resume=True)


def test_a_process_that_had_no_work_has_a_gradient():
    """Alone, gradients are left as they are, missing ones too."""
    from worldpm.train.parallel import sum_gradients

    parameter = torch.nn.Parameter(torch.ones(2))
    sum_gradients([parameter], ALONE)
    assert parameter.grad is None
