"""Whether a bend is the metric's doing, and which items turn with scale."""

import numpy as np
import pytest
from laws import draw

from worldpm.errors import DataError
from worldpm.scaling.emergence import VERDICTS, compare_metrics, item_view, read_items
from worldpm.scaling.points import Points


def points_of(value):
    data = np.repeat(np.geomspace(1e3, 1e7, 15), 2)
    noise = np.exp(0.004 * np.random.default_rng(0).normal(size=30))
    return Points(None, data, value(data) * noise, None, ({},) * 30)


def smooth_loss(x):
    return 2.0 * x**-0.1


def step(x):
    return 0.5 + 0.4 / (1 + (x / 1e5) ** -1.5)


def test_a_step_of_accuracy_over_a_smooth_loss_is_the_metrics_doing():
    """Schaeffer et al.'s case: the loss falls as a power law where accuracy leaps."""
    found = compare_metrics(points_of(smooth_loss), points_of(step), seed=0)
    assert (found.verdict, found.accuracy.form, found.loss.form) == ("metric", "logistic", "power")


def test_a_step_of_both_is_not_the_metrics_doing_alone():
    """The loss of the same runs leaps, too."""
    found = compare_metrics(points_of(lambda x: 1.2 - step(x)), points_of(step), seed=0)
    assert found.verdict == "model"


def test_a_smooth_accuracy_is_no_emergence():
    """And a step over a flat loss is left open."""
    smooth = compare_metrics(points_of(smooth_loss), points_of(lambda x: 0.3 * x**0.05), seed=0)
    assert smooth.verdict == "none"
    flat = compare_metrics(points_of(lambda x: 0.7 + 0 * x), points_of(step), seed=0)
    assert flat.verdict == "unclear"
    assert all(found.words in VERDICTS.values() for found in (smooth, flat))


def test_loss_and_accuracy_must_be_of_the_same_runs():
    """Other amounts of data are refused."""
    with pytest.raises(DataError, match="same runs"):
        compare_metrics(draw("power", 0), draw("broken", 0), seed=0)


def rows(item, *margins):
    return [(item, 10.0 ** (3 + i), margin) for i, margin in enumerate(margins)]


def test_items_are_parted_by_what_scale_does_to_them():
    """Gained, lost, right and wrong throughout; the middle scale counts for neither half."""
    view = item_view(
        rows("gained", -1, -1, 1, 1, 1) + rows("lost", 1, 1, -1, -1, -1)
        + rows("right", 1, 1, -1, 1, 1) + rows("wrong", -1, -1, 1, -1, -1)
        + rows("half", -1, -1, 1, -1, 1)
    )  # fmt: skip
    assert view.gained == ("gained",)
    assert view.lost == ("lost",)
    assert view.always_right == ("right",)
    assert view.always_wrong == ("wrong", "half")
    assert view.p == 1.0


def test_mcnemar_is_exact():
    """Nine gained and one lost: 2 (1 + 10) / 2^10."""
    many = [row for i in range(9) for row in rows(f"g{i}", -1, 1)] + rows("l", 1, -1)
    assert item_view(many).p == pytest.approx(22 / 1024)


def test_items_need_both_ends():
    """One scale, or an item seen at one end only, is refused by name."""
    with pytest.raises(DataError, match="two scales"):
        item_view(rows("a", 1))
    with pytest.raises(DataError, match="'b'"):
        item_view([*rows("a", 1, 1), ("b", 1e3, 1.0)])


def test_items_are_read_with_the_lines_of_bad_rows(tmp_path):
    """item, data, margin; a margin may be below 0, but is a number."""
    path = tmp_path / "items.csv"
    path.write_text("item,data,margin\na,1e3,-0.5\na,1e4,0.5\n")
    assert read_items(path) == [("a", 1e3, -0.5), ("a", 1e4, 0.5)]
    path.write_text("item,data,margin\na,1e3,x\n")
    with pytest.raises(DataError, match=":2: margin"):
        read_items(path)
    path.write_text("item,data\na,1e3\n")
    with pytest.raises(DataError, match="no column 'margin'"):
        read_items(path)
