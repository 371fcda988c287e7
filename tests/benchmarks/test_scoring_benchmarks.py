"""What the benchmarks of scoring count and print, on numbers made by hand."""

import pytest
import torch
from tiny import small_model

from worldpm.model.checkpoint import read_config
from worldpm.records import Comparison, Edge, Message
from worldpm.score import load
from worldpm.tokens.encode import Encoder


def talk(name, prompt, *replies):
    own = tuple((Message("assistant", text),) for text in replies)
    return Comparison(name, "test", None, (Message("user", prompt),), own, (Edge(0, 1),))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("bench") / "model")


@pytest.fixture
def work(folder):
    from workload import workload

    rows = [talk("a", "Why?", "Because.", "No.", "Ask."), talk("b", "How?", "So.", "Thus it is.")]
    return workload("real", rows, Encoder.from_folder(folder))


def test_workload_counts_shared_and_unshared(work):
    """Pairs stay within a prompt; what replies share is counted once."""
    assert work.pairs == [(0, 1), (0, 2), (1, 2), (3, 4)]
    lengths = [len(ids) for ids in work.sequences]
    assert work.num_tokens == sum(lengths)
    assert max(lengths) < work.unique_tokens < work.num_tokens


def test_flops_by_hand(folder):
    """Two a weight and token, four a query channel, layer and visible pair."""
    from workload import flops

    config = read_config(folder)
    weights = config.num_parameters()
    channels = config.num_attention_heads * config.head_dim
    attention = 4 * channels * config.num_hidden_layers * (1 + 2 + 3 + 1)
    assert flops(config, [3, 1]) == pytest.approx(2 * weights * 4 + attention)


def test_long_prompts_are_filled(folder, monkeypatch):
    """Eight replies to every prompt, which is as long as asked for up to its last word."""
    import workload

    monkeypatch.setattr(workload, "PROMPT_TOKENS", 120)
    encoder = Encoder.from_folder(folder)
    rows = [talk(str(i), "some words of a question " * 9, "yes", "no") for i in range(3)]
    made = workload.long_prompts(rows, encoder, 2)
    assert [len(c.replies) for c in made] == [8, 8]
    for comparison in made:
        assert 120 - len("question ") <= len(encoder.encode(comparison.prompt)) <= 120


@pytest.mark.parametrize(
    "name", ["loop float32", "padded float32 naive 8", "padded float32 sorted 8"]
)
def test_peers_give_our_scores(folder, work, name):
    """The rows measure the same thing: float32 peers agree with us to rounding."""
    pytest.importorskip("transformers")
    from contenders import Settings, make_row

    exact = [s for scores in load(folder, dtype="float32").score(work.comparisons) for s in scores]
    found = dict(
        pair
        for places, scores in make_row(name, folder, Settings(1))(work)
        for pair in zip(places, scores, strict=True)
    )
    torch.testing.assert_close([found[i] for i in range(5)], exact, atol=1e-4, rtol=1e-4)


def test_no_vllm_is_absent_by_name(folder):
    """Without its Python the row says what is needed."""
    from contenders import Absent, Settings, make_row

    with pytest.raises(Absent, match="--vllm-python"):
        make_row("vllm caching on", folder, Settings(1))


def test_a_slow_row_is_stopped_between_parts(work):
    """What was done counts, with its tokens; the rest does not."""
    from score import timed

    def row(_):
        yield [2], [0.5]
        yield [0], [0.1]

    found = timed(row, work, seconds=0.0)
    assert (found["places"], found["scores"]) == ([2], [0.5])
    assert found["tokens"] == len(work.sequences[2])


def test_differences_by_hand(work):
    """Largest, mean and flips over the pairs that the row has both sides of."""
    from score import differences

    exact = {"places": range(5), "scores": [1.0, 0.5, 0.0, 2.0, 2.0]}
    run = {"places": [1, 0, 3, 4], "scores": [0.75, 0.5, 2.0, 2.5]}
    found = differences([run], exact, work)
    assert found["largest"] == 0.5
    assert found["mean"] == pytest.approx((0.25 + 0.5 + 0 + 0.5) / 4)
    assert (found["flipped"], found["decided_pairs"]) == (1.0, 1)


def test_summary_takes_medians_of_rounds(work, folder, tmp_path):
    """Ratios are of the same round, against the best of the peers in question."""
    from score import Log, summary, table

    log = Log(tmp_path / "log.jsonl", {"seed": 1})
    every = {"places": list(range(5)), "scores": [0.0, 1.0, 2.0, 3.0, 4.0], "tokens": 100}
    for number, ours in enumerate((1.0, 4.0, 2.0)):
        log.add(
            {"kind": "peak", "workload": "real", "round": number, "float32": 1e9, "bfloat16": 2e9}
        )
        for row, seconds in (("torch float32", ours), ("loop float32", 2 * ours)):
            key = {"kind": "row", "workload": "real", "round": number, "row": row}
            log.add({**key, **every, "seconds": seconds})
    again = Log(tmp_path / "log.jsonl", {"seed": 1})
    assert again.records == log.records
    found = summary(again, work, read_config(folder), "real")
    assert found["rows"]["torch float32"]["tokens_per_second"] == 50.0
    assert found["ratios"]["README loop float32"]["ours"] == {"torch float32": 2.0}
    assert set(found["ratios"]) == {"README loop float32"}
    assert table(["a"], [["b"]]) == "| a |\n| --- |\n| b |"
    with pytest.raises(SystemExit, match="other settings"):
        Log(tmp_path / "log.jsonl", {"seed": 2})


def test_terms_carry_eight_bits_each():
    """One term is bfloat16, two miss 2^-17 of a value, three miss nothing."""
    from precision import split

    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(split(values, 1), values.bfloat16().float())
    missed = ((split(values, 2) - values).abs() / values.abs()).max()
    assert 2.0**-20 < float(missed) <= 2.0**-16
    assert torch.equal(split(values, 3), values)


def test_auto_is_the_fastest_that_rarely_flips():
    """A faster rung that flips too much is passed over, and so is one without a speed."""
    from precision import auto

    judged = {n: {"all": {"flipped": f}} for n, f in (("a", 0.0), ("b", 0.009), ("c", 0.02))}
    assert auto({**judged, "d": {"all": {"flipped": 0.0}}}, {"a": 1.0, "b": 2.0, "c": 9.0}) == "b"


def test_rungs_agree_in_kind(folder):
    """Every rung of torch scores the same comparisons; the more terms, the nearer to float32."""
    from precision import LADDER, REFERENCE, climb

    encoder = Encoder.from_folder(folder)
    rows = [talk(str(i), f"Question {i}?", "yes " * i, f"no {i}") for i in range(1, 6)]
    scores = {}
    for name in (REFERENCE, *(n for n in LADDER if "term" in n or "residual" in n)):
        found = climb(LADDER[name], folder, encoder, [rows], 1, 1)
        scores[name] = torch.tensor(found["scores"][0])
    error = {n: float((s - scores[REFERENCE]).abs().max()) for n, s in scores.items()}
    one, two, three = (error[n] for n in error if "term" in n)
    assert three <= two < one
    assert 0 < error["torch bfloat16, bfloat16 residual"] < float(scores[REFERENCE].std())
