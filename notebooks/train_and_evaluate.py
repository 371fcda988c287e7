# %% [markdown]
# # From a forum to a preference model, and what it has learnt
#
# We make a small forum in which we know why people vote, turn it into comparisons, train a model
# from random weights on one core in about a minute, and see what it learnt of the truth.

# %%
import json
import random
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from IPython.display import Image
from tokenizers import ByteLevelBPETokenizer

import worldpm
from worldpm.evals.run import evaluate, to_json
from worldpm.forum.build import build_threads
from worldpm.model.fresh import create_base
from worldpm.pairs.build import build_pairs
from worldpm.pairs.settings import PairSettings
from worldpm.report.plots import plot_evaluation
from worldpm.report.training_plot import plot_training
from worldpm.store import read_artifact
from worldpm.tokens.template import WORLDPM_TEMPLATE
from worldpm.train.recipe import Recipe
from worldpm.train.run import train

torch.set_num_threads(1)  # so small a model gains nothing by more; others give other last digits
work, rng, dice = Path(tempfile.mkdtemp()), random.Random(0), np.random.default_rng(0)

# %% [markdown]
# ## 1. A forum about house plants
#
# People answer a question. An answer **fits** (the remedy for this problem), is **other** (the
# remedy for another, just as well put) or is **chat**. Friendly words that say nothing are liked a
# little too. Votes are drawn about an answer's worth, so that even who knows the worth cannot
# foretell all of them.

# %%
REMEDIES = {
    "the leaves turn yellow": "water it less, because the roots are drowning",
    "it leans to one side": "turn the pot weekly, because it grows towards the light",
    "there are tiny flies": "let the soil dry out, because their eggs need it damp",
    "it never flowers": "feed it in spring, because buds cost strength",
    "the stem is soft": "cut it above the rot, because rot climbs upwards",
}
PLANTS = ["fern", "cactus", "fig tree", "orchid", "ivy", "palm", "lemon tree", "aloe", "begonia"]
ROOMS = ["kitchen", "hall", "office", "bathroom", "bedroom"]
ASK = ["My {0} in the {1} worries me: {2}. Advice?", "Help! In our {1} is a {0} and {2}."]
TELL = ["I would {0}.", "You should {0}.", "What helped mine: {0}.", "Easy, {0}."]
CHAT = ["Mine does so too, nobody knows why.", "They are cheap, buy another.", "I wonder too."]
KIND = ["I have had plants for years.", "Hope this helps!", "Good luck!", "No need to panic."]
WORTH = {"fits": 2.2, "other": 0.8, "chat": -0.2}
planted = {}  # what we know and the model does not: each answer's kind and worth


def thread(number):
    """A question with two to four answers, a line of the plain form of forums."""
    problem, answers = rng.choice([*REMEDIES]), []
    for _ in range(rng.randint(2, 4)):
        kind = rng.choice([*WORTH])
        about = problem if kind == "fits" else rng.choice([p for p in REMEDIES if p != problem])
        opening = rng.choice(CHAT) if kind == "chat" else rng.choice(TELL).format(REMEDIES[about])
        extra = rng.sample(KIND, rng.randint(0, 3))
        text, worth = " ".join([opening, *extra]), WORTH[kind] + 0.25 * len(extra)
        answers.append({"text": text, "votes": int(dice.poisson(np.exp(worth)))})
        planted[str(number), text] = kind, worth
    text = rng.choice(ASK).format(rng.choice(PLANTS), rng.choice(ROOMS), problem)
    return {"id": str(number), "text": text, "answers": answers}


forum = [thread(number) for number in range(1500)]
print(forum[0]["text"], *(f"{a['votes']:4} {a['text']}" for a in forum[0]["answers"]), sep="\n")

# %% [markdown]
# ## 2. Threads, then comparisons
#
# One thread is one [comparison](../concepts/comparison.md), with an edge wherever votes differ.
# Alike questions go to one part, so that none is learnt and tested (`worldpm pairs`).

# %%
(work / "plants.jsonl").write_text("\n".join(map(json.dumps, forum)))
build_threads([work / "plants.jsonl"], work / "threads", forum="plain", quiet=True)
parts = PairSettings(split={"validation": 0.2, "test": 0.2})
made = build_pairs([work / "threads"], work / "data", parts, quiet=True)
print("comparisons:", made["counts"], "\nleft out:", made["dropped"])

# %% [markdown]
# ## 3. Begin from nothing, and train
#
# A tokenizer of the forum's own words, a shape of three small layers, random numbers: real work
# begins with a language model, and needs no such cell. Then `worldpm train`, and its curves.

# %%
tokenizer = ByteLevelBPETokenizer()
tokenizer.train_from_iterator(map(str, forum), vocab_size=800, show_progress=False)
tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
tokenizer.save(str(work / "tokenizer.json"))
(work / "chat_template.jinja").write_text(WORLDPM_TEMPLATE)
(work / "shape.json").write_text(json.dumps({"model_type": "qwen2", "hidden_size": 64,
    "intermediate_size": 176, "num_hidden_layers": 3, "num_attention_heads": 2}))  # fmt: skip
create_base(work / "shape.json", work, work / "base", seed=0)
recipe = Recipe(lora={"rank": 0}, model={"dtype": "float32"}, optim={"lr": 2e-3}, run={
    "validate_every_steps": 10}, data={"epochs": 6, "batch_pairs": 64})  # fmt: skip
train(recipe, work / "base", [work / "data"], work / "run", quiet=True)
Image(plot_training(work / "run/metrics.jsonl", work / "curve")[1].read_bytes(), width=900)

# %% [markdown]
# ## 4. Measure
#
# An accuracy says nothing by itself: beside it stand a floor, the longer answer, and the ceiling
# that only a simulation has, the planted worth, which votes follow with noise. And since we know
# the kinds of answers, we part the test pairs by them: *fits/other* asks who reads the question.

# %%
scorer = worldpm.load(work / "run/model", threads=1)
test = list(read_artifact(work / "data", worldpm.Comparison, "test"))


def known(comparison, place):
    """What we planted of each reply: its kind (0) or its worth (1)."""
    return [planted[comparison.id, reply[0].content][place] for reply in comparison.replies]


kind, found = [known(c, 0) for c in test], []
for pair in ({"all"}, {"fits", "chat"}, {"other", "chat"}, {"fits", "other"}):
    rows, name = [], "/".join(sorted(pair))
    for c, of in zip(test, kind, strict=True):
        own = (e for e in c.better if name == "all" or {of[e.winner], of[e.loser]} == pair)
        rows.append(replace(c, better=tuple(own)))
    found.append(evaluate(rows, scorer.score, suite=name))
    most = evaluate(rows, lambda some: [known(c, 1) for c in some], suite=name).overall.outcome
    print(f"{name:10} {found[-1].overall.outcome.accuracy:6.1%} of at most {most.accuracy:6.1%}")
files = plot_evaluation([to_json(each) for each in found], work / "evaluation")
Image(files[1].read_bytes(), width=860)

# %% [markdown]
# Advice from chat it tells at once: the cliff at the left of the curve. Then nothing for a while,
# and then it begins to read. One number hides that, and some of it is luck: with seed 1 in base and
# recipe we saw it sit on the plateau to the end. And it is a toy, five problems in a dozen phrases;
# such models learn little of real forums ([next](scaling_law.ipynb)). A forum of your own: [the
# tour](../tour.md). Last, ask the model itself:

# %%
fits, other = (f"You should {REMEDIES[p]}." for p in ("it never flowers", "the stem is soft"))
scorer.rank("Help! In our hall is a fern and it never flowers.", [fits, other, CHAT[0]])
