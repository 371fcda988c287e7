"""`worldpm scaling`: fit, forecast, emergence and plot from tables."""

import numpy as np
import pytest
from laws import CHINCHILLA, draw

FAST = ("--resamples", "60")


@pytest.fixture
def table(tmp_path):
    """Two suites of a power law at two sizes."""
    lines = ["params,pairs,suite,class,loss,accuracy,seed"]
    for suite in ("a", "b"):
        points = draw("power", ord(suite))
        for place, (x, y) in enumerate(zip(points.data, points.value, strict=True)):
            size = (1000000, 8000000)[place % 2]
            lines.append(f"{size},{x:.6g},{suite},objective,{y:.6g},{0.3 * x**0.05:.6g},1")
    path = tmp_path / "points.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_the_known_case(worldpm):
    """The published points give the published parameters within their intervals."""
    result = worldpm("scaling", "fit", CHINCHILLA, "--form", "joint", "--json", *FAST)
    assert result.code == 0, result.err
    found = result.json["parameters"]
    assert set(found) == {"E", "A", "B", "alpha", "beta"}
    for name, value in {"E": 1.8172, "alpha": 0.3478, "beta": 0.3658}.items():
        assert found[name]["low"] < value < found[name]["high"], name
    assert result.json["num_points"] == 245


def test_a_law_a_group(worldpm, table):
    """--by parts the rows, --where chooses, and the text is a table of each."""
    found = worldpm("scaling", "fit", table, "--form", "power", "--by", "suite", "--json", *FAST)
    assert [law["suite"] for law in found.json["laws"]] == ["a", "b"]
    one = ("--where", "suite=a", "--where", "params=1000000")
    assert worldpm("scaling", "fit", table, "--json", *one, *FAST).json["num_points"] == 12
    text = worldpm("scaling", "fit", table, "--form", "power", "--by", "suite", *FAST)
    rows = [line.split() for line in text.out.splitlines() if " power " in line]
    assert [row[0] for row in rows] == ["a", "b"]
    for row, law in zip(rows, found.json["laws"], strict=True):
        assert row[1:4] == [f"{law['trend']['p']:.2g}", f"{law['trend']['q']:.2g}", "power"]
    assert text.out.count("alpha") == 2


def test_a_group_without_a_law_is_named_and_the_others_are_fitted(worldpm, table):
    """In JSON and on stderr; where no group has one it is an error, which names the first."""
    table.write_text(table.read_text() + "1000000,1000,short,objective,0.6,0.5,1\n")
    command = ("scaling", "fit", table, "--form", "power", "--by", "suite,params", *FAST)
    text = worldpm(*command)
    assert (text.code, text.err.count("no law of")) == (0, 1)
    assert "no law of short, 1000000: power has 2 parameters and needs 4 points" in text.err
    found = worldpm(*command, "--json").json
    assert [law["suite"] for law in found["laws"]] == ["a", "a", "b", "b"]
    assert [each["suite"] for each in found["without"]] == ["short"]
    none = worldpm(*command, "--where", "suite=short")
    assert none.code == 1
    assert none.err.startswith("error: none of 1 groups by suite, params has a law; short, 1000000")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--form", "linear"), "power-floor"),
        (("--where", "suite"), "COLUMN=VALUE"),
        (("--where", "suite=z"), "'suite': 'z'}, with a loss; suite is a, b"),
        (("--by", "nothing"), "no column 'nothing'"),
        (("--y", "nothing"), "no column 'nothing'"),
        (("--delta", "0"), "not above 0"),
        (("--resample", "all"), "signs"),
        (("--drop-highest", "48"), "cannot be dropped"),
    ],
)
def test_what_cannot_be_fitted_is_said(worldpm, table, options, words):
    """Exit code 1 and a sentence that names the option."""
    result = worldpm("scaling", "fit", table, *options, *FAST)
    assert result.code == 1
    assert words in result.err


def test_a_forecast_is_made_and_scored(worldpm, table, tmp_path):
    """Made to a file, not over another; scored; refused once altered."""
    out = tmp_path / "forecast.json"
    make = ("scaling", "forecast", table, "--form", "power", "--at", "data=1e7", "-o", out, *FAST)
    made = worldpm(*make, "--json").json
    assert made["points"]["file"] == "points.csv"
    assert worldpm(*make).code == 1, "it exists"
    observed = tmp_path / "observed.csv"
    observed.write_text(f"data,loss\n1e7,{1.5 * 1e7**-0.08}\n")
    result = worldpm("scaling", "forecast", out, "--score", observed, "--json").json
    assert result["scored"][0]["inside"] is True
    assert result["forecast_sha256"] == made["sha256"]
    assert "1 of 1 inside" in worldpm("scaling", "forecast", out, "--score", observed).out
    out.write_bytes(out.read_bytes().replace(b'"value": 0.4', b'"value": 0.5'))
    altered = worldpm("scaling", "forecast", out, "--score", observed)
    assert altered.code == 1
    assert "altered" in altered.err


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ("data", "COLUMN=VALUE"),
        ("data=x", "not a number"),
        ("data=0", "above 0"),
        ("x=1", "above 0"),
    ],
)
def test_a_place_to_forecast_is_numbers(worldpm, table, tmp_path, at, words):
    """A bad --at is named, and no file is made."""
    result = worldpm("scaling", "forecast", table, "--at", at, "-o", tmp_path / "f.json", *FAST)
    assert result.code == 1
    assert words in result.err
    assert not (tmp_path / "f.json").exists()


def test_emergence_says_whose_doing(worldpm, table, tmp_path):
    """A smooth accuracy is none; items are counted beside it."""
    items = tmp_path / "items.csv"
    items.write_text("item,data,margin\na,1e3,-1\na,1e4,1\nb,1e3,1\nb,1e4,1\n")
    command = ("scaling", "emergence", table, "--where", "suite=a", "--items", items)
    found = worldpm(*command, "--json").json
    assert found["verdict"] == "none"
    assert found["items"]["gained"] == ["a"]
    assert "1 gained, 0 lost" in worldpm(*command).out


def test_a_plot_is_a_page_with_its_pictures(worldpm, table, tmp_path):
    """Page, SVG, PNG and CSV; nothing is written over; the name must end in .html."""
    pytest.importorskip("matplotlib")
    out = tmp_path / "scaling.html"
    command = ("scaling", "plot", table, "--form", "power", "-o", out, *FAST)
    assert worldpm(*command).code == 0
    for suffix in (".html", ".svg", ".png", ".csv"):
        assert out.with_suffix(suffix).stat().st_size > 1000, suffix
    page = out.read_text()
    assert "<svg" in page
    assert "8M" in page
    assert worldpm(*command).code == 1, "it exists"
    assert worldpm("scaling", "plot", table, "-o", tmp_path / "x.png").code == 1


def test_the_light_install_is_enough(worldpm, table, monkeypatch):
    """No scipy is imported by a fit."""
    import sys

    monkeypatch.setitem(sys.modules, "scipy", None)
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    assert np.isfinite(
        worldpm("scaling", "fit", table, "--form", "power", "--json", *FAST).json["spread"]
    )


def test_mechanisms(worldpm, tmp_path):
    """Slopes by data and size as text and JSON; a table without the columns is refused."""
    columns = "run,size,pairs,params,suite,class,controlled_loss,uncontrolled_loss,phi_length"
    lines = [columns]
    for size in (1, 2):
        for place in range(1, 5):
            phi = 0.5 - 0.01 * place**2
            lines.append(f"{size}-{place},a,{10**place},{size}000,s,c,0.6,0.{6 + size},{phi}")
    path = tmp_path / "observations.csv"
    path.write_text("\n".join(lines) + "\n")
    found = worldpm("scaling", "mechanisms", path, "--json").json["mechanisms"]
    assert [row["measure"] for row in found] == ["phi_length", "style_gap"]
    assert found[0]["by_data"]["high"] < 0
    assert found[1]["by_size"]["low"] > 0
    assert "for ten times the size" in worldpm("scaling", "mechanisms", path).out
    path.write_text("suite,run\ns,r\n")
    assert worldpm("scaling", "mechanisms", path).code == 1
