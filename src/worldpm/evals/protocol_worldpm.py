"""The paper's own rows: which comparisons of which suite each figure is made of.

    Comparison -> Row.take -> the comparison with the edges that count, or why it is left out

The 12 scaling sets are measured by their loss (WorldPM 3.2), the 18 fine-tuning rows by their
accuracy (3.3, Tables 2, 3, 8, 9). Deviations from the benchmarks' own protocols are the paper's
(appendix A.4 and section 3.1.3); where it does not say enough, a note says what is assumed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from worldpm.evals.shaping import EQUAL
from worldpm.records import Comparison

SCALING, TABLE = "scaling", "fine-tuning"
# The paper keeps "the original responses", one pair a prompt. By its own accuracies these are
# detailed answers, not concise ones: style alone reaches 0.84 with Markdown, 0.73 with plain text
# and 0.49 with the concise ones, and the paper's control gains 26 points on chat.
ORIGINAL_STYLE = 2
CLAUDE_HAIKU = "claude-3-haiku"


@dataclass(frozen=True, slots=True)
class Row:
    """A figure of the paper: `group` is "scaling" or "fine-tuning" and the class after a comma.

    `take` gives the comparison with the edges that count, its replies untouched, or the reason for
    leaving it out.
    """

    name: str
    group: str
    suite: str
    take: Callable[[Comparison], Comparison | str]
    note: str | None = None


def _section(section: str) -> Callable[[Comparison], Comparison | str]:
    return lambda each: each if each.meta.get("section") == section else "of another section"


def _subset(subset: str) -> Callable[[Comparison], Comparison | str]:
    return lambda each: each if each.subset == subset else "of another subset"


def _llmbar(each: Comparison) -> Comparison | str:
    return each if (each.subset or "").startswith("llmbar") else "of another subset"


def _original(domain: str) -> Callable[[Comparison], Comparison | str]:
    """The pair of the original responses; the style variants' edges go."""

    def take(each: Comparison) -> Comparison | str:
        if each.subset != domain:
            return "of another subset"
        style = each.meta["style"]
        kept = tuple(
            edge
            for edge in each.better
            if style[edge.winner] == style[edge.loser] == ORIGINAL_STYLE
        )
        return replace(each, better=kept) if kept else EQUAL

    return take


def _mbpp(each: Comparison) -> Comparison | str:
    """Claude 3 Haiku's rows go: being right and being longer correlate there by -0.619 (A.4)."""
    if each.subset != "mbpp-plus":
        return "of another subset"
    return "by Claude 3 Haiku" if CLAUDE_HAIKU in str(each.meta.get("model")).lower() else each


def _pairwise(goal: str) -> Callable[[Comparison], Comparison | str]:
    """RMB without its best-of-n part (A.4)."""

    def take(each: Comparison) -> Comparison | str:
        section = str(each.meta.get("section"))
        if not section.startswith(goal):
            return "of another section"
        return each if section.endswith("pairwise") else "best of n"

    return take


_STYLE_NOTE = "the original responses are taken to be the detailed Markdown ones; not stated"
_SCALING: tuple[tuple[str, str, str, Callable[[Comparison], Comparison | str], str | None], ...] = (
    ("Factual error detection", "adversarial", "rm-bench", _original("chat"), _STYLE_NOTE),
    ("OffsetBias", "adversarial", "offsetbias", _subset("offsetbias"), "which rows: not stated"),
    ("LLMBar", "adversarial", "rewardbench", _llmbar, None),
    ("MBPP-Plus", "objective", "ppe", _mbpp, None),
    ("IFEval", "objective", "ppe", _subset("ifeval"), None),
    ("MMLU-Pro", "objective", "ppe", _subset("mmlu-pro"), None),
    ("GPQA", "objective", "ppe", _subset("gpqa"), None),
    ("HumanEvalPack", "objective", "rm-bench", _original("code"), _STYLE_NOTE),
    ("MATH", "objective", "rm-bench", _original("math"), _STYLE_NOTE),
    ("PPE Human Preference", "subjective", "ppe", _subset("human-preference"), None),
    ("HelpSteer2", "subjective", "helpsteer2", _subset("helpfulness"), "taken as helpfulness"),
    ("RMB Helpfulness", "subjective", "rmb", _pairwise("helpfulness"), None),
)
_TABLE: tuple[tuple[str, str, str, Callable[[Comparison], Comparison | str], str | None], ...] = (
    ("PPE-Human", "subjective", "ppe", _subset("human-preference"), None),
    ("RMB-Helpful", "subjective", "rmb", _pairwise("helpfulness"), None),
    ("RB-Chat", "subjective", "rewardbench", _section("Chat"), None),
    ("PPE-MBPP", "objective", "ppe", _mbpp, None),
    ("PPE-GPQA", "objective", "ppe", _subset("gpqa"), None),
    ("PPE-IFEval", "objective", "ppe", _subset("ifeval"), None),
    ("PPE-MATH", "objective", "ppe", _subset("math"), None),
    ("PPE-MMLU", "objective", "ppe", _subset("mmlu-pro"), None),
    ("RM-B-Code", "objective", "rm-bench", _original("code"), _STYLE_NOTE),
    ("RM-B-Math", "objective", "rm-bench", _original("math"), _STYLE_NOTE),
    ("RB-Reason", "objective", "rewardbench", _section("Reasoning"), None),
    ("RB-Chat-Hard", "adversarial", "rewardbench", _section("Chat Hard"), None),
    ("RM-B-Chat", "adversarial", "rm-bench", _original("chat"), _STYLE_NOTE),
    ("OffsetBias", "adversarial", "offsetbias", _subset("offsetbias"), "which rows: not stated"),
    ("RMB-Harmless", "safety", "rmb", _pairwise("harmlessness"), None),
    ("RB-Safety", "safety", "rewardbench", _section("Safety"), None),
    ("RM-B-Safety-R", "safety", "rm-bench", _original("safety-response"), _STYLE_NOTE),
    ("RM-B-Safety-F", "safety", "rm-bench", _original("safety-refuse"), _STYLE_NOTE),
)
ROWS: tuple[Row, ...] = tuple(
    Row(name, kind, suite, take, note)
    for kind, rows in ((SCALING, _SCALING), (TABLE, _TABLE))
    for name, _, suite, take, note in rows
)
CLASS_OF: dict[tuple[str, str], str] = {
    (kind, name): cls
    for kind, rows in ((SCALING, _SCALING), (TABLE, _TABLE))
    for name, cls, *_ in rows
}

_CLASSES = tuple(dict.fromkeys(CLASS_OF.values()))
MEANS: dict[tuple[str, str], tuple[str, tuple[str, ...]]] = {
    # (group, name) of a mean -> (group, names) of the figures it is the plain mean of
    **{
        (f"{kind} mean", cls): (
            kind,
            tuple(n for (k, n), c in CLASS_OF.items() if (k, c) == (kind, cls)),
        )
        for kind in (SCALING, TABLE)
        for cls in _CLASSES
        if (kind, cls) != (SCALING, "safety")
    },
    (f"{SCALING} mean", "all 12"): (SCALING, tuple(row[0] for row in _SCALING)),
    (f"{TABLE} mean", "all 18"): (TABLE, tuple(row[0] for row in _TABLE)),
    # Table 1 has one number a benchmark: the mean of its subsets.
    ("table 1", "PPE-Human"): (TABLE, ("PPE-Human",)),
    ("table 1", "PPE-Objective"): (
        TABLE,
        ("PPE-MBPP", "PPE-GPQA", "PPE-IFEval", "PPE-MATH", "PPE-MMLU"),
    ),
    ("table 1", "RMB"): (TABLE, ("RMB-Helpful", "RMB-Harmless")),
    ("table 1", "RewardBench"): (TABLE, ("RB-Chat", "RB-Chat-Hard", "RB-Safety", "RB-Reason")),
    ("table 1", "RM-Bench"): (
        TABLE,
        ("RM-B-Chat", "RM-B-Code", "RM-B-Math", "RM-B-Safety-R", "RM-B-Safety-F"),
    ),
}
