"""The evaluations of a run, as JSON -> the classes' means, and the q-values.

    class_summary(evaluations)  ->  [{"model", "class", "accuracy", "interval", "longer", ...}]
    with_q_values(evaluations)  ->  the same evaluations, "q_value" beside each p-value over length

A class is the plain mean of its suites, each counting once, as in the paper's tables.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from worldpm.evals.baselines import LENGTH
from worldpm.evals.multiple import benjamini_hochberg
from worldpm.evals.resampling import Z_95
from worldpm.evals.run import STYLE_ONLY

FORMAT = "worldpm-report/1"
TESTED = ("all", "class", "section")
TESTING = (
    "Every difference has its own 95 % interval and two-sided p-value (paired sign-flip "
    "permutation by prompt). Since one report makes many tests, each p-value over length has a "
    "q-value (Benjamini-Hochberg) among those of all models, suites, classes and sections here, "
    "and so, accuracy and loss apart, has each difference of two models. q <= 0.05 expects at "
    "most 5 % of what it calls different to be chance. Intervals are not corrected."
)


def class_summary(evaluations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each model and class that has a suite, in order of appearance.

    The interval of 95 % is of the mean of independent suites, each with the standard error that its
    own interval says; a class of one suite has that suite's interval.
    """
    members: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for evaluation in evaluations:
        for name, line in _class_lines(evaluation):
            members.setdefault((evaluation["model"], name), []).append(line)
    rows = []
    for (model, name), lines in members.items():
        accuracy = fmean(line["outcome"]["accuracy"] for line in lines)
        errors = [
            (line["outcome"]["accuracy_interval"][1] - line["outcome"]["accuracy_interval"][0])
            / (2 * Z_95)
            for line in lines
        ]
        half = Z_95 * math.sqrt(sum(error**2 for error in errors)) / len(lines)
        interval = [max(0.0, accuracy - half), min(1.0, accuracy + half)]
        if len(lines) == 1:  # about its accuracy an interval need not be symmetrical
            interval = list(lines[0]["outcome"]["accuracy_interval"])
        rows.append(
            {
                "model": model,
                "class": name,
                "num_suites": len(lines),
                "num_comparisons": sum(line["outcome"]["num_comparisons"] for line in lines),
                "accuracy": accuracy,
                "interval": interval,
                "loss_nats": fmean(line["outcome"]["loss_nats"] for line in lines),
                "longer": fmean(line["floors"][LENGTH]["accuracy"] for line in lines),
                "style_only": fmean(line["floors"][STYLE_ONLY]["accuracy"] for line in lines),
                "chance": fmean(line["floors"]["chance"]["accuracy"] for line in lines),
            }
        )
    return rows


def _class_lines(evaluation: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The classes' own lines; a class that is the whole suite has none but the suite's."""
    lines = [line for line in evaluation["lines"] if line["kind"] == "class"]
    if not lines and len(evaluation["classes"]) == 1:
        return [(evaluation["classes"][0], evaluation["lines"][0])]
    return [(line["outcome"]["name"], line) for line in lines]


def with_q_values(evaluations: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The evaluations with `over_length["q_value"]`, among all of them; None for other kinds."""
    p_values = [
        line["over_length"]["p_value"]
        for evaluation in evaluations
        for line in evaluation["lines"]
        if line["kind"] in TESTED
    ]
    left = iter(benjamini_hochberg(p_values))
    return [
        {
            **evaluation,
            "lines": [
                {
                    **line,
                    "over_length": {
                        **line["over_length"],
                        "q_value": next(left) if line["kind"] in TESTED else None,
                    },
                }
                for line in evaluation["lines"]
            ],
        }
        for evaluation in evaluations
    ]
