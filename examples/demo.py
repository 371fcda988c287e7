"""Rank the README's two answers and a dozen prompts with the default model; draw demo/ranking.png.

Run by `make demo`. Scores are in log-odds: sigmoid(a - b) is the modelled P(a beats b).
"""

import math
import time
from importlib.resources import files
from pathlib import Path

import orjson
from rich.console import Console

import worldpm
from worldpm.report.ranking_plot import plot_ranking
from worldpm.report.tables import ranking_table
from worldpm.rows import comparison_from_row, read_comparisons

started = time.monotonic()
say = Console(stderr=True, highlight=False).print
out = Console(highlight=False).print

say("loading the default model (fetched once, on the first run)")
scorer = worldpm.load()
row = orjson.loads((files("worldpm") / "data" / "readme.json").read_bytes())
comparisons = [comparison_from_row(row, where="readme.json", default_id="readme")]
comparisons += read_comparisons(Path(__file__).with_name("demo.jsonl"))
say(f"{time.monotonic() - started:.1f} s: scoring {len(comparisons)} prompts")
scores = list(scorer.iter_scores(comparisons))
say(f"{time.monotonic() - started:.1f} s: scored")
for comparison, replies in zip(comparisons, scores, strict=True):
    out(ranking_table(comparison, replies), "")
ahead = scores[0][0].value - scores[0][1].value
verdict = f"{abs(ahead):.2f} log-odds {'ahead of' if ahead > 0 else 'BEHIND'} its careless one"
out(f"The README's good answer is {verdict},\nP(it wins) = {1 / (1 + math.exp(-ahead)):.1%}")
firsts = [max(range(len(each)), key=lambda k: each[k].value) for each in scores[1:]]
right = sum(c.better[0].winner == k for c, k in zip(comparisons[1:], firsts, strict=True))
out(f"The reply known to be best (*) is first on {right} of {len(firsts)} prompts")
pictures = plot_ranking(comparisons[1:], scores[1:], Path("demo/ranking"))
say(f"{time.monotonic() - started:.1f} s: drew {', '.join(map(str, pictures))}")
