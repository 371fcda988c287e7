"""The loop: it learns, it counts, and it goes on where it stopped, to the bit."""

import math
from pathlib import Path

import pytest
import torch
from tiny import tiny_base, toy_data, toy_recipe

from worldpm.errors import InterruptedRunError, WorldPMError
from worldpm.tokens.encode import Encoder
from worldpm.train import loop
from worldpm.train.begin import base_model
from worldpm.train.examples import load_examples
from worldpm.train.loop import fit
from worldpm.train.step import FrozenCache, TreeScorer, micro_batches
from worldpm.train.validation import sample, validate

WHOLE = ["data.epochs=4"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def sets(base, tmp_path_factory):
    """(training examples, validation examples) of the toy preference."""
    data = toy_data(tmp_path_factory.mktemp("data") / "toy")
    encoder = Encoder.from_folder(base)
    return [
        load_examples([data], p, encoder, toy_recipe().data)[0] for p in ("train", "validation")
    ]


def go(base, sets, run, *overrides, stop_after=None, resume=False, log=None, model=None):
    """Run `fit`; returns the records without times, and the model."""
    recipe = toy_recipe(*overrides)
    model = model or base_model(base, recipe)
    records = []

    def keep(record):
        records.append({k: v for k, v in record.items() if "second" not in k})
        if log:
            log(record)

    def stop():
        return stop_after is not None and records[-1]["step"] >= stop_after

    try:
        train, held = sets
        fit(model, train, {"toy": held}, recipe, Path(run), resume=resume, log=keep,
            stop_requested=stop)  # fmt: skip
    except InterruptedRunError:
        assert stop_after is not None
    return records, model


def of_kind(records, kind):
    return [record for record in records if record["kind"] == kind]


@pytest.fixture(scope="module")
def whole(base, sets, tmp_path_factory):
    """The records of one uninterrupted run, and its model."""
    return go(base, sets, tmp_path_factory.mktemp("whole"), *WHOLE)


def test_learns_the_toy_preference(whole):
    """The loss starts at ln 2 and falls; held-out accuracy ends above nine in ten."""
    steps, looks = of_kind(whole[0], "step"), of_kind(whole[0], "validation")
    assert looks[0]["validation_loss_nats"] == pytest.approx(math.log(2))
    assert looks[0]["validation_accuracy"] == 0.5  # a new head scores all the same
    assert steps[0]["loss_nats"] == pytest.approx(math.log(2))
    assert looks[-1]["validation_loss_nats"] < 0.4
    assert looks[-1]["validation_accuracy"] > 0.9


def test_what_a_step_records(whole, sets):
    """Steps count on from 1; pairs and tokens add up; the schedule is in the records."""
    steps = of_kind(whole[0], "step")
    assert [s["step"] for s in steps] == list(range(1, steps[0]["steps"] + 1))
    assert steps[-1]["pairs"] == 4 * sum(e.pairs for e in sets[0])
    assert steps[-1]["tokens"] == 4 * sum(e.tree.tokens.size for e in sets[0])
    warmup = round(0.1 * len(steps))
    assert [s["lr"] for s in steps] == pytest.approx(
        [3e-3 * min(1, (i + 1) / warmup) for i in range(len(steps))]
    )
    assert all(s["grad_norm"] > 0 and not s["skipped"] for s in steps)


def test_when_it_looks(whole):
    """Before the first step, every 4 steps, and after the last one, once each."""
    looks = [r["step"] for r in of_kind(whole[0], "validation")]
    last = of_kind(whole[0], "step")[-1]["step"]
    assert looks == sorted({*range(0, last, 4), last})


@pytest.mark.parametrize("stop_after", [1, 4, 7])
def test_resuming_is_never_having_stopped(base, sets, whole, tmp_path, stop_after):
    """Stopped after any step, at a look or between, and resumed: the records are the same bits."""
    first, _ = go(base, sets, tmp_path, *WHOLE, stop_after=stop_after)
    assert of_kind(first, "step")[-1]["step"] == stop_after
    rest, model = go(base, sets, tmp_path, *WHOLE, resume=True)
    assert first + rest == whole[0]
    for name, tensor in whole[1].state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


SETTINGS = {
    "all weights": [],
    "all weights, bfloat16": ["model.dtype='bfloat16'"],
    "upper layer": ["model.frozen_layers=1"],
    "lora": ["lora.rank=4", "lora.alpha=8", "optim.lr=1e-2"],
    "lora, bfloat16, upper layer": [
        "lora.rank=4", "model.frozen_layers=1", "model.dtype='bfloat16'", "optim.lr=1e-2",
    ],
    "head alone": ["lora.rank=4", "lora.modules=[]", "optim.lr=1e-2"],
}  # fmt: skip


@pytest.mark.parametrize("name", SETTINGS)
def test_every_way_of_training_learns_and_resumes(base, sets, tmp_path, name):
    """What can be trained is: the loss falls below chance, and resuming is exact."""
    overrides = [*SETTINGS[name], "run.validate_every_steps=50"]
    expected, model = go(base, sets, tmp_path / "whole", *overrides)
    first, _ = go(base, sets, tmp_path / "run", *overrides, stop_after=5)
    rest, _ = go(base, sets, tmp_path / "run", *overrides, resume=True)
    assert first + rest == expected
    before, after = (r["validation_loss_nats"] for r in of_kind(expected, "validation"))
    assert after < before - 0.02
    start = base_model(base, toy_recipe(*overrides)).state_dict()
    moved = {n for n, t in model.state_dict().items() if not torch.equal(t, start[n])}
    assert moved == {n for n, p in model.named_parameters() if p.requires_grad}


def test_trained_embeddings_are_not_kept(base, sets):
    """With no frozen layer nothing is cached, so that a second look sees the new embeddings."""
    model = base_model(base, toy_recipe())
    scorer = TreeScorer(model, toy_recipe())
    torch.nn.init.ones_(model.score.weight)
    before = scorer(sets[0][:3], [0, 1, 2])
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(-1)
    after = scorer(sets[0][:3], [0, 1, 2])
    assert not torch.allclose(before, after)


@pytest.mark.parametrize("gigabytes", [0.0, 30e-6])
def test_the_cache_changes_nothing(base, sets, whole, tmp_path, gigabytes):
    """Frozen outputs kept in memory, some of them, or none: the same bits."""
    overrides = ["model.frozen_layers=1", *WHOLE]
    kept, _ = go(base, sets, tmp_path / "a", *overrides)
    other, _ = go(base, sets, tmp_path / "b", *overrides, f"run.frozen_cache_gigabytes={gigabytes}")
    assert kept == other
    assert kept != whole[0]


def test_cache_limit():
    """The cache holds what fits, gives it back uncomputed, and never grows over its limit."""
    computed = []

    def compute(key):
        return lambda: computed.append(key) or torch.full((10,), float(key))

    cache = FrozenCache(limit=100)
    for key in (0, 1, 2, 0, 1, 2):
        assert cache.get(key, compute(key))[0] == key
    assert computed == [0, 1, 2, 2]
    assert cache.size == 80


@pytest.mark.parametrize("budget", [16, 100, 10_000])
def test_micro_batches(base, sets, tmp_path, budget):
    """Each key once and in order, and the split of a step changes its numbers by rounding alone."""
    keys = [5, 3, 3, 20]
    groups = micro_batches(sets[0], keys, budget)
    assert [key for group in groups for key in group] == keys
    whole, _ = go(base, sets, tmp_path / "a", "data.micro_batch_tokens=400", stop_after=3)
    other, _ = go(base, sets, tmp_path / "b", f"data.micro_batch_tokens={budget}", stop_after=3)
    for a, b in zip(of_kind(whole, "step"), of_kind(other, "step"), strict=True):
        assert b["loss_nats"] == pytest.approx(a["loss_nats"], abs=2e-4)
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=2e-2)


def test_validation_by_hand(base, sets):
    """The weighted mean over all the edges, whatever the micro-batches."""
    recipe = toy_recipe()
    model = base_model(base, recipe)
    torch.nn.init.normal_(model.score.weight, generator=torch.Generator().manual_seed(0))
    scorer = TreeScorer(model, recipe)
    loss = right = total = 0.0
    with torch.no_grad():
        for key, example in enumerate(sets[1]):
            scores = scorer([example], [key]).tolist()
            edges = zip(example.winners, example.losers, example.edge_weights, strict=True)
            for winner, loser, weight in edges:
                loss += weight * math.log1p(math.exp(scores[loser] - scores[winner]))
                right += weight * (scores[winner] > scores[loser])
                total += weight
    for budget in (16, 400, 5000):
        found = validate(scorer, {"toy": sets[1]}, recipe.loss, 0, budget)
        assert found["loss_nats"] == pytest.approx(loss / total, rel=1e-5)
        assert found["accuracy"] == pytest.approx(right / total)
        assert found["pairs"] == pytest.approx(total)


def test_validation_by_source(base, sets):
    """Each source's figures are those of its comparisons alone, and their mean is the whole's."""
    recipe = toy_recipe()
    model = base_model(base, recipe)
    torch.nn.init.normal_(model.score.weight, generator=torch.Generator().manual_seed(0))
    scorer = TreeScorer(model, recipe)
    found = validate(scorer, {"toy": sets[1]}, recipe.loss, 0, 400)
    assert list(found["by_source"]) == ["a", "b"]
    for source, record in found["by_source"].items():
        own = {source: [e for e in sets[1] if e.source == source]}
        alone = validate(scorer, own, recipe.loss, 100, 400)
        assert alone["by_source"].keys() == {source}
        assert record == pytest.approx({key: alone[key] for key in record}, rel=1e-5)
    parts = found["by_source"].values()
    assert sum(part["pairs"] for part in parts) == pytest.approx(found["pairs"])
    for name in ("loss_nats", "accuracy"):
        mean = sum(part[name] * part["pairs"] for part in parts) / found["pairs"]
        assert found[name] == pytest.approx(mean)
        assert len({part[name] for part in parts}) == 2  # or the sources could be confused


def test_sample(sets):
    """So many, each once, in their order, by the seed alone; all of them where there are fewer."""
    examples = sets[0]
    place = {id(example): index for index, example in enumerate(examples)}

    def places(count, seed):
        return [place[id(example)] for example in sample(examples, count, seed)]

    chosen = places(20, seed=1)
    assert len(chosen) == 20
    assert chosen == sorted(set(chosen))
    assert chosen[-1] > 48  # not the first ones
    assert places(20, seed=1) == chosen
    assert places(20, seed=2) != chosen
    assert set(places(10, seed=1)) < set(chosen)
    assert places(500, seed=1) == list(range(len(examples)))
    assert sample([], 3, seed=1) == []


def test_looks_at_the_sample(base, sets, tmp_path):
    """A run validates on the sample that its recipe's count and seed give, by source."""
    few = ["run.validation_comparisons=10"]
    records, _ = go(base, sets, tmp_path / "a", *few, stop_after=1)
    other, _ = go(base, sets, tmp_path / "b", *few, "seed=4", stop_after=1)
    for found, seed in ((records, 3), (other, 4)):
        pairs = {
            source: sum(e.pairs for e in sample(sets[1], 10, seed) if e.source == source)
            for source in "ab"
        }
        (look,) = of_kind(found, "validation")
        parts = look["validation_by_source"]
        assert {source: part["pairs"] for source, part in parts.items()} == pytest.approx(pairs)
        assert look["validation_pairs"] == pytest.approx(sum(pairs.values()))


def broken_at(monkeypatch, bad_steps):
    """Make the scores of the numbered steps NaN, counted from 1 by calls."""
    real, calls = loop.take_step, []

    def step(scorer, *arguments):
        calls.append(1)
        factor = float("nan") if len(calls) in bad_steps else 1.0
        return real(lambda *batch: scorer(*batch) * factor, *arguments)

    monkeypatch.setattr(loop, "take_step", step)


def test_a_step_that_is_not_finite_is_skipped(base, sets, tmp_path, monkeypatch):
    """It moves nothing, is counted, and the run goes on; so does a run resumed after it."""
    broken_at(monkeypatch, {2, 3, 5})
    records, model = go(base, sets, tmp_path / "whole", stop_after=8)
    steps = of_kind(records, "step")
    assert [s["step"] for s in steps if s["skipped"]] == [2, 3, 5]
    assert [s["skipped_steps"] for s in steps] == [0, 1, 2, 2, 3, 3, 3, 3]
    assert all(p.isfinite().all() for p in model.parameters())
    assert math.isfinite(steps[-1]["loss_nats"])

    monkeypatch.undo()
    broken_at(monkeypatch, {2, 3, 5})
    go(base, sets, tmp_path / "run", stop_after=4)
    rest, again = go(base, sets, tmp_path / "run", stop_after=8, resume=True)
    assert of_kind(rest, "step")[0]["skipped"]
    assert of_kind(rest, "step")[1:] == steps[5:]
    assert torch.equal(again.score.weight, model.score.weight)


def test_a_skipped_step_moves_nothing(base, sets, tmp_path, monkeypatch):
    """Neither weights nor moments see a gradient that is not finite."""
    broken_at(monkeypatch, {1})
    recipe = toy_recipe()
    model = base_model(base, recipe)
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    go(base, sets, tmp_path, stop_after=1, model=model)
    assert all(torch.equal(t, start[n]) for n, t in model.state_dict().items())


def test_three_in_a_row_stop_the_run(base, sets, tmp_path, monkeypatch):
    """All three are in the records, and the error says where they are and what to do."""
    broken_at(monkeypatch, {2, 3, 4})
    records = []
    with pytest.raises(WorldPMError, match=r"steps 2 to 4 .*lower optim\.lr"):
        go(base, sets, tmp_path, log=records.append)
    assert [r["skipped"] for r in of_kind(records, "step")] == [False, True, True, True]
    assert len(of_kind(records, "step")[1]["not_finite"]) >= 3


def test_the_diagnosis_names_what_was_not_finite(base, sets, tmp_path, monkeypatch):
    """One comparison's scores are NaN: it alone is named, with the learning rate and the norm."""
    real = loop.take_step

    def step(scorer, examples, keys, *arguments):
        def spoilt(chosen, group):
            parts = scorer(chosen, group).split([len(e.tree.leaves) for e in chosen])
            bad = [
                p * (math.nan if key == keys[1] else 1) for p, key in zip(parts, group, strict=True)
            ]
            return torch.cat(bad)

        return real(spoilt, examples, keys, *arguments)

    monkeypatch.setattr(loop, "take_step", step)
    with pytest.raises(WorldPMError) as caught:
        go(base, sets, tmp_path)
    said = str(caught.value)
    assert "(learning rate 0.00" in said
    assert "gradient norm nan" in said
    named = said.partition("scores of ")[2].partition(")")[0].split(", ")
    assert 1 <= len(named) <= 3
    assert {name.partition(" ")[0] for name in named} <= {"a", "b"}


def test_repeats_by_source(base, sets, tmp_path):
    """A source stands as often as the recipe says; 0 leaves it out."""
    once, _ = go(base, sets, tmp_path / "a", stop_after=1)
    twice, _ = go(base, sets, tmp_path / "b", "data.repeats={a=3, b=0}", stop_after=1)
    assert of_kind(twice, "step")[0]["steps"] > 1.2 * of_kind(once, "step")[0]["steps"]
