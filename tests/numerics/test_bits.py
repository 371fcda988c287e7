"""With the native engine a conversation's score has the same bits wherever it is scored."""

import random

import pytest
from checkpoints import write_layout
from tiny import tiny_tokenizer

from worldpm.model.native import choose_engine, native_isas
from worldpm.model.streaming import Streaming
from worldpm.model.weights import Weights
from worldpm.records import Comparison, Message
from worldpm.score import Scorer, load

WORDS = [
    "the",
    "a",
    "so",
    "why",
    "你好",
    "🙂",
    "code",
    "x = 1;",
    "sleep\n\n",
    "<|im_end|>",
    "no",
    "",
]
pytestmark = pytest.mark.skipif(not native_isas(), reason="worldpm-kernels is not installed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A random Qwen2 with an MLP head and five query heads a key head."""
    path = tmp_path_factory.mktemp("bits") / "model"
    tokenizer = tiny_tokenizer(path.with_name("tokenizer"))
    return write_layout(path, "Qwen2ForRewardModel", tokenizer=tokenizer, seed=7,
                        hidden_size=80, num_attention_heads=5, num_key_value_heads=1)  # fmt: skip


def conversations(count):
    """Conversations of 20 to 600 tokens, some multi-turn, many with a prompt in common."""
    draw = random.Random(count)

    def text(longest):
        return " ".join(draw.choices(WORDS, k=draw.randint(0, longest)))

    prompts = [text(40) for _ in range(count // 4)]
    found = []
    for i in range(count):
        turns = [Message("user", draw.choice(prompts))]
        if i % 7 == 0:
            turns += [Message("assistant", text(20)), Message("user", text(20))]
        found.append((*turns, Message("assistant", text(150 if i % 50 == 0 else 25))))
    return found


def single(i, conversation):
    return Comparison(str(i), "bits", None, conversation[:-1], (conversation[-1:],))


def in_batches(scorer, rows, size):
    starts = range(0, len(rows), size)
    return [s[0] for i in starts for s in scorer.score(rows[i : i + size])]


def with_siblings(row, other):
    """The reply after another of another length, and before one that begins as it does."""
    (reply,) = row.replies
    longer = (Message("assistant", f"{reply[0].content} and on"),)
    return Comparison(row.id, "bits", None, row.prompt, (other.replies[0], reply, longer))


def streamed(folder, dtype):
    weights = Weights(folder)
    resident = load(folder, dtype=dtype, engine="native")
    runner = Streaming(weights, choose_engine(weights.config, dtype, "native"))
    return Scorer(runner, resident.encoder, "streamed", resident.max_tokens)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("count", [120, pytest.param(1000, marks=pytest.mark.slow)])
def test_one_score_in_eight_layouts(folder, dtype, count):
    """Alone; batches of 2, 8 and 64; shuffled; among siblings; one thread or two; streamed."""
    rows = [single(i, c) for i, c in enumerate(conversations(count))]
    scorer = load(folder, dtype=dtype, engine="native", threads=2)
    alone = in_batches(scorer, rows, 1)
    assert len(set(alone)) > count * 0.9
    order = random.Random(1).sample(range(count), count)
    shuffled = scorer.score([rows[i] for i in order])
    siblings = [with_siblings(row, other) for row, other in zip(rows, rows[::-1], strict=True)]
    layouts = {
        **{f"batches of {size}": in_batches(scorer, rows, size) for size in (2, 8, 64)},
        "shuffled": [score for _, (score,) in sorted(zip(order, shuffled, strict=True))],
        "siblings": [scores[1] for scores in scorer.score(siblings)],
        "streamed": [s[0] for s in streamed(folder, dtype).score(rows)],
        "one thread": in_batches(load(folder, dtype=dtype, engine="native", threads=1), rows, 8),
    }
    differing = {
        name: sum(a != b for a, b in zip(scores, alone, strict=True))
        for name, scores in layouts.items()
    }
    assert differing == dict.fromkeys(layouts, 0)


def test_torch_shows_that_the_test_can_fail(folder):
    """The same comparison of batches finds torch's last digits moving."""
    rows = [single(i, c) for i, c in enumerate(conversations(120))]
    scorer = load(folder, engine="torch")
    alone, batched = in_batches(scorer, rows, 1), in_batches(scorer, rows, 64)
    assert alone != batched
    assert max(abs(a - b) for a, b in zip(alone, batched, strict=True)) < 1e-5
