"""The table of what is mutated names what exists, and stale verdicts are not kept."""

import pytest
from mutation import measure


def test_modules_and_tests_exist():
    """Every module of the table and every test file that is to notice its mutants."""
    for module, tests in measure.MODULES.items():
        assert (measure.ROOT / measure.PACKAGE / module).is_file(), module
        assert all((measure.ROOT / test).is_file() for test in tests), tests


def test_a_changed_test_makes_verdicts_stale(monkeypatch, tmp_path):
    """A folder of work is kept while module and tests are the same, and made anew after."""
    for path in ("src/worldpm/a.py", "tests/test_a.py", "tests/conftest.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("1")
    monkeypatch.setattr(measure, "ROOT", tmp_path)
    monkeypatch.setattr(measure, "WORK", tmp_path / "work")
    monkeypatch.setattr(measure, "version", lambda name: "3")
    folder = measure.prepare("a.py", ["tests/test_a.py"])
    (folder / "verdicts").write_text("")
    assert measure.prepare("a.py", ["tests/test_a.py"]) == folder
    assert (folder / "verdicts").exists()
    (tmp_path / "tests/test_a.py").write_text("2")
    assert measure.prepare("a.py", ["tests/test_a.py"]) == folder
    assert not (folder / "verdicts").exists()
    assert (folder / "tests/test_a.py").read_text() == "2"


@pytest.mark.parametrize(("code", "is_killed"), [(1, True), (-24, True), (0, False), (33, False)])
def test_what_counts_as_killed(code, is_killed):
    """A failing test and a time-out; not a pass, nor a mutant that no test reached."""
    assert (code in measure.KILLED) is is_killed
    assert code not in measure.INTERRUPTED
