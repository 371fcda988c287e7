"""Does forum pre-training help? Human pairs learnt with and without it, on the same held-out sets.

    python benchmarks/two_arms.py --forum DATA... --human DATA --held-out NAME=DATA:PART[:SUBSET]...
        -o OUT [--minutes 25]

As in WorldPM's Tables 2 and 3: one model is pre-trained on forum comparisons, then every cell
(with or without it, 200, 800 or 3,200 human pairs, three seeds) is fine-tuned by one recipe and
scored on the held-out sets. A seed draws the pairs, the larger draws holding the smaller, and the
order; both arms of a seed have the same. Layers that no run trains are computed once for all.

Every cell is a folder of OUT/cells, done when its scores stand in OUT/scores; what is done is never
done again. With --minutes the work stops after that long, in the middle of a run if need be, and
the exit code is 75 until nothing is left: the same command goes on. The table and the figure are of
the cells that are there.
"""

import argparse
import contextlib
import math
import os
import shutil
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, zip_longest
from pathlib import Path

import numpy as np
import orjson
import torch
from two_arms_report import report

from worldpm.config import load_settings
from worldpm.errors import ConfigError, InterruptedRunError, WorldPMError
from worldpm.model.adapter import read_adapter
from worldpm.model.allocator import keep_freed_memory
from worldpm.model.default import fetch_base
from worldpm.records import Comparison
from worldpm.store import ArtifactWriter, read_artifact, write_atomic
from worldpm.tokens.encode import Encoder
from worldpm.train import run as training
from worldpm.train.begin import base_model
from worldpm.train.examples import make_examples
from worldpm.train.lora import begin_with
from worldpm.train.recipe import Recipe
from worldpm.train.step import TreeScorer, micro_batches

RECIPES = Path(__file__).parents[1] / "recipes"
ARMS = ("without", "with")


@dataclass(frozen=True)
class Cell:
    """One fine-tuning: an arm, how many human pairs, and the seed that draws them."""

    arm: str
    pairs: int
    seed: int

    @property
    def name(self) -> str:
        """As its folder is called."""
        return f"{self.arm}-{self.pairs:05d}-{self.seed}"


def cells(pairs: Sequence[int], seeds: Sequence[int]) -> list[Cell]:
    """Both arms of a seed and size side by side, small sizes first; `with` and no pair at all."""
    grid = [Cell(arm, n, seed) for n in sorted(pairs) for seed in seeds for arm in ARMS]
    return [Cell("with", 0, seeds[0]), *grid]


def fitting(
    comparisons: Sequence[Comparison], encoder: Encoder, recipe: Recipe, dropped: Counter[str]
) -> list[Comparison]:
    """Those of which every reply and the whole tree are within the recipe's limits."""
    kept = []
    for comparison in comparisons:
        lost = Counter[str]()
        found = list(make_examples([comparison], encoder, recipe.data, lost))
        if found and not lost:
            kept.append(comparison)
        else:
            dropped["too_long_or_without_edge"] += 1
    return kept


def draw(pool: Sequence[Comparison], count: int, seed: int) -> list[Comparison]:
    """The first `count` of the pool as `seed` shuffles it: a larger draw holds the smaller ones."""
    assert count <= len(pool), f"only {len(pool)} human comparisons are short enough"
    return [pool[i] for i in np.random.default_rng([seed, 7]).permutation(len(pool))[:count]]


def in_turn(pools: Sequence[Iterator[Comparison]], most: int) -> list[Comparison]:
    """`most` of the pools' comparisons, one of each in turn, so that a large one drowns none."""
    rows = zip_longest(*pools)
    return list(islice((each for row in rows for each in row if each is not None), most))


def write_part(folder: Path, parts: dict[str, Sequence[Comparison]]) -> Path:
    """An artefact of `parts`, made once."""
    if not folder.exists():
        with ArtifactWriter(folder, Comparison, kind="comparisons", settings={}) as writer:
            for part, comparisons in parts.items():
                for comparison in comparisons:
                    writer.add(part, comparison)
    return folder


def read_held_out(texts: Sequence[str], most: int) -> dict[str, list[Comparison]]:
    """NAME=DATA:PART[:SUBSET] -> at most `most` comparisons with an edge, drawn by a fixed seed."""
    found = {}
    for text in texts:
        name, _, place = text.partition("=")
        folder, part, *subset = place.split(":")
        rows = [
            comparison
            for comparison in read_artifact(Path(folder), Comparison, part)
            if comparison.better and (not subset or comparison.subset == subset[0])
        ]
        chosen = np.random.default_rng(0).permutation(len(rows))[:most]
        found[name] = [rows[i] for i in sorted(chosen)]
    return found


class Work:
    """What all cells share: settings, folders, and the moment at which to stop."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.out: Path = args.out
        self.base: Path = args.base or fetch_base()
        self.forum = load_settings(Recipe, args.forum_recipe, args.set or [])
        self.human = load_settings(Recipe, args.human_recipe, args.set or [])
        self.encoder = Encoder.from_folder(self.base)
        self.frozen = self.out / "frozen"
        self.args = args
        self.dropped: dict[str, dict[str, int]] = {}

    def check_settings(self) -> None:
        """ConfigError where OUT was begun with another protocol, whose cells would not compare."""
        free = ("minutes", "quiet", "out", "pairs", "seeds")  # the grid may grow
        asked = {key: str(value) for key, value in vars(self.args).items() if key not in free}
        asked |= {"forum recipe": self.forum.model_dump_json()}
        asked |= {"human recipe": self.human.model_dump_json()}
        path = self.out / "settings.json"
        if path.exists() and (begun := orjson.loads(path.read_bytes())) != asked:
            differs = [key for key in asked if begun.get(key) != asked[key]]
            raise ConfigError(f"{self.out}: was begun with another {' and '.join(differs)}")
        write_atomic(path, orjson.dumps(asked, option=orjson.OPT_INDENT_2))

    @cached_property
    def pool(self) -> tuple[list[Comparison], list[Comparison]]:
        """Human comparisons to draw from and to validate on."""
        found = []
        for part in ("train", "validation"):
            dropped = Counter[str]()
            rows = list(read_artifact(self.args.human, Comparison, part))
            found.append(fitting(rows, self.encoder, self.human, dropped))
            self.dropped[f"human {part}"] = {"kept": len(found[-1]), **dropped}
        return found[0], found[1]

    def held_out(self) -> dict[str, list[Comparison]]:
        """The held-out sets, of comparisons that fit."""
        found = {}
        for name, rows in read_held_out(self.args.held_out, self.args.most).items():
            dropped = Counter[str]()
            found[name] = fitting(rows, self.encoder, self.human, dropped)
            self.dropped[name] = {"kept": len(found[name]), **dropped}
        return found

    def train(self, name: str, recipe: Recipe, data: list[Path], adapter: Path | None) -> Path:
        """A whole run in OUT/NAME, gone on with where it was; returns its adapter."""
        run = self.out / name
        if not (run / "model" / "config.json").exists() and not (run / "done").exists():
            resume = (run / "run.json").exists()
            training.train(
                recipe, self.base, data, run, adapter=adapter, frozen_cache=self.frozen,
                resume=resume, quiet=self.args.quiet,
            )  # fmt: skip
        if not (run / "done").exists():  # the adapter and the numbers are all that is needed
            write_atomic(run / "done", b"")
            for heavy in ("model", "checkpoints", "best"):
                shutil.rmtree(run / heavy, ignore_errors=True)
        return run / "adapter"

    def pretrained(self) -> Path:
        """The adapter of the pre-training, which has the forum comparisons once."""
        data = self.args.forum
        if self.args.forum_most:
            parts = {
                part: in_turn([self.shuffled(folder, part) for folder in data], most)
                for part, most in (("train", self.args.forum_most), ("validation", 150))
            }
            data = [write_part(self.out / "data" / "forum", parts)]
        return self.train("pretrain", self.forum, data, None)

    def shuffled(self, folder: Path, part: str) -> Iterator[Comparison]:
        """The comparisons of a part that fit, in an order drawn by a fixed seed."""
        rows = list(read_artifact(folder, Comparison, part))
        for i in np.random.default_rng([0, 3]).permutation(len(rows)):
            yield from fitting([rows[i]], self.encoder, self.forum, Counter())

    def finish(self, cell: Cell, held_out: dict[str, list[Comparison]]) -> None:
        """Train `cell` and keep its scores: with them it is done."""
        path = self.out / "scores" / f"{cell.name}.json"
        if path.exists():
            return
        start = self.pretrained() if cell.arm == "with" else None
        adapter = start
        if cell.pairs:
            folder = self.out / "data" / f"human-{cell.pairs:05d}-{cell.seed}"
            if not folder.exists():
                train, validation = self.pool
                drawn = draw(train, cell.pairs, cell.seed)
                write_part(folder, {"train": drawn, "validation": validation})
            recipe = for_cell(self.human, cell, self.args.least_steps)
            adapter = self.train(f"cells/{cell.name}", recipe, [folder], start)
        assert adapter is not None
        found = {"cell": vars(cell), "scores": self.score(adapter, held_out)}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, orjson.dumps(found))

    @torch.inference_mode()
    def score(
        self, adapter: Path, held_out: dict[str, list[Comparison]]
    ) -> dict[str, list[list[float]]]:
        """The held-out sets' scores, a list for each comparison."""
        model = base_model(self.base, self.human)
        begin_with(model, read_adapter(adapter))
        scorer = TreeScorer(model.eval(), self.human, frozen_cache=self.frozen)
        found = {}
        for name, comparisons in held_out.items():
            dropped = Counter[str]()
            settings = self.human.data
            examples = list(make_examples(comparisons, self.encoder, settings, dropped))
            assert not dropped
            scorer.cache.held.clear()  # its keys are places in the set
            scorer.cache.size = 0
            scores: list[list[float]] = [[] for _ in examples]
            keys = sorted(range(len(examples)), key=lambda i: examples[i].tree.tokens.size)
            for group in micro_batches(examples, keys, settings.micro_batch_tokens):
                chosen = [examples[i] for i in group]
                sizes = [len(example.tree.leaves) for example in chosen]
                values = scorer(chosen, group).flatten().split(sizes)
                for i, own in zip(group, values, strict=True):
                    scores[i] = own.tolist()
            found[name] = scores
        return found


def for_cell(recipe: Recipe, cell: Cell, least_steps: int) -> Recipe:
    """The recipe with the cell's seed, and with as many epochs as make `least_steps`."""
    steps = math.ceil(cell.pairs / recipe.data.batch_pairs)
    epochs = max(recipe.data.epochs, math.ceil(least_steps / steps))
    data = recipe.data.model_copy(update={"epochs": epochs})
    return recipe.model_copy(update={"seed": cell.seed, "data": data})


@contextlib.contextmanager
def stopping_after(minutes: float | None) -> Iterator[None]:
    """Inside, the process is asked to stop after `minutes`, as by a signal from outside."""
    if minutes is None:
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise InterruptedRunError("the time is up; the same command goes on")

    before = signal.signal(signal.SIGTERM, stop)
    timer = threading.Timer(60 * minutes, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        signal.signal(signal.SIGTERM, before)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--forum", type=Path, nargs="+", required=True, metavar="DATA")
    parser.add_argument(
        "--forum-most", type=int, help="comparisons to pre-train on, of each DATA in turn"
    )
    parser.add_argument("--human", type=Path, required=True, metavar="DATA")
    parser.add_argument("--held-out", nargs="+", required=True, metavar="NAME=DATA:PART[:SUBSET]")
    parser.add_argument("--most", type=int, default=1000, help="comparisons of a held-out set")
    parser.add_argument("--base", type=Path, help="the embedded default's base if not given")
    parser.add_argument("--forum-recipe", type=Path, default=RECIPES / "two-arms-forum.toml")
    parser.add_argument("--human-recipe", type=Path, default=RECIPES / "two-arms-human.toml")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="of both recipes")
    parser.add_argument("--pairs", type=int, nargs="+", default=[200, 800, 3200])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--least-steps", type=int, default=40, help="of a cell; more epochs where pairs are few"
    )
    parser.add_argument("--minutes", type=float, help="stop after so long, with exit code 75")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("-o", "--out", type=Path, required=True)
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    keep_freed_memory()
    work = Work(args)
    work.check_settings()
    held_out = work.held_out()
    grid = cells(args.pairs, args.seeds)
    left = [c for c in grid if not (args.out / "scores" / f"{c.name}.json").exists()]
    code = 0
    try:
        with stopping_after(args.minutes):
            for number, cell in enumerate(left, 1):
                print(f"cell {number} of {len(left)}: {cell.name}", file=sys.stderr, flush=True)
                work.finish(cell, held_out)
    except InterruptedRunError as stopped:
        print(stopped, file=sys.stderr)
        code = 75
    report(args.out, held_out, {"dropped": work.dropped})
    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except WorldPMError as error:
        sys.exit(f"error: {error}")
