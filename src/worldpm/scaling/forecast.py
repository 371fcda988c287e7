"""Points of small runs -> what a large one will show, written down before it is trained.

    made = forecast(points, "power", targets, seed=0, sha256=file_sha256(path), source="points.csv")
    write_forecast(Path("forecast.json"), made)
    ... train ...
    score_forecast(read_forecast(Path("forecast.json")), observed)

The file holds the hash of the points and its own: of the sorted JSON of everything else in it. Who
publishes that hash can be held to the forecast; an altered file is refused.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from worldpm.errors import ConfigError, DataError
from worldpm.jsonfiles import read_object
from worldpm.scaling.intervals import predict
from worldpm.scaling.law import fit_law
from worldpm.scaling.points import Points
from worldpm.store import write_atomic

FORMAT = "worldpm-forecast/1"
_SAME = 1e-6  # relative: two params or data are the same


def forecast(
    points: Points,
    form: str,
    targets: Sequence[Mapping[str, float]],
    *,
    seed: int,
    sha256: str,
    source: str,
    y: str = "loss",
    resamples: int = 1000,
    made: str | None = None,
) -> dict[str, Any]:
    """A forecast with 95 % intervals of what will be observed at each target, and its own hash.

    A target gives data, and params where the form needs them; `made` is when, as text. Raises
    ConfigError for a target that lacks one of them.
    """
    law = fit_law(points, form, seed=seed, resamples=resamples)
    for target in targets:
        if missing := [name for name in law.fit.form.inputs if name not in target]:
            raise ConfigError(f"--at: {law.form} needs {missing[0]} too, as in params=7e9,data=1e9")
    inputs = np.log([[target[name] for target in targets] for name in law.fit.form.inputs])
    found = predict(law.fit, law.draws, inputs, noisy=True)
    largest = {
        name: float(np.exp(row.max()))
        for name, row in zip(law.fit.form.inputs, law.fit.inputs, strict=True)
    }
    content = {
        "format": FORMAT,
        "made": made,
        "y": y,
        "points": {"file": source, "sha256": sha256, "count": len(points), "largest": largest},
        "seed": seed,
        "law": law.to_json(),
        "predictions": [
            {**target, "value": float(value), "low": float(low), "high": float(high)}
            for target, value, low, high in zip(
                targets, found.middle, found.low, found.high, strict=True
            )
        ],
    }
    return {**content, "sha256": content_sha256(content)}


def content_sha256(content: Mapping[str, Any]) -> str:
    """SHA-256 of the sorted JSON of a forecast without its own hash, in hex."""
    rest = {key: value for key, value in content.items() if key != "sha256"}
    return hashlib.sha256(orjson.dumps(rest, option=orjson.OPT_SORT_KEYS)).hexdigest()


def write_forecast(path: Path, content: Mapping[str, Any]) -> None:
    """Write a forecast, indented for people."""
    write_atomic(path, orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")


def read_forecast(path: Path) -> dict[str, Any]:
    """A forecast as it was made; DataError for another file, or one that was altered since."""
    content = read_object(path)
    if content.get("format") != FORMAT:
        raise DataError(f"{path}: is not a forecast; `worldpm scaling forecast` makes them")
    if content.get("sha256") != content_sha256(content):
        raise DataError(
            f"{path}: was altered after it was made: its content does not have the hash it names"
        )
    return content


def score_forecast(content: Mapping[str, Any], observed: Points) -> dict[str, Any]:
    """Each prediction beside what was observed there: inside its interval, and the log error.

    `log_error` is log observed less log predicted. Observations nowhere predicted are counted, and
    so are predictions not yet observed. Raises DataError where nothing can be scored.
    """
    rows: list[dict[str, Any]] = []
    used: set[int] = set()
    waiting = 0
    for each in content["predictions"]:
        places = [i for i in range(len(observed)) if _is_at(each, observed, i)]
        used.update(places)
        waiting += not places
        for place in places:
            value = float(observed.value[place])
            rows.append(
                {
                    **each,
                    "observed": value,
                    "inside": bool(each["low"] <= value <= each["high"]),
                    "log_error": math.log(value / each["value"]),
                }
            )
    if not rows:
        raise DataError("nothing that was observed is at a params and data that were predicted")
    return {
        "forecast_sha256": content["sha256"],
        "scored": rows,
        "inside": sum(row["inside"] for row in rows),
        "mean_absolute_log_error": math.fsum(abs(row["log_error"]) for row in rows) / len(rows),
        "not_yet_observed": waiting,
        "not_predicted": len(observed) - len(used),
    }


def _is_at(prediction: Mapping[str, Any], observed: Points, place: int) -> bool:
    same = math.isclose(prediction["data"], observed.data[place], rel_tol=_SAME)
    if "params" not in prediction:
        return same
    if observed.params is None:
        raise DataError("the forecast is by params and data, and the observations have no params")
    return same and math.isclose(prediction["params"], observed.params[place], rel_tol=_SAME)
