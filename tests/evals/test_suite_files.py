"""The table of files agrees with the suites and with the files that are here."""

from pathlib import Path

import pytest

from worldpm.evals.suite_files import FILES, coverage
from worldpm.evals.suites import SUITES, read_counted

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"


def test_every_suite_says_which_files_it_expects():
    """In the same order, each with a place to get them and a number of comparisons."""
    assert list(FILES) == list(SUITES)
    for each in FILES.values():
        assert each.url.startswith("https://")
        assert each.files
        assert each.comparisons > 0


def test_coverage_is_silent_where_the_set_is_whole():
    """And says how much is there where it is not."""
    assert coverage("evalbiasbench", 80) is None
    assert coverage("rewardbench", 2000) == "2,000 of the 2,985 that the whole of rewardbench makes"


@pytest.mark.parametrize(
    ("name", "folder", "expected"),
    [
        ("llmbar", "evals/llmbar", None),
        ("rm-bench", "evals/rm_bench", "798 of the 1,327 that the whole of rm-bench makes"),
        ("rmb", "evals/rmb", "18,329 of the 20,917 that the whole of rmb makes"),
        ("hhh", "evals/hhh", None),
        ("hh-rlhf", "preferences/hh_rlhf", None),
        ("reward-math-prm", "evals/reward_math_prm", None),
    ],
)
def test_the_real_files_are_as_whole_as_the_table_says(name, folder, expected):
    """A set that is whole makes the number of comparisons in the table."""
    if not (SHARED / folder).is_dir():
        pytest.skip(f"real data {folder} is absent")
    reading = read_counted(name, SHARED / folder)
    assert coverage(name, len(reading.comparisons)) == expected
