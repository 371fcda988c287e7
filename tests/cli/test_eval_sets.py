"""Which sets `eval` is asked for: suites by name or folder, comparisons of one's own, mistakes."""

from pathlib import Path

import pytest
from suite_folders import write_lines

from worldpm.cli.eval_sets import choose_sets
from worldpm.errors import ConfigError, DataError


def test_a_folder_without_any_suite_says_what_it_looked_for(tmp_path):
    """Neither names nor suites below --data: the list of suites, and the folder."""
    with pytest.raises(
        ConfigError, match=r"no suite .* --data .* has no folder .* name some of llmbar"
    ):
        choose_sets([], tmp_path)
    with pytest.raises(ConfigError, match="no suite was named; name some of llmbar"):
        choose_sets([], None)
    with pytest.raises(DataError, match="gone: no such file or folder"):
        choose_sets([], tmp_path / "gone")


def test_sets_are_found_by_either_spelling_and_refused_twice(tmp_path):
    """rm_bench is rm-bench; two paths of one name, or a suite twice, would be one result."""
    (tmp_path / "rm_bench").mkdir()
    (tmp_path / "llmbar").mkdir()
    assert list(choose_sets([], tmp_path)) == ["llmbar", "rm-bench"]
    with pytest.raises(ConfigError, match="'llmbar' is there twice"):
        choose_sets(["llmbar", "llmbar"], tmp_path)
    with pytest.raises(DataError, match="hhh: no such folder; hhh needs its authors' files"):
        choose_sets(["llmbar", "hhh"], tmp_path)
    row = {"prompt": "Why?", "chosen": "Because.", "rejected": "no"}
    paths = [write_lines(tmp_path / part / "mine.jsonl", [row]) for part in "ab"]
    with pytest.raises(ConfigError, match="'mine' is there twice"):
        choose_sets([str(path) for path in paths], None)
    with pytest.raises(ConfigError, match="'nothing' is neither a path nor one of"):
        choose_sets(["nothing"], tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'rm-bench'"):
        choose_sets(["rm_bench"], tmp_path)


def test_probes_are_a_wish_of_eval_alone(worldpm, tmp_path):
    """Elsewhere the word is a name like others, and never stands for all suites of the folder."""
    (tmp_path / "llmbar").mkdir()
    assert list(choose_sets(["probes"], tmp_path, probes=True)) == ["llmbar"]
    with pytest.raises(ConfigError, match="'probes' is neither a path nor one of"):
        choose_sets(["probes"], tmp_path)
    ended = worldpm("export", "probes", "--data", tmp_path, "-o", tmp_path / "out")
    assert (ended.code, ended.err.count("\n")) == (1, 1)


def test_a_folder_of_suites_is_not_taken_for_one_suites_own(tmp_path, monkeypatch):
    """With another's folder beside it a lacking suite is lacking, and no file of theirs is read."""
    monkeypatch.chdir(tmp_path)
    assert choose_sets(["hhh"], tmp_path)["hhh"].path == tmp_path
    (tmp_path / "all" / "llmbar").mkdir(parents=True)
    with pytest.raises(DataError, match="hhh: no such folder"):
        choose_sets(["hhh"], tmp_path / "all")
    with pytest.raises(ConfigError, match="all: suites stand in it, so it is given as --data all"):
        choose_sets(["all"], None)


def test_a_suites_name_without_data_is_explained(tmp_path, monkeypatch):
    """A folder of that name that holds no comparisons of ours is pointed at, not read."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"--data must say where its files are$"):
        choose_sets(["llmbar"], None)
    (tmp_path / "llmbar").mkdir()
    with pytest.raises(ConfigError, match=r"comparisons of your own are called \./llmbar"):
        choose_sets(["llmbar"], None)
    assert list(choose_sets(["./llmbar"], None)) == ["own-llmbar"]
    with pytest.raises(ConfigError, match="'llmbar': --benchmarks must say where its files are"):
        choose_sets(["llmbar"], None, flag="--benchmarks")


def test_own_comparisons_called_as_a_suite_are_pointed_at(tmp_path, monkeypatch):
    """`worldpm import hh-rlhf -o hh-rlhf`, then that name beside a suite of --data without it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "benchmarks" / "llmbar").mkdir(parents=True)
    (tmp_path / "hh-rlhf").mkdir()
    with pytest.raises(DataError, match=r"no such folder; .*your own are called \./hh-rlhf$"):
        choose_sets(["llmbar", "hh-rlhf"], Path("benchmarks"))
    with pytest.raises(DataError, match=r"hhh needs its authors' files$"):
        choose_sets(["llmbar", "hhh"], Path("benchmarks"))
