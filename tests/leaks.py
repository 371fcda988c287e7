"""Seven ways in which a benchmark's text gets into a forum's thread, for the tests."""

import random

from worldpm.records import Comparison, Edge, Message

KINDS = ("verbatim", "re-cased", "truncated", "typos", "reply only", "split", "code block")


def leak(kind, text, comparison, chance):
    """The comparison with `text` in it, in one of the seven ways."""
    prompt = comparison.prompt[0].content
    replies = [reply[0].content for reply in comparison.replies]
    if kind == "verbatim":
        prompt = f"{prompt}\n\n{text}"
    elif kind == "re-cased":
        prompt = f"{prompt} {text.upper()}"
    elif kind == "truncated":
        words = text.split()
        prompt = f"{prompt} {' '.join(words[: max(16, len(words) // 2)])}"
    elif kind == "typos":
        prompt = f"{prompt}\n\n{typos(text, chance)}"
    elif kind == "reply only":
        replies[-1] = f"{replies[-1]} As somebody asked: {text} Well."
    elif kind == "split":
        words = text.split()
        replies[0] += " " + " ".join(words[: len(words) // 2])
        replies[1] += " " + " ".join(words[len(words) // 2 :])
    elif kind == "code block":
        prompt = f"{prompt}\n\n```text\n{text}\n```\n\nAny ideas?"
    return with_texts(comparison, prompt, replies)


def typos(text, chance, share=0.08):
    """One word in twelve with two letters changed places or one left out."""
    words = text.split()
    for number, word in enumerate(words):
        if len(word) > 3 and chance.random() < share:
            at = chance.randrange(1, len(word) - 1)
            turned = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
            words[number] = turned if chance.random() < 0.5 else word[:at] + word[at + 1 :]
    return " ".join(words)


def with_texts(comparison, prompt, replies):
    """The same comparison with other texts."""
    return Comparison(
        comparison.id,
        comparison.source,
        None,
        (Message("user", prompt),),
        tuple((Message("assistant", reply),) for reply in replies),
        comparison.better,
    )


def sentence(words, chance, low=20, high=60):
    """Words drawn at random, so that no run of them is in two sentences."""
    return " ".join(chance.choice(words) for _ in range(chance.randint(low, high)))


VOCABULARY = [
    first + second + third
    for first in ("ka", "lo", "mi", "nu", "re", "so", "ti", "wu")
    for second in ("ba", "de", "fi", "go", "hu", "ju", "ke", "la")
    for third in ("n", "rs", "t", "x", "lm", "")
]


def comparisons(count, seed, source="forum", low=20, high=60):
    """Comparisons of a prompt and two replies of random words."""
    chance = random.Random(seed)
    for number in range(count):
        prompt, *replies = (sentence(VOCABULARY, chance, low, high) for _ in range(3))
        empty = Comparison(str(number), source, None, (), ((), ()), (Edge(0, 1),))
        yield with_texts(empty, f"Title: {prompt[:40]}\n\n{prompt}", replies)
