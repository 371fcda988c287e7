"""What each choice of pairs does to real threads: edges kept, turned round, and who wins them.

    python benchmarks/pair_choices.py THREADS... [--share 0.1] [--json]

THREADS are folders that `worldpm forum` made; the first pass of a choice is over all of them
together. `--share` looks at a share of the threads, drawn by a hash. `kept` are the edges of the
paper's rule (any difference of net votes, one more for the accepted answer) that a choice keeps,
`turned` those that it turns round, `new` those where the paper's rule has a tie, all in per cent of
the paper's edges. `earlier` and `longer` are the shares of a choice's edges, by weight, whose
winner was written first or has more characters, with 95 % from a bootstrap over threads.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from worldpm.evals.resampling import bootstrap_means, percentiles
from worldpm.pairs.exposure import ExposureSettings, time_of
from worldpm.pairs.sample import PairSettings, compare
from worldpm.pairs.split import unit_hash
from worldpm.pairs.survey import Findings, Survey
from worldpm.pairs.topics import TopicSettings
from worldpm.records import Thread
from worldpm.store import read_artifact

ALL = {"max_replies": 10_000}
CHOICES: dict[str, dict[str, Any]] = {
    "the paper's rule": {},
    "max_replies=8": {"max_replies": 8},
    "pairs_per_thread=1": {"pairs_per_thread": 1},
    "accepted_bonus=0": {"accepted_bonus": 0},
    "margin 1-2": {"max_margin": 2},
    "margin 3-5": {"min_margin": 3, "max_margin": 5},
    "margin 6-10": {"min_margin": 6, "max_margin": 10},
    "margin 11-": {"min_margin": 11},
    "certainty": {"certainty": True},
    "no_older": {"exposure": ExposureSettings(rule="no_older")},
    "corrected": {"exposure": ExposureSettings(rule="corrected")},
    "weighted": {"exposure": ExposureSettings(rule="weighted")},
    "topics.power=0.5": {"topics": TopicSettings(power=0.5)},
}
Edges = dict[tuple[str, str], float]  # (winner, loser) -> weight


def edges_by_thread(
    threads: Sequence[Thread], settings: PairSettings, findings: Findings
) -> list[Edges]:
    """The edges of each thread, by ids of posts; none for a thread that is dropped."""
    found = []
    for thread in threads:
        comparison = compare(thread, settings, lambda _: None, findings)
        if comparison is None:
            found.append({})
            continue
        ids = [post["id"] for post in comparison.meta["posts"]]
        found.append({(ids[e.winner], ids[e.loser]): e.weight for e in comparison.better})
    return found


def biases(threads: Sequence[Thread], edges: Sequence[Edges]) -> dict[str, Any]:
    """How often, by weight, the winner is the earlier and the longer one, with 95 % intervals."""
    totals = {"earlier": np.zeros((len(threads), 2)), "longer": np.zeros((len(threads), 2))}
    for number, (thread, of) in enumerate(zip(threads, edges, strict=True)):
        posts = {post.id: post for post in thread.answers} if of else {}
        times = {name: time_of(post) for name, post in posts.items()}
        for (winner, loser), weight in of.items():
            won, lost = times[winner], times[loser]
            if won is not None and lost is not None and won != lost:
                totals["earlier"][number] += weight * np.array([won < lost, 1])
            more = len(posts[winner].text) - len(posts[loser].text)
            if more:
                totals["longer"][number] += weight * np.array([more > 0, 1])
    found: dict[str, Any] = {}
    for name, sums in totals.items():
        some = sums[sums[:, 1] > 0]
        if len(some):
            means = bootstrap_means(some[:, :1], some[:, 1], seed=0, resamples=500)[:, 0]
            found[name] = [float(some[:, 0].sum() / some[:, 1].sum()), *percentiles(means)]
        else:
            found[name] = None
    return found


def run(threads: Sequence[Thread]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A row for each choice, and the exposure that was fitted."""
    survey = Survey()
    for thread in threads:
        survey.add(thread)
    rows: list[dict[str, Any]] = []
    paper: list[Edges] = []
    for name, choice in CHOICES.items():
        settings = PairSettings.model_validate({**ALL, **choice})
        edges = edges_by_thread(threads, settings, survey.findings(settings))
        paper = paper or edges
        kept = turned = new = 0
        for ours, theirs in zip(edges, paper, strict=True):
            kept += len(ours.keys() & theirs.keys())
            back = sum((loser, winner) in theirs for winner, loser in ours)
            turned += back
            new += len(ours.keys() - theirs.keys()) - back
        weights = [weight for of in edges for weight in of.values()]
        rows.append(
            {
                "choice": name,
                "threads": sum(map(bool, edges)),
                "edges": len(weights),
                "kept": kept,
                "turned": turned,
                "new": new,
                "mean_weight": float(np.mean(weights)) if weights else None,
                **biases(threads, edges),
            }
        )
    model = survey.findings(PairSettings(exposure=ExposureSettings(rule="corrected"))).exposure
    assert model is not None
    return rows, {"threads": survey.exposure.threads, **model.as_dict()}


def _share(values: Sequence[float] | None) -> str:
    return "-" if values is None else "{:.1f} [{:.1f}, {:.1f}]".format(*(100 * v for v in values))


def main() -> None:
    """Print the table and the fitted exposure, or JSON lines."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("threads", type=Path, nargs="+")
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    threads = [
        thread
        for folder in arguments.threads
        for thread in read_artifact(folder, Thread)
        if len(thread.answers) >= 2
        and unit_hash("share", thread.source, thread.id) < arguments.share
    ]
    rows, exposure = run(threads)
    if arguments.json:
        for row in [*rows, {"exposure": exposure}]:
            print(orjson.dumps(row).decode())
        return
    base = rows[0]["edges"]
    print(
        "choice              threads   edges   kept turned    new  weight"
        "  earlier %          longer %"
    )
    for row in rows:
        shares = "".join(f"{100 * row[name] / base:7.1f}" for name in ("kept", "turned", "new"))
        print(
            f"{row['choice']:18} {row['threads']:8,} {row['edges']:7,}{shares} "
            f"{row['mean_weight'] or 0:7.3f}  {_share(row['earlier'])}  {_share(row['longer'])}"
        )
    print(f"exposure of {exposure['threads']:,} threads, as a factor:")
    for name, label in (("log_by_rank", "rank"), ("log_by_delay_seconds", "seconds")):
        steps = "  ".join(f"{k}: {np.exp(v):.2f}" for k, v in exposure[name].items())
        print(f"  by {label}  {steps}")


if __name__ == "__main__":
    main()
