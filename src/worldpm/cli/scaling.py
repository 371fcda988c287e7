"""`worldpm scaling run`, `fit`, `forecast`, `emergence`, `plot`: ladders, and laws of their loss.

    worldpm scaling fit points.csv --form joint --json
    worldpm scaling forecast small.csv --at data=1e7 -o forecast.json
    worldpm scaling forecast forecast.json --score observed.csv

Tables are CSV or Parquet with the columns params, data (or pairs, or tokens) and loss; others part
the points (`--by suite`) or choose among them (`--where suite=llmbar`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worldpm.cli.common import (
    ForceFlag,
    JsonFlag,
    QuietFlag,
    check_inputs,
    check_output,
    print_json,
    say,
    stdout,
)
from worldpm.cli.laddering import run
from worldpm.errors import ConfigError, DataError

if TYPE_CHECKING:
    from worldpm.scaling.points import Points

scaling_app = typer.Typer(
    help="Climb ladders, fit laws of loss against data and size, and forecast with them.",
    no_args_is_help=True,
)
scaling_app.command("run")(run)

PointsArgument = Annotated[
    Path, typer.Argument(metavar="POINTS", help="CSV or Parquet: params, data, loss, a row a run.")
]
FormOption = Annotated[
    str,
    typer.Option(
        "--form",
        metavar="FORM",
        help="constant, power, power-floor, broken, logistic (in log data), joint (params and "
        "data), or auto: the one that the points follow.",
    ),
]
XOption = Annotated[
    str | None, typer.Option("--x", help="The column of data, if not data, pairs or tokens.")
]
YOption = Annotated[str, typer.Option("--y", help="The column to fit.")]
WhereOption = Annotated[
    list[str] | None,
    typer.Option("--where", metavar="COLUMN=VALUE", help="Only rows that say so, all of them."),
]
ByOption = Annotated[
    str | None, typer.Option("--by", metavar="COLUMN,...", help="A law for each group of rows.")
]
DropOption = Annotated[
    int, typer.Option("--drop-highest", min=0, help="Leave out so many points of highest loss.")
]
DeltaOption = Annotated[
    float | None,
    typer.Option(
        "--delta",
        help="Huber's delta on log residuals; without it, 0.001 for joint and 1.345 of the "
        "residuals' scale for the others.",
    ),
]
ResamplesOption = Annotated[
    int, typer.Option("--resamples", min=50, help="Resampled fits that the intervals stand on.")
]
ResampleOption = Annotated[
    str | None,
    typer.Option(
        "--resample",
        metavar="HOW",
        help="runs, residuals or signs; without it, runs where there are six at least.",
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", help="Of what is drawn.")]


def read(path: Path, x: str | None, y: str, where: Sequence[str] | None, drop: int = 0) -> "Points":
    """The points that the options ask for; ConfigError for one that is not COLUMN=VALUE."""
    from worldpm.scaling.points import read_points

    check_inputs([path])
    points = read_points(path, x=x, y=y, where=_pairs(where or [], "--where"))
    return points.without_highest(drop) if drop else points


def _pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ConfigError(f"{option} {text!r} is not COLUMN=VALUE")
        found[name.strip()] = value.strip()
    return found


@scaling_app.command("fit")
def fit(
    points: PointsArgument,
    form: FormOption = "auto",
    x: XOption = None,
    y: YOption = "loss",
    where: WhereOption = None,
    by: ByOption = None,
    drop_highest: DropOption = 0,
    delta: DeltaOption = None,
    resamples: ResamplesOption = 1000,
    resample: ResampleOption = None,
    seed: SeedOption = 0,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Fit a law and print each parameter with its 95 % interval."""
    from worldpm.evals.multiple import benjamini_hochberg
    from worldpm.report.scaling_tables import law_table, laws_table
    from worldpm.scaling.law import fit_law

    table = read(points, x, y, where, drop_highest)
    if delta is not None and not delta > 0:
        raise ConfigError(f"--delta {delta:g} is not above 0")
    if resample not in {None, "runs", "residuals", "signs"}:
        raise ConfigError(f"--resample {resample!r} is not runs, residuals or signs")
    names = [name.strip() for name in (by or "").split(",") if name.strip()]
    groups = table.groups(names) if names else {(): table}
    laws, without = [], []
    for key, own in groups.items():
        group = dict(zip(names, key, strict=True))
        try:
            law = fit_law(own, form, seed=seed, delta=delta, resamples=resamples, by=resample)
        except DataError as error:
            if not names:
                raise
            without.append({**group, "no_law": str(error)})
            continue
        laws.append({**group, **law.to_json()})
    lacks = [f"{', '.join(each[name] for name in names)}: {each['no_law']}" for each in without]
    if not laws:
        raise DataError(f"none of {len(lacks)} groups by {', '.join(names)} has a law; {lacks[0]}")
    for each in lacks:
        say(f"no law of {each}", quiet=quiet)
    if names:
        q_values = benjamini_hochberg([law_json["trend"]["p"] for law_json in laws])
        for law_json, q in zip(laws, q_values, strict=True):
            law_json["trend"]["q"] = q
    if as_json:
        print_json(laws[0] if not names else {"laws": laws, "without": without})
        return
    stdout().print(laws_table(laws, names) if names else law_table(laws[0]))
    for law_json in laws:
        whose = f"{', '.join(law_json[name] for name in names)}: " if names else ""
        for warning in law_json["warnings"]:
            say(f"note: {whose}{warning}", quiet=quiet)


@scaling_app.command("forecast")
def forecast(
    points: PointsArgument,
    at: Annotated[
        list[str] | None,
        typer.Option("--at", metavar="NAME=VALUE,...", help="Where to forecast, as data=1e7."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The forecast's file.")] = None,
    score: Annotated[
        Path | None,
        typer.Option(help="Observations; POINTS then is a forecast, which is held to them."),
    ] = None,
    form: FormOption = "auto",
    x: XOption = None,
    y: YOption = "loss",
    where: WhereOption = None,
    drop_highest: DropOption = 0,
    resamples: ResamplesOption = 1000,
    seed: SeedOption = 0,
    as_json: JsonFlag = False,
    force: ForceFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Foretell a large run from small ones, in a file with its own hash; score it later."""
    from datetime import UTC, datetime

    from worldpm.jsonfiles import valid_text
    from worldpm.scaling.forecast import forecast as make
    from worldpm.scaling.forecast import read_forecast, score_forecast, write_forecast
    from worldpm.store import file_sha256

    if score is not None:
        check_inputs([points])
        content = read_forecast(points)
        result = score_forecast(content, read(score, x, content["y"], where))
        _print_score(result, as_json=as_json)
        return
    if out is None or not at:
        raise ConfigError("a forecast needs --at and -o; to hold one to what came, give --score")
    check_output(out, [points], force=force)
    table = read(points, x, y, where, drop_highest)
    content = make(
        table,
        form,
        [_target(text) for text in at],
        seed=seed,
        sha256=file_sha256(points),
        source=valid_text(points.name),
        y=y,
        resamples=resamples,
        made=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_forecast(out, content)
    if as_json:
        print_json(content)
        return
    for each in content["predictions"]:
        where_at = ", ".join(
            f"{name} {each[name]:g}" for name in ("params", "data") if name in each
        )
        print(f"{where_at}: {y} {each['value']:.4g} ({each['low']:.4g} to {each['high']:.4g})")
    print(f"sha256 {content['sha256']}")
    for warning in content["law"]["warnings"]:
        say(f"note: {warning}", quiet=quiet)


def _target(text: str) -> dict[str, float]:
    try:
        found = {name: float(v) for name, v in _pairs(text.split(","), "--at").items()}
    except ValueError:
        raise ConfigError(f"--at {text!r}: a value is not a number") from None
    if set(found) - {"params", "data"} or not all(0 < v < float("inf") for v in found.values()):
        raise ConfigError(f"--at {text!r}: give params and data, numbers above 0")
    return found


def _print_score(result: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(result)
        return
    for row in result["scored"]:
        verdict = "inside" if row["inside"] else "OUTSIDE"
        print(
            f"data {row['data']:g}: observed {row['observed']:.4g}, foretold {row['value']:.4g} "
            f"({row['low']:.4g} to {row['high']:.4g}): {verdict}, log error {row['log_error']:+.4f}"
        )
    print(f"{result['inside']} of {len(result['scored'])} inside their intervals")
    if result["not_yet_observed"]:
        print(f"{result['not_yet_observed']} predictions not yet observed")


@scaling_app.command("emergence")
def emergence(
    points: PointsArgument,
    x: XOption = None,
    where: WhereOption = None,
    loss: Annotated[str, typer.Option(help="The column of the loss.")] = "loss",
    accuracy: Annotated[str, typer.Option(help="The column of the accuracy.")] = "accuracy",
    items: Annotated[
        Path | None,
        typer.Option(help="CSV or Parquet: item, data, margin; which items scale turns."),
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonFlag = False,
) -> None:
    """Whether a bend of accuracy is in the loss, too, or is the metric's doing."""
    from worldpm.scaling.emergence import compare_metrics, item_view, read_items

    found = compare_metrics(
        read(points, x, loss, where), read(points, x, accuracy, where), seed=seed
    )
    result: dict[str, Any] = {
        "verdict": found.verdict,
        "words": found.words,
        "loss_form": found.loss.form,
        "accuracy_form": found.accuracy.form,
    }
    if items is not None:
        check_inputs([items])
        view = item_view(read_items(items))
        result["items"] = {
            "gained": view.gained,
            "lost": view.lost,
            "num_always_right": len(view.always_right),
            "num_always_wrong": len(view.always_wrong),
            "p": view.p,
        }
    if as_json:
        print_json(result)
        return
    print(f"loss: {found.loss.form}; accuracy: {found.accuracy.form}\n{found.words}")
    if items is not None:
        print(
            f"items: {len(view.gained)} gained, {len(view.lost)} lost (p = {view.p:.3g}), "
            f"{len(view.always_right)} right and {len(view.always_wrong)} wrong throughout"
        )


@scaling_app.command("mechanisms")
def show_mechanisms(
    points: PointsArgument, seed: SeedOption = 0, as_json: JsonFlag = False
) -> None:
    """How agreement with style and what style explains change with data and size."""
    from dataclasses import asdict

    from worldpm.scaling.mechanisms import mechanisms
    from worldpm.scaling.points import read_rows

    check_inputs([points])
    found = mechanisms(read_rows(points), seed=seed)
    if as_json:
        slopes = ("by_data", "by_size")
        print_json(
            {"mechanisms": [{**r, **{k: r[k] and asdict(r[k]) for k in slopes}} for r in found]}
        )
        return
    for row in found:
        told = "; ".join(
            f"{slope.value:+.4f} ({slope.low:+.4f} to {slope.high:+.4f}) for ten times the {name}"
            for name, slope in (("data", row["by_data"]), ("size", row["by_size"]))
            if slope is not None
        )
        print(f"{row['suite']}, {row['measure']}: mean {row['mean']:.3f}; {told}")
    if not found:
        print("no measure has six runs whose data differ, and apart from their size")


@scaling_app.command("plot")
def plot(
    points: PointsArgument,
    out: Annotated[Path, typer.Option("--out", "-o", help="The page, ending in .html.")],
    form: FormOption = "auto",
    x: XOption = None,
    y: YOption = "loss",
    where: WhereOption = None,
    drop_highest: DropOption = 0,
    resamples: ResamplesOption = 400,
    seed: SeedOption = 0,
    as_json: JsonFlag = False,
    force: ForceFlag = False,
) -> None:
    """Draw a panel a suite, a colour a size, with fits: SVG, PNG, CSV and a page of it all."""
    from worldpm.report.scaling_figures import plot_scaling
    from worldpm.report.scaling_page import scaling_page
    from worldpm.scaling.study import study
    from worldpm.store import write_atomic

    if out.suffix != ".html":
        raise ConfigError(f"-o {out}: end it in .html; the pictures take its name")
    for suffix in (".html", ".svg", ".png", ".csv"):
        check_output(out.with_suffix(suffix), [points], force=force)
    table = read(points, x, y, where, drop_highest)
    report = study(table, form, y=y, seed=seed, resamples=resamples)
    files = plot_scaling(report, out)
    page = scaling_page(report, files[0].read_text(encoding="utf-8"))
    write_atomic(out, page.encode())
    if as_json:
        print_json({**report, "files": [str(path) for path in (out, *files)]})
        return
    for path in (out, *files):
        print(path)
