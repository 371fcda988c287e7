"""A forecast is made before, hashed, and held to what came."""

import numpy as np
import orjson
import pytest
from laws import draw

from worldpm.errors import ConfigError, DataError
from worldpm.scaling.forecast import forecast, read_forecast, score_forecast, write_forecast
from worldpm.scaling.points import Points

SMALL = {"seed": 0, "sha256": "0" * 64, "source": "points.csv", "resamples": 60}


def small(name="power", seed=0):
    points = draw(name, seed)
    return points.take(np.flatnonzero(points.data < points.data.max() / 3))


def observed(data, value, params=None):
    return Points(params, np.array(data), np.array(value), None, ({},) * len(data))


@pytest.fixture
def made():
    return forecast(small(), "power", [{"data": 1e6}, {"data": 1e9}], **SMALL)


def test_a_forecast_is_near_the_law_that_made_the_points(made):
    """Three times beyond the points: the true value within the interval, which has a width."""
    first = made["predictions"][0]
    assert first["low"] < 1.5 * 1e6**-0.08 < first["high"]
    far = made["predictions"][1]
    assert far["high"] / far["low"] > first["high"] / first["low"] > 1.01, "wider farther out"
    assert made["points"]["largest"]["data"] < 1e6


def test_the_file_is_read_as_written_and_refused_if_altered(made, tmp_path):
    """Any changed value, and a hash that is made to fit nothing, is found."""
    path = tmp_path / "forecast.json"
    write_forecast(path, made)
    assert read_forecast(path) == made
    for change in (
        lambda c: c["predictions"][0].update(high=9.0),
        lambda c: c["points"].update(sha256="1" * 64),
        lambda c: c.update(sha256="0" * 64),
        lambda c: c.pop("sha256"),
    ):
        content = orjson.loads(path.read_bytes())
        change(content)
        (tmp_path / "altered.json").write_bytes(orjson.dumps(content))
        with pytest.raises(DataError, match="altered"):
            read_forecast(tmp_path / "altered.json")


def test_another_file_is_no_forecast(tmp_path):
    """JSON of another kind is named."""
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(DataError, match="is not a forecast"):
        read_forecast(tmp_path / "x.json")


def test_the_score_says_inside_and_how_far(made):
    """Inside or not, the log error with its sign, and what is not there yet."""
    value = made["predictions"][0]["value"]
    result = score_forecast(made, observed([1e6, 1e6, 5e6], [value, 2 * value, 0.4]))
    assert [row["inside"] for row in result["scored"]] == [True, False]
    assert result["scored"][1]["log_error"] == pytest.approx(np.log(2))
    assert result["mean_absolute_log_error"] == pytest.approx(np.log(2) / 2)
    assert (result["inside"], result["not_yet_observed"], result["not_predicted"]) == (1, 1, 1)
    with pytest.raises(DataError, match="nothing"):
        score_forecast(made, observed([7.0], [0.5]))


def test_a_joint_forecast_is_by_params_and_data():
    """Both are needed to make it and to score it."""
    points = draw("joint", 0)
    with pytest.raises(ConfigError, match="params"):
        forecast(points, "joint", [{"data": 1e12}], **SMALL)
    made = forecast(points, "joint", [{"params": 1e10, "data": 1e12}], **SMALL)
    value = made["predictions"][0]["value"]
    both = observed([1e12, 1e12], [value, value], np.array([1e10, 2e10]))
    assert score_forecast(made, both)["not_predicted"] == 1
    with pytest.raises(DataError, match="no params"):
        score_forecast(made, observed([1e12], [value]))
