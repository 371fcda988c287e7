"""Arrays between the tasks of a run: written whole or not at all, read without being loaded.

write_array(path, array); read_array(path)
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldpm.errors import DataError
from worldpm.store import whole_file


def write_array(path: Path, array: NDArray[Any]) -> None:
    """Write one .npy file; UnwrittenError for a full disk."""
    with whole_file(path) as temporary, temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)


def read_array(path: Path) -> NDArray[Any]:
    """The array, its bytes read as they are asked for; DataError where there is none."""
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False, mmap_mode="r")
    except ValueError:  # an array of nothing cannot be mapped
        array = _load(path)
    except (OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read: {error}; --force starts over") from None
    return array


def _load(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}; --force starts over") from None
    return array
