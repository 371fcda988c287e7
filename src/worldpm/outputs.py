"""Folders that are made: what may not be where they go, and how a finished one gets its name.

check_new(Path("data"), force=False)                  before the work
check_outside(Path("data"), [Path("threads")])
put_in_place(Path(".data.partial"), Path("data"), force=False)
"""

import shutil
from collections.abc import Iterable
from pathlib import Path

from worldpm.errors import OutputExistsError


def check_new(folder: Path, *, force: bool) -> None:
    """OutputExistsError for a link, and without `force` for an output that exists."""
    if folder.is_symlink():  # no finished folder takes the place of one
        raise OutputExistsError(f"{folder}: is a link; give the folder that it leads to")
    if folder.exists() and not force:
        raise OutputExistsError(f"{folder}: exists already; give another -o, or --force")


def check_outside(folder: Path, inputs: Iterable[Path]) -> None:
    """OutputExistsError for an output inside a folder that is read as a whole."""
    above = folder.resolve().parents
    for path in inputs:
        if path.resolve() in above:
            raise OutputExistsError(
                f"{folder}: lies inside {path}, so that what is written would be read as part of "
                "it; give an -o elsewhere"
            )


def put_in_place(made: Path, folder: Path, *, force: bool) -> None:
    """Give a finished folder its name, with `force` in place of what has it by now."""
    check_new(folder, force=force)
    if folder.exists():
        shutil.rmtree(folder)
    made.rename(folder)
