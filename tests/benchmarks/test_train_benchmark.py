"""The training benchmark, on a tiny model: TRL's losses are ours, step by step."""

import importlib.util
import json
import math
import random

import pytest
from tiny import tiny_base, toy_comparison

from worldpm.records import Comparison
from worldpm.store import ArtifactWriter

HAS_TRL = importlib.util.find_spec("trl") is not None


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder as recipes/default.sh makes it, with 100 pairs that are learnt in ten steps."""
    work, rng = tmp_path_factory.mktemp("work"), random.Random(0)
    with ArtifactWriter(work / "hh-rlhf", Comparison, kind="comparisons", settings={}) as writer:
        written = 0
        while written < 100:
            row = toy_comparison(written, rng)
            if len(row.better) == 1:
                writer.add("train", row)
                written += 1
    return work


def run(base, data, output, *more):
    from train import main

    main(["--data", str(data), "--base", str(base), "--dtype", "float32", "--lr", "3e-3",
          "--threads", "1", "--only", "pairs", "-o", str(output), *more])  # fmt: skip
    return json.loads(output.read_text())


@pytest.mark.timeout(900)
@pytest.mark.skipif(not HAS_TRL, reason="trl is not installed")
def test_ten_steps_of_trl_are_ten_of_ours(base, data, tmp_path):
    """From the same weights, ids and scored token the losses agree within 1e-4 at every step.

    They fall meanwhile, so that an update which differed would show.
    """
    found = run(base, data, tmp_path / "out.json", "--peers", "trl")["pairs trl"]["trainers"]
    own = found["ours"]["losses_nats"]
    assert own[0] == pytest.approx(math.log(2), abs=1e-6)
    assert len(own) == 10
    assert min(own) < 0.6
    assert found["ours recomputing"]["losses_nats"] == own  # the same bits
    assert found["trl"]["losses_nats"] == pytest.approx(own, abs=1e-4)


def test_a_trainer_that_cannot_run_is_said_to():
    """Without TRL its rows say so, and ours stands."""
    from train import compare, table

    own = {"seconds": [9.0, 2.0, 4.0], "losses_nats": [0.7, 0.6, 0.5], "peak_bytes": 10}
    theirs = {"seconds": [1.0, 8.0, 8.0], "losses_nats": [0.7, 0.6, 0.25], "peak_bytes": 40}
    absent = {"did not run": "Traceback\nModuleNotFoundError: No module named 'trl'"}
    rows = compare({"ours": own, "trl": theirs, "trl tuned": absent})
    assert [row["trainer"] for row in rows] == ["ours", "trl", "trl tuned"]
    assert rows[1]["ours_is_faster"] == 3.0  # the median of 4 and 2; the first step is no step
    assert rows[1]["ours_takes_memory"] == 0.25
    assert rows[1]["last_loss_differs_nats"] == 0.25
    assert "No module named 'trl'" in table("pairs", rows)
