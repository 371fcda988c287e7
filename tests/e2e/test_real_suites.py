"""Models without weights through every suite whose real files are here: no torch, in seconds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"
FOLDERS = {
    "llmbar": "evals/llmbar",
    "rewardbench": "evals/rewardbench",
    "rm-bench": "evals/rm_bench",
    "rmb": "evals/rmb",
    "evalbiasbench": "evals/evalbiasbench",
    "hhh": "evals/hhh",
    "hh-rlhf": "preferences/hh_rlhf",
    "reward-math-prm": "evals/reward_math_prm",
}
ABSENT = [name for name, folder in FOLDERS.items() if not (SHARED / folder).is_dir()]

# In a process of its own, where torch cannot be imported: both protocols, every baseline.
RUN = """
import json, random, sys, time
from pathlib import Path
sys.modules["torch"] = sys.modules["transformers"] = None
from worldpm.evals.baselines import BASELINES, shorter_characters
from worldpm.evals.protocols import PROTOCOLS
from worldpm.evals.suites import read_counted
began = time.process_time()
read = {name: read_counted(name, Path(folder)) for name, folder in json.loads(sys.argv[1]).items()}
out = {"rows": {name: [len(each.comparisons), each.dropped] for name, each in read.items()}}
place = lambda comparisons: [[-float(i) for i in range(len(c.replies))] for c in comparisons]
dice = random.Random(0)
rules = {
    **BASELINES,
    "minus-length": shorter_characters,
    "random": lambda comparisons: [[dice.random() for _ in c.replies] for c in comparisons],
    "the first reply": place,
}
for model, rule in rules.items():
    scored = {name: (each.comparisons, rule(each.comparisons)) for name, each in read.items()}
    for name, protocol in PROTOCOLS.items():
        out[f"{model}, {name}"] = [
            [f.suite, f.name, f.value, f.num, f.num_ties] for f in protocol.figures(scored)
        ]
out["seconds"] = time.process_time() - began
print(json.dumps(out))
"""


@pytest.fixture(scope="module")
def run():
    """What the models without weights get on the real files."""
    if ABSENT:
        pytest.skip(f"the real files of {', '.join(ABSENT)} are not here")
    folders = {name: str(SHARED / folder) for name, folder in FOLDERS.items()}
    result = subprocess.run(
        [sys.executable, "-c", RUN, json.dumps(folders)], capture_output=True, text=True, check=True
    )
    return json.loads(result.stdout)


def figure(run, model: str, suite: str, name: str) -> list:
    return next(each[2:] for each in run[model] if each[:2] == [suite, name])


def test_seven_models_pass_all_real_suites_in_under_a_minute(run):
    """30,808 comparisons by seven rules under two protocols, no torch in the process."""
    assert sum(count for count, _ in run["rows"].values()) == 30_808
    assert run["rows"]["hh-rlhf"][1] == {"equal replies": 36, "ends with the user": 2}
    assert run["seconds"] < 60  # of the processor: other work on the machine is no failure


def test_chance_is_one_half_to_the_paper_and_nothing_officially(run):
    """All scores equal: every official rule asks for more, except RewardBench 2's."""
    assert all(each[2] == 0.5 for each in run["chance, worldpm"])
    assert all(each[2] == 0.0 for each in run["chance, official"])


def test_random_scores_are_near_the_chance_of_each_rule(run):
    """One half of pairs; of best-of-n with two to six others, about 0.31."""
    for suite, name in (("hh-rlhf", "overall"), ("rmb", "helpfulness pairwise"),
                        ("rm-bench", "overall"), ("rewardbench", "overall")):  # fmt: skip
        value, num, _ = figure(run, "random, official", suite, name)
        assert value == pytest.approx(0.5, abs=0.05), (suite, num)
    best, _, _ = figure(run, "random, official", "rmb", "helpfulness best-of-n")
    assert best == pytest.approx(0.31, abs=0.03)


def test_no_place_is_the_better_one(run):
    """Preferring the first reply is right as often as a coin, whatever order authors write in."""
    for suite, name in (
        ("llmbar", "overall"),
        ("rewardbench", "overall"),
        ("hhh", "overall"),
        ("hh-rlhf", "overall"),
        ("reward-math-prm", "overall"),
        ("rm-bench", "overall"),
        ("rmb", "helpfulness pairwise"),
        ("rmb", "harmlessness pairwise"),
    ):
        value, num, _ = figure(run, "the first reply, official", suite, name)
        assert value == pytest.approx(0.5, abs=max(0.03, 2.6 * 0.5 / num**0.5)), (suite, name)
    for section in ("helpfulness best-of-n", "harmlessness best-of-n"):
        best, _, _ = figure(run, "the first reply, official", "rmb", section)
        assert best == pytest.approx(0.31, abs=0.03)


def test_length_and_minus_length_share_the_pairs_that_are_not_tied(run):
    """right(longer) + right(shorter) + equal lengths = all pairs, suite by suite."""
    for suite, name in (
        ("llmbar", "overall"),
        ("hhh", "overall"),
        ("reward-math-prm", "overall"),
        ("rmb", "harmlessness pairwise"),
        ("hh-rlhf", "harmless-base"),
    ):
        longer, num, ties = figure(run, "longer (characters), official", suite, name)
        shorter, *same = figure(run, "minus-length, official", suite, name)
        assert same == [num, ties]
        assert longer + shorter + ties / num == pytest.approx(1.0)


def test_the_papers_length_floors_on_rm_bench(run):
    """The floor beneath chat is 0.19: its rejected Markdown replies are the longer ones."""
    longer, num, _ = figure(run, "longer (characters), worldpm", "rm-bench", "RM-B-Chat")
    assert num == 129
    assert longer == pytest.approx(1 - 105 / 129)
