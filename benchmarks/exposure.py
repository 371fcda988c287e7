"""Does correcting for exposure recover the order of answers? On a forum whose qualities are known.

    python benchmarks/exposure.py [--threads 2000] [--seed 0] [--json]

Answers arrive one after another in a thread whose readers come fast at first and then rarely. A
reader looks down the page as it is at that time, by date or by votes, less likely at each place
down (1 / place ** 0.8), and votes up with a chance that grows with the answer's planted quality.
Each choice of pairs is then held against the planted order: the share of its edges (by weight)
whose winner is truly better, and how far that is from raw votes, paired by thread (a bootstrap's
95 %). Choosy rules keep fewer edges; `raw, 3 apart` is raw votes being choosy, and `every edge` the
correction that is not, with an edge also where votes are tied.

Worlds: quality independent of arrival; later answers better (they have read the earlier ones);
earlier answers better (whoever knows, answers at once), where a correction can only do harm.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from worldpm.evals.resampling import bootstrap_means, percentiles
from worldpm.pairs.exposure import ExposureSettings
from worldpm.pairs.sample import compare
from worldpm.pairs.settings import PairSettings
from worldpm.pairs.survey import Survey
from worldpm.records import Post, Thread

WORLDS = {"independent": 0.0, "later better": 0.3, "earlier better": -0.3}
DISPLAYS = ("by date", "by votes")
RULES: dict[str, dict[str, Any]] = {
    "raw votes": {},
    "no_older": {"exposure": ExposureSettings(rule="no_older")},
    "corrected": {"exposure": ExposureSettings(rule="corrected")},
    "weighted": {"exposure": ExposureSettings(rule="weighted")},
    "raw, 3 apart": {"min_margin": 3},
    "every edge": {"min_margin": 1e-6, "exposure": ExposureSettings(rule="corrected")},
}
CHOICES = {name: PairSettings(max_replies=100, **rule) for name, rule in RULES.items()}
LIFE = 3 * 365 * 86_400.0  # seconds from question to dump
TRAFFIC = 86_400.0  # readers come at a rate of 1 / (age + this)
LOOK = 0.8
MEAN_READERS = 60


@dataclass(frozen=True, slots=True)
class Agreement:
    """Edges by weight of one choice, and those of them whose winner is truly better, by thread."""

    right: NDArray[np.float64]  # (threads,)
    weight: NDArray[np.float64]  # (threads,)
    num_edges: int

    @property
    def share(self) -> float:
        """The part of the weight that agrees with the planted order."""
        return float(self.right.sum() / self.weight.sum())


def forum(
    world: str, display: str, num_threads: int, seed: int
) -> Iterator[tuple[Thread, list[float]]]:
    """Threads and the planted qualities of their answers, in order of arrival."""
    for number in range(num_threads):
        rng = np.random.default_rng([seed, number])
        count = 2 + min(int(rng.geometric(0.4)) - 1, 8)
        # Delays have a median of five hours; one in six comes after a week.
        delays = np.sort(np.minimum(rng.lognormal(np.log(5 * 3600), 3.0, count), 0.9 * LIFE))
        quality = rng.normal(0.0, 0.7, count) + WORLDS[world] * np.arange(count)
        votes = _votes(delays, quality, display, rng)
        posts = [Post("q", None, None, _date(0.0), "q", 0)]
        for i, (delay, gained) in enumerate(zip(delays, votes, strict=True)):
            posts.append(Post(f"a{i}", "q", None, _date(float(delay)), "a", int(gained)))
        yield (
            Thread(str(number), "forum", "", (), tuple(posts), None, None),
            [float(each) for each in quality],
        )


def _votes(
    delays: NDArray[np.float64],
    quality: NDArray[np.float64],
    display: str,
    rng: np.random.Generator,
) -> list[int]:
    readers = int(rng.lognormal(np.log(MEAN_READERS), 1.0))
    # The inverse of the share of readers before an age: log(1 + age / t0) / log(1 + life / t0).
    ages = np.sort(TRAFFIC * np.expm1(rng.random(readers) * np.log1p(LIFE / TRAFFIC)))
    likes = (1 / (1 + np.exp(1.5 - quality))).tolist()
    votes = [0] * len(delays)
    chance = rng.random((readers, len(delays), 2)).tolist()
    for age, draws in zip(ages.tolist(), chance, strict=True):
        there = [i for i, delay in enumerate(delays) if delay <= age]
        if display == "by votes":
            there.sort(key=lambda i: -votes[i])
        for place, i in enumerate(there, start=1):
            seen, liked = draws[i]
            if seen < place**-LOOK and liked < likes[i]:
                votes[i] += 1
    return votes


def _date(seconds: float) -> str:
    return str(
        np.datetime64("2020-01-01T00:00:00", "ms") + np.timedelta64(int(seconds * 1e3), "ms")
    )


def agreements(sample: Sequence[tuple[Thread, list[float]]]) -> dict[str, Agreement]:
    """Each choice of pairs on the same threads."""
    survey = Survey()
    for thread, _ in sample:
        survey.add(thread)
    found = {}
    for name, settings in CHOICES.items():
        findings = survey.findings(settings)
        right, weight, edges = np.zeros(len(sample)), np.zeros(len(sample)), 0
        for number, (thread, quality) in enumerate(sample):
            comparison = compare(thread, settings, lambda _: None, findings)
            if comparison is None:
                continue
            edges += len(comparison.better)
            for edge in comparison.better:
                weight[number] += edge.weight
                right[number] += edge.weight * (quality[edge.winner] > quality[edge.loser])
        found[name] = Agreement(right, weight, edges)
    return found


def gain(choice: Agreement, raw: Agreement, *, seed: int = 0) -> tuple[float, float, float]:
    """How much more often the choice agrees than raw votes do, with the ends of 95 %."""
    ours, theirs = (
        bootstrap_means(each.right[:, None], each.weight, seed=seed)[:, 0] for each in (choice, raw)
    )
    return (choice.share - raw.share, *percentiles(ours - theirs))  # the same draws: paired


def run(num_threads: int, seed: int) -> list[dict[str, Any]]:
    """A row for each world, display and choice."""
    rows = []
    for display in DISPLAYS:
        for world in WORLDS:
            found = agreements(list(forum(world, display, num_threads, seed)))
            for name, each in found.items():
                difference, low, high = gain(each, found["raw votes"])
                rows.append(
                    {
                        "page": display,
                        "world": world,
                        "pairs": name,
                        "edges": each.num_edges,
                        "agreement": each.share,
                        "gain": difference,
                        "low": low,
                        "high": high,
                    }
                )
    return rows


def main() -> None:
    """Print the table, or JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Raw)
    parser.add_argument("--threads", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = run(arguments.threads, arguments.seed)
    if arguments.json:
        for row in rows:
            print(orjson.dumps(row).decode())
        return
    print("page      world           pairs         edges  agreement  gain over raw votes (points)")
    for row in rows:
        middle = 100 * np.array([row["gain"], row["low"], row["high"]])
        shown = "" if row["pairs"] == "raw votes" else "{:+.1f} [{:+.1f}, {:+.1f}]".format(*middle)
        print(
            f"{row['page']:9} {row['world']:15} {row['pairs']:12} {row['edges']:6,} "
            f"{row['agreement']:10.3f}  {shown}"
        )


_Raw = argparse.RawDescriptionHelpFormatter

if __name__ == "__main__":
    main()
