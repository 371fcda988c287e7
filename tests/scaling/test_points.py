"""Tables become points; a bad row is named by its line."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from laws import CHINCHILLA, draw

from worldpm.errors import DataError, WorldPMError
from worldpm.scaling.points import read_points
from worldpm.scaling.shapes import FORMS
from worldpm.scaling.trend import trend_test

TABLE = """params,pairs,loss,accuracy,suite,run,note
1e6,10,0.5,0.7,a,r1,x
1e6,20,0.4,,a,r1,y
2e6,10,0.45,0.8,b,r2,
"""


def written(tmp_path, text):
    path = tmp_path / "points.csv"
    path.write_text(text)
    return path


def test_columns_are_found_and_others_ignored(tmp_path):
    """params, pairs as data, loss; the runs; the rest are labels."""
    points = read_points(written(tmp_path, TABLE))
    assert points.params.tolist() == [1e6, 1e6, 2e6]
    assert points.data.tolist() == [10, 20, 10]
    assert points.runs == ("r1", "r1", "r2")
    assert points.take([2]).x == "pairs"
    assert [labels["note"] for labels in points.labels] == ["x", "y", ""]
    assert np.allclose(points.inputs(FORMS["joint"]), np.log([points.params, points.data]))


def test_rows_without_the_value_are_left_out(tmp_path):
    """An empty accuracy is no measurement; a choice by label holds for every column."""
    path = written(tmp_path, TABLE)
    assert read_points(path, y="accuracy").value.tolist() == [0.7, 0.8]
    assert read_points(path, where={"suite": "a"}).value.tolist() == [0.5, 0.4]


def test_rows_without_a_run_are_runs_of_their_own(tmp_path):
    """Two empty names do not make two points one run."""
    text = "data,loss,run\n1,1,a\n2,1,a\n3,1,\n4,1,\n"
    assert len(set(read_points(written(tmp_path, text)).runs)) == 3
    assert read_points(written(tmp_path, text.replace(",a", ","))).runs is None


def test_a_part_in_which_no_run_has_two_points_has_no_runs(tmp_path):
    """Of runs that look once at each of two suites: a suite's trend is judged by its points."""
    rows = [f"{10 * 2**i},{0.7 - 0.05 * i},{suite},r{i}" for i in range(8) for suite in "ab"]
    path = written(tmp_path, "\n".join(["data,loss,suite,run", *rows]))
    points = read_points(path)
    assert len(set(points.runs)) == 8
    alone = read_points(path, where={"suite": "a"})
    for own in points.groups(["suite"]).values():
        assert own.runs is None
        assert trend_test(own, seed=0) == trend_test(alone, seed=0)
        assert trend_test(own, seed=0).is_there


def test_parquet_reads_as_csv_does(tmp_path):
    """The same columns of numbers give the same points."""
    path = tmp_path / "points.parquet"
    pq.write_table(
        pa.table({"params": [1e6, 2e6], "data": [10, 20], "loss": [0.5, 0.25], "run": ["a", "b"]}),
        path,
    )
    points = read_points(path)
    assert points.value.tolist() == [0.5, 0.25]
    assert points.runs is None, "no two points share a run"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("params,data,loss\n1,2,3\n1,2,x\n", r":3: loss is 'x', not a number above 0"),
        ("params,data,loss\n1,0,3\n", r":2: data is '0'"),
        ("params,data,loss\n1,2,nan\n", r":2: loss is 'nan'"),
        ("params,data,loss\n-1,2,1\n", r":2: params is '-1'"),
        ("params,data,loss\n1,2,inf\n", r":2: loss is 'inf'"),
        ("params,data,loss\n\n1,2\n", r":3: 2 cells under 3 columns"),
        ("params,data\n1,2\n", "no column 'loss'; it has params, data"),
        ("params,loss\n1,2\n", "no column 'data'"),
        ("data,data,loss\n1,2,3\n", "two columns of one name"),
        ("params,data,loss\n", "has no rows"),
        ("", "has no rows"),
        ('data,loss\n1,"2\n', "not CSV"),
    ],
)
def test_a_bad_table_is_named_with_its_line(tmp_path, text, words):
    """What, where and in which line."""
    with pytest.raises(DataError, match=words):
        read_points(written(tmp_path, text))


def test_a_file_that_is_not_text_is_named(tmp_path):
    """Neither bytes that are no UTF-8 nor a folder end in a traceback."""
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "x.csv", tmp_path):
        with pytest.raises(DataError):
            read_points(path)


def test_joint_needs_sizes():
    """A function of params cannot be fitted without them."""
    with pytest.raises(DataError, match="no column params"):
        draw("power", 0).inputs(FORMS["joint"])


def test_the_highest_are_left_out_and_order_is_kept():
    """As the published estimate does with five of the 245 points."""
    points = read_points(CHINCHILLA)
    fewer = points.without_highest(5)
    assert (len(points), len(fewer)) == (245, 240)
    assert fewer.value.max() <= np.sort(points.value)[-6]
    assert fewer.data.tolist() == [
        d for d, v in zip(points.data, points.value, strict=True) if v <= fewer.value.max()
    ]
    with pytest.raises(WorldPMError, match="cannot be dropped"):
        fewer.without_highest(240)


def test_the_published_table_is_what_it_was():
    """Counts and moments of the source: a digit typed wrong would move them."""
    points = read_points(CHINCHILLA)
    assert len(set(points.params)) == 142
    assert len(set(points.value)) == 99
    assert points.params.std(ddof=1) == pytest.approx(2464560600.107564, rel=1e-7)
    assert points.data.std(ddof=1) == pytest.approx(38025506115.73361, rel=1e-7)
    assert points.value.std(ddof=1) == pytest.approx(0.36438696455830627, rel=2e-6)


def test_groups_keep_every_point_once(tmp_path):
    """Points are parted by labels in order of appearance; an unknown label is named."""
    points = read_points(written(tmp_path, TABLE))
    groups = points.groups(["suite"])
    assert [key for (key,) in groups] == ["a", "b"]
    assert [len(own) for own in groups.values()] == [2, 1]
    with pytest.raises(DataError, match="no column 'where'"):
        points.groups(["where"])
