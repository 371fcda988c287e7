"""The progress display: tasks with sizes or one stage by its own count, and silence."""

import io

from rich.console import Console

from worldpm.progress import Display
from worldpm.work import Progress


def shown(act, quiet=False):
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=120, no_color=True)
    with Display(quiet=quiet, console=console) as display:
        act(display)
    return text.getvalue()


def test_a_stage_by_its_own_count():
    """The name, the share that is done, and the words; a new name is a new line."""

    def act(display):
        display.show("training", 1, 4, "loss 0.7")
        display.show("training", 2, 4, "loss 0.6")
        display.show("validating", 1, 1, "")

    text = shown(act)
    assert "training" in text
    assert "50 %  loss 0.6" in text
    assert "validating" in text


def test_tasks_with_sizes():
    """Rows and ended tasks add up over the tasks of a stage."""

    def act(display):
        display.stage("reading", {"rows.a.0": 100, "rows.b.0": 300})
        display.hear(Progress("rows.a.0", num_bytes=50, num_rows=7))
        display.hear(Progress("rows.a.0", done=True))
        display.hear(Progress("rows.b.0", num_bytes=100, num_rows=5))

    text = shown(act)
    assert "50 %" in text
    assert "1 of 2, 12 rows" in text


def test_quiet():
    """Nothing at all."""
    assert shown(lambda display: display.show("training", 1, 4, "x"), quiet=True) == ""
