"""pairs --filter-with: a model chooses edges, and nothing is loaded where none is asked for."""

import subprocess
import sys

import pytest

from worldpm.pairs.sample import PairSettings, compare
from worldpm.records import Comparison, Thread
from worldpm.store import read_artifact


def test_the_model_decides_which_edges_stay(worldpm, threads, model, tmp_path):
    """The two sides of the model's margin share the edges out; the drop is counted by its name."""
    kept = []
    for name, bounds in {"agrees": [], "differs": ["filter.low=-inf", "filter.high=0"]}.items():
        sets = [part for bound in bounds for part in ("--set", bound)]
        command = ("pairs", threads, "-o", tmp_path / name, "--filter-with", model, *sets)
        manifest = worldpm(*command, "-q", "--json").json
        assert manifest["filter_with"] == str(model)
        found = sum(len(c.better) for c in read_artifact(tmp_path / name, Comparison))
        lost = manifest["numbers"].get("edges_filtered_by_model", 0)
        kept.append(found)
        of = read_artifact(threads, Thread)
        every = [compare(thread, PairSettings(), lambda _: None) for thread in of]
        assert found + lost == sum(len(c.better) for c in every if c)
        assert (manifest["dropped"].get("filtered_by_model", 0) == 1) == (found == 0)
    assert sum(kept) > 0
    assert kept[0] + kept[1] == sum(len(c.better) for c in every if c)


def test_a_model_that_is_none_is_an_error(worldpm, threads, tmp_path):
    """The folder is named, and nothing is made."""
    out = tmp_path / "x"
    result = worldpm("pairs", threads, "-o", out, "--filter-with", tmp_path / "none", "-q")
    assert result.code == 1
    assert str(tmp_path / "none") in result.err
    assert not out.exists()


@pytest.mark.parametrize(
    "flags", [[], ["--set", "exposure.rule=weighted", "--set", "topics.power=1"]]
)
def test_without_a_model_there_is_no_torch(threads, tmp_path, flags):
    """Pairs, also with a first pass, run in a light install."""
    command = ["worldpm", "pairs", str(threads), "-o", str(tmp_path / "data"), "-q", *flags]
    code = (
        f"import sys; sys.argv = {command!r}\n"
        "from worldpm.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as ended:\n    assert not ended.code\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "data" / "manifest.json").is_file()
