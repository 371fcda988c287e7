"""Validation sets by name, what they say of style, and the best checkpoint by them."""

import pytest
import torch
from tiny import metrics, tiny_base, toy_data, toy_recipe

from worldpm.model.checkpoint import read_model
from worldpm.tokens.encode import Encoder
from worldpm.tokens.tree import build_tree
from worldpm.train import loop
from worldpm.train.examples import Example, load_sets
from worldpm.train.recipe import LossSettings
from worldpm.train.run import train
from worldpm.train.state import checkpoints
from worldpm.train.validation import style_of, validate


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Three folders, two of them of one name."""
    folder = tmp_path_factory.mktemp("data")
    return [toy_data(folder / name, 36, 12) for name in ("one", "two", "more/one")]


def pair(source="toy", weight=1.0, style=()):
    tree = build_tree([[1, 2], [1, 3]])
    return Example(source, tree, (0,), (1,), (weight,), (0.0,), 1.0, style=style)


def test_style_by_hand():
    """Agreement less disagreement of the predicted winner with the longer and the more marked."""
    rows = [pair(style=((s, m),)) for s, m in ((0.5, 0.0), (0.1, 0.2), (-0.3, 0.1), (0.0, -0.1))]
    scores = torch.tensor([1.0, 0.0, 0.0, 1.0, 2.0, 0.0, 3.0, 0.0])  # right, wrong, right, right
    found = style_of(scores, rows)
    assert found == {
        "phi_length": pytest.approx((1 - 1 - 1) / 3),
        "phi_length_of_labels": pytest.approx((1 + 1 - 1) / 3),
        "phi_marks": pytest.approx((-1 + 1 - 1) / 3),
        "phi_marks_of_labels": pytest.approx((1 + 1 - 1) / 3),
        "chosen_longer_accuracy": 0.5,
        "chosen_shorter_accuracy": 1.0,
    }


def test_style_of_equal_replies_and_of_what_was_not_counted():
    """None where no pair differs, and nothing at all where nobody counted."""
    scores = torch.tensor([1.0, 0.0])
    assert set(style_of(scores, [pair(style=((0.0, 0.0),))]).values()) == {None}
    assert style_of(scores, [pair()]) == {}


def test_sets_make_up_the_whole():
    """Each by its own comparisons, all together by pairs; the objective is the recipe's."""
    sets = {"a": [pair(), pair("other")], "b": [pair(weight=0.5)]}
    answers = {0: [1.0, 0.0], 1: [0.0, 1.0], 2: [2.0, 0.0]}

    def scorer(examples, keys):
        return torch.tensor([score for key in keys for score in answers[key - 100]])

    soft = LossSettings(soft_labels=True)
    found = validate(scorer, sets, soft, 100, 1000)
    a, b = found["by_set"]["a"], found["by_set"]["b"]
    assert (a["accuracy"], b["accuracy"], a["pairs"], found["pairs"]) == (0.5, 1.0, 2.0, 3.0)
    assert found["accuracy"] == pytest.approx((1 + 0.5) / 2.5)
    assert found["margin"] == pytest.approx((1 - 1 + 0.5 * 2) / 2.5)
    assert found["objective"] == pytest.approx((2 * a["objective"] + b["objective"]) / 3)
    assert a["objective"] == pytest.approx(a["loss_nats"])  # certain labels
    assert b["objective"] != pytest.approx(b["loss_nats"], abs=0.1)  # P = 0.75
    assert list(found["by_source"]) == ["other", "toy"]


def test_names_are_those_of_the_folders(base, data):
    """Two of one name are told apart by their place; style is counted, a lead for each edge."""
    recipe = toy_recipe()
    sets, _ = load_sets(data, "validation", Encoder.from_folder(base), recipe.data)
    assert list(sets) == ["one", "two", "one-3"]
    for example in sets["two"]:
        assert len(example.style) == len(example.winners)
    leads = [lead for example in sets["two"] for lead, _ in example.style]
    assert all(lead > 0 for lead in leads)  # the good reply has a word more


OBJECTIVES = {0: 0.1, 1: 0.9, 2: 0.3, 3: 0.2, 4: 0.5, 5: 0.4, 6: 0.6}


@pytest.mark.parametrize("keep", ["true", "false"])
def test_the_best_checkpoint_is_kept_and_exported(base, data, tmp_path, monkeypatch, keep):
    """That of the lowest objective after the first step, however many newer ones there are.

    Without the setting the last weights are the run's, and the best look is still named.
    """
    looks, states, real = iter(OBJECTIVES.values()), [], loop.validate

    def told(*arguments):
        states.append(arguments[0].model.score.weight.detach().clone())
        return {**real(*arguments), "objective": next(looks)}

    monkeypatch.setattr(loop, "validate", told)
    overrides = ["run.validate_every_steps=1", "run.keep_checkpoints=1", f"run.keep_best={keep}"]
    recipe = toy_recipe(*overrides, "data.batch_pairs=20")
    run = tmp_path / "run"
    result = train(recipe, base, data[:1], run, quiet=True)
    (best,) = metrics(run, "best")
    assert (best["step"], best["objective"]) == (3, 0.2)
    last = metrics(run, "step")[-1]["step"]
    assert last > 3
    kept = [folder.name for folder in checkpoints(run)]
    assert kept == ([f"step-{3:08d}"] if keep == "true" else []) + [f"step-{last:08d}"]
    assert result["step"] == (3 if keep == "true" else last)
    assert metrics(run, "validation")[3]["validation_by_set"].keys() == {"one"}
    exported = read_model(run / "model").score.weight
    assert torch.equal(exported, states[3 if keep == "true" else last])
    assert not torch.equal(states[3], states[last])


def test_the_best_outlives_a_kill(base, data, tmp_path, monkeypatch):
    """A run that dies after its best look goes on from it and still ends with it."""
    run, real, step = tmp_path / "run", loop.validate, loop.take_step

    def told(*arguments):
        done = metrics(run, "step")
        return {**real(*arguments), "objective": OBJECTIVES[done[-1]["step"] if done else 0]}

    def dies(*arguments):
        if len(metrics(run, "step")) == 3:
            raise MemoryError
        return step(*arguments)

    monkeypatch.setattr(loop, "validate", told)
    monkeypatch.setattr(loop, "take_step", dies)
    overrides = ["run.validate_every_steps=1", "run.keep_checkpoints=1", "run.keep_best=true"]
    recipe = toy_recipe(*overrides, "data.batch_pairs=20")
    with pytest.raises(MemoryError):
        train(recipe, base, data[:1], run, quiet=True)
    assert [folder.name for folder in checkpoints(run)] == [f"step-{3:08d}"]
    monkeypatch.setattr(loop, "take_step", step)
    result = train(recipe, base, data[:1], run, resume=True, quiet=True)
    assert result["step"] == 3
    assert [look["step"] for look in metrics(run, "validation")] == [0, 1, 2, 3, 4]
