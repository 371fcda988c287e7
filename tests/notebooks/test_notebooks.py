"""The notebooks that are shown are those of notebooks/*.py, ran whole, and still run."""

import json
import re
import runpy
import sys
import types
from pathlib import Path

import pytest
from tiny import small_model

import worldpm
from worldpm.model.default import NAME, cache_folder

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "notebooks").glob("*.py"))
SHOWN = ROOT / "docs/notebooks"
CELL = re.compile(r"^# %%(.*)\n", re.MULTILINE)

every_notebook = pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)


def cells_of(source):
    """Kind and text of each cell of the percent form, as jupytext reads them."""
    parts = CELL.split(source.read_text(encoding="utf-8"))
    assert parts[0] == ""
    for marker, body in zip(parts[1::2], parts[2::2], strict=True):
        lines = body.rstrip("\n").splitlines()
        if marker.strip() == "[markdown]":
            yield "markdown", "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines)
        else:
            yield "code", "\n".join(lines)


def shown(source):
    return json.loads((SHOWN / f"{source.stem}.ipynb").read_text(encoding="utf-8"))


def test_every_notebook_is_shown():
    """A source has its notebook, and a notebook its source."""
    assert len(SOURCES) == 3
    assert [path.stem for path in sorted(SHOWN.glob("*.ipynb"))] == [p.stem for p in SOURCES]


@every_notebook
def test_what_is_shown_is_the_source(source):
    """A change of a source without `make notebooks` is found."""
    found = [(cell["cell_type"], "".join(cell["source"])) for cell in shown(source)["cells"]]
    assert found == list(cells_of(source)), "stale: run make notebooks"


@every_notebook
def test_every_cell_was_run_without_an_error(source):
    """Cells were run once each, in order, and what they said on stderr is left out."""
    code = [cell for cell in shown(source)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {
        "stream", "display_data", "execute_result",
    }  # fmt: skip
    assert all(output.get("name", "stdout") == "stdout" for output in outputs)
    assert any("image/png" in output.get("data", {}) for output in outputs), "no picture"


@every_notebook
def test_nothing_shown_is_of_the_machine_that_ran_it(source):
    """Neither a path, nor a clock, nor a version; and what is committed stays small."""
    path = SHOWN / f"{source.stem}.ipynb"
    notebook = shown(source)
    assert path.stat().st_size < 400_000
    assert notebook["metadata"].keys() == {"kernelspec", "language_info"}
    assert notebook["metadata"]["language_info"] == {"name": "python"}
    for cell in notebook["cells"]:
        assert cell["metadata"] == {}
        said = json.dumps([output for output in cell.get("outputs", []) if "text" in output])
        assert not re.search(r"/(home|root|tmp|work|Users)/|\d\d:\d\d:\d\d", said)


@every_notebook
def test_a_notebook_is_short(source):
    """One sitting: at most 150 lines."""
    assert len(source.read_text(encoding="utf-8").splitlines()) <= 150


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a source as a script, with a stand-in for the one name that it has of IPython."""
    pyplot = pytest.importorskip("matplotlib.pyplot")
    pictures = []

    def image(data, width):
        assert data.startswith(b"\x89PNG")
        pictures.append(width)

    display = types.ModuleType("IPython.display")
    display.Image = image
    ipython = types.ModuleType("IPython")
    ipython.get_ipython, ipython.version_info = lambda: None, (9, 0)  # what pyplot asks it
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(pyplot, "show", lambda: None)
    monkeypatch.chdir(ROOT / "notebooks")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def script(source):
        before = pyplot.get_backend()
        pyplot.switch_backend("agg")
        try:
            names = runpy.run_path(str(source), run_name="__main__")
            return names, len(pictures) + len(pyplot.get_fignums())
        finally:
            pyplot.close("all")
            pyplot.switch_backend(before)

    return script


def notebook(name):
    return ROOT / "notebooks" / f"{name}.py"


def test_scores_are_inspected_with_any_model(run, monkeypatch, tmp_path, capsys):
    """The notebook runs with a tiny model of random weights in the default's place."""
    scorer = worldpm.load(small_model(tmp_path / "model"), threads=1, truncate=True)
    monkeypatch.setattr("worldpm.load", lambda: scorer, raising=False)
    names, num_pictures = run(notebook("score_and_inspect"))
    assert num_pictures == 3
    assert len(names["outcomes"]) == 11
    said = capsys.readouterr().out
    fewest = [line for line in said.splitlines() if "control tokens of" in line]
    assert len({line.split()[0] for line in fewest}) == 1, "a typed control token acted"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not list(cache_folder().glob(f"{NAME}-*")), reason="not fetched")
def test_scores_are_inspected_as_shown(run, capsys):
    """With the default model the same bits in any company, and the rises that the text tells of."""
    names, _ = run(notebook("score_and_inspect"))
    rises = {each.name: each.shift_interval[0] for each in names["outcomes"]}
    assert rises["padding"] > 0
    assert rises["repetition"] > 0
    if names["scorer"].describe().startswith("native"):
        assert f"{len(names['alone'])} of {len(names['alone'])}" in capsys.readouterr().out


def test_a_law_is_fitted_as_shown(run, capsys):
    """What is printed is what the notebook in docs shows, so that its text stays true."""
    names, num_pictures = run(notebook("scaling_law"))
    assert num_pictures == 3
    for name, planted in (("E", 0.4), ("A", 3.0), ("alpha", 0.3)):
        each = names["law"].parameters[name]
        assert each.low < planted < each.high
    said = capsys.readouterr().out
    for words in (
        "one decade: power, the simplest",
        "one decade: floor and exponent cannot be told apart",
        "power-floor: 3 of 3 inside",
        "power: 0 of 3 inside",
        "loss: 8 of 10 suites move",
        "controlled_loss: 0 of 10 suites move",
        "accuracy: 0 of 10 suites move",
    ):
        assert words in said


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_model_is_trained_and_measured(run):
    """It is surely ahead of the longer answer, and surely behind what can be known."""
    names, num_pictures = run(notebook("train_and_evaluate"))
    assert num_pictures == 2
    whole = names["found"][0].overall
    assert whole.over_length.interval[0] > 0
    assert whole.outcome.accuracy_interval[1] < 1
