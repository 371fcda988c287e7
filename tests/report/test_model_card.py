"""The card of a model: what is known stands there, what is not is called unstated."""

import random
from dataclasses import asdict

import pytest

from worldpm.evals.contrast import contrast
from worldpm.evals.run import evaluate, to_json
from worldpm.records import Comparison, Edge, Message
from worldpm.report.model_card import Facts, failures, model_card, training_flops

CHECKPOINT = {
    "architectures": ["Qwen2ForRewardModel"], "head": "mlp", "dtypes": {"BF16": 1_500_000},
    "shape": {"num_hidden_layers": 4, "max_position_embeddings": 2048},
    "num_parameters": 1_500_000, "num_parameters_without_embeddings": 1_000_000,
    "scored_token": "<|endoftext|>", "scored_token_id": 3, "template_sha256": "ab" * 32,
    "contract": {"training_data": ["00", "11"]},
}  # fmt: skip
RECIPE = {"seed": 1, "model": {"frozen_layers": 0}, "lora": {"rank": 0}, "optim": {"lr": 3e-6}}
STEP = {"step": 7, "pairs": 70.0, "tokens": 1000, "seconds": 7200.0, "skipped_steps": 1}


def comparisons(longer_wins: int, shorter_wins: int) -> list[Comparison]:
    """Pairs of a long and a short reply, in each of which one is known to win."""
    rng = random.Random(0)
    made = []
    for number in range(longer_wins + shorter_wins):
        texts = ["word " * rng.randint(9, 12), "word " * rng.randint(2, 5)]
        won = int(number >= longer_wins)
        made.append(
            Comparison(str(number), "s", None, (Message("user", "?"),),
                       tuple((Message("assistant", text),) for text in texts),
                       (Edge(won, 1 - won),))
        )  # fmt: skip
    return made


def report(score, longer_wins=30, shorter_wins=30, suite="a|b"):
    """A report of one model and one set, as `eval` writes it."""
    rows = comparisons(longer_wins, shorter_wins)
    found = to_json(evaluate(rows, score, suite=suite, resamples=200))
    return {"models": ["m"], "evaluations": [{**found, "model": "m"}, {**found, "model": "n"}]}


def by_truth(rows):
    return [[float(any(e.winner == i for e in c.better)) for i in range(2)] for c in rows]


def by_length(rows):
    return [[float(len(reply[0].content)) / 100 for reply in c.replies] for c in rows]


def test_nothing_known_is_said_to_be_unknown():
    """No data, no run, no report: each section says so, and none is left out."""
    text = model_card(Facts("x", {**CHECKPOINT, "contract": None}))
    for section in ("Training data", "Training", "Held-out results", "Style", "Known failures"):
        assert f"\n## {section}\n" in text
    assert "license: other" in text
    assert text.count("Not stated.") == 2
    assert "| scored token | &lt;\\|endoftext\\|&gt;, the last one; id 3" in text
    assert "worldpm eval -m FOLDER" in text
    assert "Not measured." in text
    assert "2 sets, known here by the digests" in model_card(Facts("x", CHECKPOINT))


def test_everything_known_stands_there():
    """Data with licences, recipe, compute, validation and the results with their intervals."""
    data = {"f*rum": {"counts": {"train": 1234}, "dropped": {"tie": 5, "long": 6},
                      "licenses": ["CC BY-SA 4.0"], "published": {"url": None}}}  # fmt: skip
    looks = [{"step": s, "validation_loss_nats": loss, "validation_accuracy": 0.6}
             for s, loss in ((3, 0.61), (4, None), (5, 0.59), (7, 0.65))]  # fmt: skip
    text = model_card(
        Facts("x", CHECKPOINT, base_model="org/base", license="apache-2.0", run={"recipe": RECIPE},
              steps=[STEP], validations=looks, data=data, report=report(by_truth))
    )  # fmt: skip
    assert 'license: "apache-2.0"\nbase_model: "org/base"\n' in text
    assert "| f\\*rum | 1,234 | 11 | CC BY-SA 4.0 |  |" in text
    assert "| `optim.lr` | `3e-06` |" in text
    assert "7 steps, 70 pairs, 1,000 tokens, 2.00 hours; 6e+09 floating-point" in text
    assert "lowest loss was 0.5900, at step 5" in text
    assert "| a\\|b | 60 | 1.000 [0.940, 1.000] |" in text
    assert text.count("a\\|b") == 2  # one row a table: the other model of the report is not here
    assert "by bootstrap over prompts, or Wilson's" in text
    assert "not surely better" not in text


@pytest.mark.parametrize(("rank", "frozen", "factor"), [(0, 0, 6), (0, 2, 4), (8, 2, 3), (8, 0, 4)])
def test_flops_are_kaplans(rank, frozen, factor):
    """6 N T for all weights; frozen layers have no backward, LoRA's no gradient of weights."""
    recipe = {"model": {"frozen_layers": frozen}, "lora": {"rank": rank}}
    assert training_flops(CHECKPOINT, recipe, 1000) == factor * 1e9


def test_failures_come_from_the_evaluation():
    """Worse than a coin, no better than length, drawn to length: told; a good model has none."""
    assert failures(report(by_truth)["evaluations"][:1]) == []
    (length, drawn) = failures(report(by_length)["evaluations"][:1])
    assert length.startswith("not surely better than taking the longer reply on a\\|b: +0.000")
    assert drawn.startswith("drawn to length")
    assert "agrees in 0.000 of the pairs" in drawn
    wrong = report(lambda rows: [[-s for s in each] for each in by_truth(rows)])
    assert failures(wrong["evaluations"][:1])[0].startswith("worse than a coin on a\\|b: 0.000")


@pytest.mark.parametrize(
    ("architecture", "says"),
    [("Qwen2ForRewardModel", "`AutoModel` drops the head"),
     ("LlamaForSequenceClassification", "AutoModelForSequenceClassification.from_pretrained")],
)  # fmt: skip
def test_how_to_load_it_is_of_its_architecture(architecture, says):
    """The MLP head is nothing for plain transformers, a linear one is."""
    assert says in model_card(Facts("x", {**CHECKPOINT, "architectures": [architecture]}))


def test_another_model_of_the_report_stands_beside_it():
    """The paired differences of whole sets, as an earlier version of the model is told from."""
    rows = comparisons(30, 30)
    pair = [("m", by_truth(rows)), ("o|d", by_length(rows))]
    found = [asdict(each) for each in contrast(rows, *pair, suite="a|b", resamples=200)]
    text = model_card(Facts("x", CHECKPOINT, report={**report(by_truth), "contrasts": found}))
    assert "| less the model | set | accuracy |" in text
    assert "| o\\|d | a\\|b | +0.500 [" in text
    assert "less the model" not in model_card(Facts("x", CHECKPOINT, report=report(by_truth)))
