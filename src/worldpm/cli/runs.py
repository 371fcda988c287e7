"""`show RUN`: the curves of a training run as a table, its looks, its events; pictures on request.

show_run(Path("run"), plot=None, tensorboard=None, as_json=False, force=False)
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from worldpm.cli.common import check_output, print_json, stdout
from worldpm.cli.show import flat_items, print_line
from worldpm.errors import DataError

ROWS = 10  # of the table of curves, and looks at validation sets
NAMES = {
    "loss_nats": "loss", "grad_norm": "norm", "tokens_per_second": "tok/s",
    "pairs_per_second": "pairs/s", "matrix_share": "peak",
}  # fmt: skip
CURVES = ("loss_nats", "accuracy", "margin", "grad_norm")


def show_run(
    path: Path, plot: Path | None, tensorboard: Path | None, *, as_json: bool, force: bool
) -> None:
    """Print a run, and write its picture or its event files; see `worldpm show --help`."""
    from dataclasses import asdict

    from worldpm.jsonfiles import read_object
    from worldpm.report.runs import curve_table, look_table, read_run, run_events

    record = read_object(path / "run.json")
    metrics = path / "metrics.jsonl"
    run = read_run(metrics)
    written = [*_picture(metrics, plot, force=force), *_events(run, tensorboard, force=force)]
    curves, looks = curve_table(run, ROWS), look_table(run)
    events = [
        {"step": step["step"], "pairs": step["pairs"], **asdict(event), "note": str(event)}
        for step, event in run_events(run)
    ]
    kept = sorted(each.name for each in (path / "checkpoints").glob("step-*"))
    done = (path / "model" / "config.json").is_file()
    last = {
        "step": run.steps[-1] if run.steps else None,
        "validation": run.looks[-1] if run.looks else None,
    }
    if as_json:
        print_json(
            {
                "path": str(path), "kind": "run", **record, "last": last, "curves": curves,
                "validation": looks, "events": events, "best": run.best, "checkpoints": kept,
                "finished": done, "written": [str(file) for file in written],
            }
        )  # fmt: skip
        return
    print_line(f"{path}: a training run, {'finished' if done else 'not finished'}")
    if run.steps:
        _print_curves(run.steps, curves)
    if looks:
        _print_looks(looks)
    if run.best is not None:
        use = "RUN/model is it" if run.best.get("kept") else "RUN/model is the last"
        print_line(f"  best look        step {run.best['step']}; {use}")
    for event in events:
        print_line(f"  event            step {event['step']}: {event['note']}")
    for name, value in last.items():
        for key, number in flat_items(value or {}):
            if key != "kind" and not key.startswith("validation_by_set."):  # they have a table
                print_line(f"  last {name:<11} {key} = {number}")
    print_line(f"  checkpoints      {', '.join(kept) or 'none'}")
    for key, value in flat_items(record.get("recipe", {})):
        print_line(f"  recipe           {key} = {value}")
    for file in written:
        print_line(f"  written          {file}")
    if done:
        print_line(f"  next: worldpm score FILE --model {path / 'model'}")


def _picture(metrics: Path, plot: Path | None, *, force: bool) -> list[Path]:
    if plot is None:
        return []
    from worldpm.report.training_plot import plot_training

    for suffix in (".svg", ".png", ".csv"):
        check_output(plot.with_suffix(suffix), force=force)
    return plot_training(metrics, plot)


def _events(run: Any, folder: Path | None, *, force: bool) -> list[Path]:
    if folder is None:
        return []
    from worldpm.report.tensorboard import write_events

    if folder.exists() and any(folder.iterdir()) and not force:
        raise DataError(f"{folder}: holds files already; give another --tensorboard, or --force")
    return [write_events(run, folder)]


def _print_curves(steps: Sequence[Mapping[str, Any]], curves: Sequence[Mapping[str, Any]]) -> None:
    from worldpm.report.runs import COLUMNS, sparkline

    _print_table(curves, {"step": ",d", **COLUMNS})
    for name in CURVES:
        if line := sparkline([step.get(name) for step in steps]):
            print_line(f"  {name:<16} {line}")


def _print_looks(looks: Sequence[Mapping[str, Any]]) -> None:
    """The looks at each set, and the style of the last one: a table of both would be too wide."""
    from worldpm.report.runs import LOOK_COLUMNS, STYLE_COLUMNS

    at = list(dict.fromkeys(row["step"] for row in looks))
    few = set(at[:: -(len(at) // -ROWS)]) | {at[-1]}
    few_looks = [row for row in looks if row["step"] in few]
    _print_table(few_looks, {"step": ",d", "set": "", **LOOK_COLUMNS})
    last = [row for row in looks if row["step"] == looks[-1]["step"]]
    if any(row[name] is not None for row in last for name in STYLE_COLUMNS):
        _print_table(last, {"set": "", **STYLE_COLUMNS})


def _print_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> None:
    """Columns that hold something, each with its form."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from worldpm.report.runs import shown

    there = {n: f for n, f in columns.items() if any(row.get(n) is not None for row in rows)}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in there:
        justify: Literal["left", "right"] = "left" if name == "set" else "right"
        words = NAMES.get(name, name).replace("_", " ")
        table.add_column(words, justify=justify, no_wrap=len(words) < 10)
    for row in rows:
        table.add_row(*(Text(shown(row.get(name), form)) for name, form in there.items()))
    stdout().print(table)
