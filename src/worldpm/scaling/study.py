"""A table of runs -> the report that figures and page are drawn from, as JSON.

report = study(points, "auto", y="loss", seed=0)
report["panels"][0]["series"][0]["law"]["parameters"]["alpha"]
"""

from typing import Any

import numpy as np

from worldpm.errors import DataError
from worldpm.scaling.law import Law, fit_law
from worldpm.scaling.points import Points
from worldpm.scaling.shapes import FORMS, Floats

_CURVE = 60  # points of a drawn curve


def study(points: Points, form: str, *, y: str, seed: int, resamples: int = 400) -> dict[str, Any]:
    """A panel for each suite, with a law for each size, or one for all sizes if `form` is joint.

    Too few points for a law leave a series without one, and say why under `no_law`. Raises
    DataError for a joint law of points that have no params.
    """
    if form == "joint":
        points.inputs(FORMS[form])
    named = bool(points.labels) and "suite" in points.labels[0]
    suites = points.groups(["suite"]) if named else {("",): points}
    panels = []
    for (suite,), own in suites.items():
        classes = sorted({labels.get("class", "") for labels in own.labels} - {""})
        series = (
            _joint(own, seed, resamples) if form == "joint" else _each(own, form, seed, resamples)
        )
        panels.append({"suite": suite, "class": ", ".join(classes), "series": series})
    return {"x": points.x, "y": y, "form": form, "seed": seed, "panels": panels}


def _each(points: Points, form: str, seed: int, resamples: int) -> list[dict[str, Any]]:
    found = []
    for params, own in _sizes(points):
        series = _series(params, own)
        try:
            law = fit_law(own, form, seed=seed, resamples=resamples)
        except DataError as error:
            found.append({**series, **_no_law(error)})
            continue
        grid = _grid(own.data)
        found.append(
            {**series, "law": law.to_json(), "curve": _curve(law, np.log(grid[None]), grid)}
        )
    return found


def _joint(points: Points, seed: int, resamples: int) -> list[dict[str, Any]]:
    try:
        law = fit_law(points, "joint", seed=seed, resamples=resamples)
    except DataError as error:
        return [{**_series(params, own), **_no_law(error)} for params, own in _sizes(points)]
    found = []
    for params, own in _sizes(points):
        grid = _grid(own.data)
        size = np.full(len(grid), np.log(params or 1.0))
        curve = _curve(law, np.stack([size, np.log(grid)]), grid)
        found.append({**_series(params, own), "law": law.to_json(), "curve": curve})
    return found


def _no_law(error: DataError) -> dict[str, Any]:
    return {"law": None, "no_law": str(error), "curve": []}


def _sizes(points: Points) -> list[tuple[float | None, Points]]:
    """The points apart by their size, the smallest first."""
    if points.params is None:
        return [(None, points)]
    return [
        (float(size), points.take(np.flatnonzero(points.params == size)))
        for size in np.unique(points.params)
    ]


def _series(params: float | None, own: Points) -> dict[str, Any]:
    rows = [
        {"data": float(d), "value": float(v), "seed": labels.get("seed", "")}
        for d, v, labels in zip(own.data, own.value, own.labels, strict=True)
    ]
    return {"params": params, "points": rows}


def _grid(data: Floats) -> Floats:
    return np.geomspace(data.min(), data.max(), _CURVE)


def _curve(law: Law, inputs: Floats, grid: Floats) -> list[dict[str, float]]:
    return [{"data": float(x), **row} for x, row in zip(grid, law.band(inputs), strict=True)]
