"""Our scores against transformers' on random checkpoints of every released layout."""

import pytest
import torch
from checkpoints import LAYOUTS, Oracle, write_layout

import worldpm
from worldpm.model.engine import Resident
from worldpm.model.native import choose_engine, native_isas
from worldpm.model.weights import Weights
from worldpm.records import Comparison, Message
from worldpm.score import Scorer

TOLERANCE = 1e-5
LOST = 1e-3


def chat(*contents):
    roles = ("user", "assistant")
    return tuple(Message(roles[i % 2], text) for i, text in enumerate(contents))


CONVERSATIONS = {
    "short": chat("Tips for better sleep?", "Keep regular hours."),
    "empty reply": chat("Are you there?", ""),
    "empty both": chat("", ""),
    "long": chat("Count.", "and then one more sheep " * 300),
    "chinese": chat("如何改善睡眠？", "保持规律的作息时间，睡前不要看手机。"),
    "emoji": chat("👩‍👩‍👧‍👦?", "🙂🇨🇳 naïve ÀÉ é"),
    "crlf": chat("one\r\ntwo\r\n\r\n", "\r\n  three\t\n\n\n"),
    "multi-turn": chat("Hi", "Hello.", "Write code", "```py\nx = {1: '<a>'}\n```", "ok", "Bye 123"),
    "system": (Message("system", "Be brief."), *chat("Why?", "Because.")),
}


@pytest.fixture(scope="module", params=LAYOUTS)
def folder(request, qwen_worldpm, tmp_path_factory):
    """A random checkpoint with Qwen's vocabulary, sharded as the large ones are."""
    path = tmp_path_factory.mktemp("parity") / request.param
    shards = 3 if request.param == "Qwen2ForRewardModel" else 1
    return write_layout(path, request.param, tokenizer=qwen_worldpm, shards=shards,
                        vocab_size=151_936, seed=5)  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer(qwen_worldpm):
    """Transformers' own reader of the tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(qwen_worldpm)


@pytest.fixture(scope="module", params=["torch", "native"])
def engine(request):
    """Either engine; the native one where it is installed."""
    if request.param == "native" and not native_isas():
        pytest.skip("worldpm-kernels is not installed")
    return request.param


@pytest.fixture(scope="module")
def scorer(folder, engine):
    """Our scorer of that checkpoint."""
    return worldpm.load(folder, engine=engine)


def oracle_ids(tokenizer, conversation):
    messages = [{"role": m.role, "content": m.content} for m in conversation]
    if messages[0]["role"] != "system":
        messages.insert(0, {"role": "system", "content": ""})
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=False)
    return tokenizer.encode(text, add_special_tokens=False)


def our_scores(scorer, conversations):
    rows = [Comparison(str(i), "t", None, c[:-1], (c[-1:],)) for i, c in enumerate(conversations)]
    return [scores[0] for scores in scorer.score(rows)]


def test_scores_are_those_of_transformers(folder, tokenizer, scorer):
    """Every conversation gets the score of a plain loop over transformers' model, within 1e-5."""
    oracle = Oracle(folder)
    ids = [oracle_ids(tokenizer, c) for c in CONVERSATIONS.values()]
    expected = torch.tensor([oracle.score(i) for i in ids])
    found = torch.tensor(our_scores(scorer, CONVERSATIONS.values()))
    assert max(map(len, ids)) > 1500
    assert 0.3 < float(expected.abs().mean()) < 5
    assert float((found - expected).abs().max()) < TOLERANCE
    one_earlier = torch.tensor([oracle.score(i[:-1]) for i in ids])
    assert float((found - one_earlier).abs().min()) > LOST, "the scored position would not show"


class Damaged(Weights):
    """A checkpoint that gives one of its tensors in another form."""

    def __init__(self, folder):
        super().__init__(folder)
        self.kept = super().read(list(self.places))
        self.damage = {}

    def read(self, names):
        return {name: self.damage.get(name, self.kept[name]) for name in names}


def test_losing_any_tensor_moves_a_score(folder, scorer, engine):
    """With any one tensor zeroed, or its rows moved by one, a score moves by more than 1e-3."""
    texts = [CONVERSATIONS[name] for name in ("short", "chinese", "multi-turn")]
    weights = Damaged(folder)
    computing = choose_engine(weights.config, "float32", engine)

    def scores():
        damaged = Scorer(Resident(weights, computing), scorer.encoder, "damaged", 4096)
        return torch.tensor(our_scores(damaged, texts))

    before = scores()
    assert torch.equal(before, torch.tensor(our_scores(scorer, texts)))
    unseen = []
    for name, tensor in weights.kept.items():
        weights.damage = {name: torch.zeros_like(tensor)}
        if float((scores() - before).abs().max()) <= LOST:
            unseen.append(("zero", name))
        weights.damage = {name: tensor.roll(1, dims=-1)}
        if tensor.numel() > 1 and float((scores() - before).abs().max()) <= LOST:
            unseen.append(("roll", name))
    assert unseen == []
