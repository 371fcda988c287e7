"""What `show` says of a ladder's folder: how much of it is done, and why a cell failed.

show_ladder(Path("OUT"), as_json=False)
"""

from collections import Counter
from pathlib import Path

from worldpm.cli.common import print_json, stdout
from worldpm.cli.ladder_cells import cell_state
from worldpm.errors import DataError
from worldpm.jsonfiles import read_object
from worldpm.scaling.ladder import Ladder, cells

IDENTITY = "ladder.json"


def show_ladder(folder: Path, *, as_json: bool) -> None:
    """The seeds done by size and amount as a table, and the reasons of those that failed.

    Raises DataError if the folder's ladder.json is not as `scaling run` writes it.
    """
    from pydantic import ValidationError
    from rich import box
    from rich.table import Table

    from worldpm.cli.show import print_line

    try:
        ladder = Ladder.model_validate(read_object(folder / IDENTITY).get("ladder"))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, ("ladder", *first["loc"])))
        raise DataError(
            f"{folder / IDENTITY}: is not as `scaling run` writes it: {key}: {first['msg']}"
        ) from None
    states = {each: cell_state(folder / "cells" / each.name) for each in cells(ladder)}
    counts = Counter(states.values())
    failed = {
        each.name: read_object(folder / "cells" / each.name / "failed.json").get("reason")
        for each, state in states.items()
        if state == "failed"
    }
    if as_json:
        print_json(
            {
                "kind": "ladder",
                "path": str(folder),
                "counts": counts,
                "cells": {each.name: state for each, state in states.items()},
                "failed": failed,
            }
        )
        return
    told = ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
    table = Table("", *map(str, ladder.comparisons), box=box.SIMPLE_HEAD)
    for size in ladder.sizes:
        done = Counter(
            each.comparisons
            for each, state in states.items()
            if (each.size, state) == (size, "done")
        )
        table.add_row(size, *(f"{done[n]} of {len(ladder.seeds)}" for n in ladder.comparisons))
    # Names and reasons as they stand: neither markup of rich's nor control characters.
    print_line(f"{folder}: a ladder of {len(states)} cells, {told}")
    stdout().print(table)
    for name, reason in failed.items():
        print_line(f"  failed    {name}: {reason}")
    table_file = folder / "observations.csv"
    if table_file.is_file():  # it is written when `scaling run` ends or stops
        print_line(f"  table     {table_file}: for `worldpm scaling plot`")
