"""`eval`: benchmarks or your own comparisons, and models -> accuracy and loss beside the floors.

    worldpm eval llmbar rm-bench --data benchmarks -o out        the suites' folders below --data
    worldpm eval data/hh-rlhf -o out                             the test part of an artefact
    worldpm eval --data benchmarks -m A -m B -o out              two models, and their differences
    worldpm eval probes --data mine.jsonl -o out                 edits that should change nothing
    worldpm eval llmbar --data benchmarks --scores mine.jsonl    scores from elsewhere, no model

OUT holds every number (report.json), the page to read (report.html) and the rest that
`worldpm.cli.eval_files` lists. Scores are kept by model and conversation in a cache, so that a run
that was stopped goes on, and a second one takes seconds. Without -o nothing else is kept.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from worldpm.cli.common import (
    DryRunFlag,
    DtypeOption,
    ForceFlag,
    JsonFlag,
    QuietFlag,
    announce,
    check_output,
    new_folder,
    print_json,
    say,
    stdout,
)
from worldpm.cli.eval_gates import check_gates, read_gates
from worldpm.cli.eval_models import EvalModel, open_models, score_folder
from worldpm.cli.eval_scores import GivenScores, read_scores
from worldpm.cli.eval_sets import PROBES, Set, choose_sets, read_set
from worldpm.errors import ConfigError
from worldpm.records import Comparison, Score, ScoreFn

if TYPE_CHECKING:
    from worldpm.cli.eval_files import Scored
    from worldpm.evals.published import Published
    from worldpm.evals.suites import Reading


def evaluate(
    suites: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SUITE|PATH|probes]...", help="Suites, or comparisons of your own."
        ),
    ] = None,
    *,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The folder to make; without it nothing is kept."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Where the suites' folders are; all found there by default.")
    ] = None,
    part: Annotated[str, typer.Option(help="The part of an artefact to evaluate on.")] = "test",
    protocol: Annotated[
        list[str] | None,
        typer.Option(help="Figures as in the paper (worldpm) or as each benchmark's (official)."),
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option(help="Published figures to set beside, such as paper:WorldPM-72B-HelpSteer2."),
    ] = None,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="A checkpoint folder or Hugging Face id (org/name[@revision]), several for a "
            "comparison of models; without it, the embedded default.",
        ),
    ] = None,
    scores: Annotated[
        list[Path] | None,
        typer.Option(
            help="Scores from elsewhere instead of a model's, or beside them: JSON lines of an "
            "id and its scores, named after the file.",
        ),
    ] = None,
    untrained: Annotated[
        str | None,
        typer.Option(
            metavar="BASE",
            help="Another floor: this base model under a random head; `default` is the embedded "
            "default's base.",
        ),
    ] = None,
    style: Annotated[
        list[str] | None,
        typer.Option(
            help="What style is, instead of length, lists, headers, bold; also characters, emoji, "
            "code, refusal.",
        ),
    ] = None,
    probe_rows: Annotated[
        int, typer.Option(min=1, help="How many comparisons of a set `probes` edits.")
    ] = 200,
    fail_under: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SET[:GROUP]=ACCURACY",
            help="Exit with 3 if a model's accuracy is below, such as rewardbench:Safety=0.6.",
        ),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Where scores are kept, instead of the user's cache.")
    ] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Score everything anew.")] = False,
    truncate: Annotated[
        bool, typer.Option("--truncate", help="Cut the oldest tokens of what is too long.")
    ] = False,
    dtype: DtypeOption = "auto",
    as_json: JsonFlag = False,
    force: ForceFlag = False,
    dry_run: DryRunFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Accuracy and Bradley-Terry loss with 95 % intervals, beside length, style and chance."""
    from worldpm.evals.style import check_features
    from worldpm.surface import PAPER

    features = tuple(style or PAPER)
    check_features(features)
    chosen = choose_sets(suites or [], data, probes=True)
    gates = read_gates(fail_under or [], chosen)
    given = [read_scores(path) for path in scores or []]
    probed = probe_rows if PROBES in (suites or []) else 0
    if given and probed:
        raise ConfigError("probes: edited replies must be scored anew, which --scores cannot do")
    paths = [*(each.path for each in chosen.values()), *(scores or [])]
    protocols = _protocols(protocol or [], against or [], chosen)
    if out is not None:
        check_output(out, paths, force=force)
    settings = {
        "part": part,
        "dtype": dtype,
        "protocols": list(protocols),
        "style": list(features),
        "probe_rows": probe_rows if PROBES in (suites or []) else None,
        "truncate": truncate,
    }
    if dry_run:
        named = [*(models or []), *(each.name for each in given)] or ["the embedded default"]
        announce(
            paths,
            out or Path("nothing"),
            {"suites": list(chosen), "model": ", ".join(named), **settings},
            as_json=as_json,
        )
        return
    sets = {name: read_set(each, part) for name, each in chosen.items()}
    opened = open_models(
        models or ([] if given else [None]),
        dtype=dtype,
        truncate=truncate,
        untrained=untrained,
        given=given,
    )
    kept = None if no_cache else cache or score_folder()
    with new_folder(out) if out is not None else nullcontext() as folder:
        comparisons = {name: reading.comparisons for name, reading in sets.items()}
        scored, probes = _score(opened, comparisons, kept, features, probed, quiet=quiet)
        report = _report(scored, probes, protocols, chosen)
        report["left_out"] = _left_out(sets)
        for each in given:
            each.tell_unused(quiet=quiet)
        if folder is not None:
            from worldpm.cli.eval_files import write_all

            manifest = {
                "settings": {"model": opened[0].name, "models": report["models"], **settings},
                "inputs": [{"path": path.name} for path in paths],
                "dropped": {n: r.dropped for n, r in sets.items() if r.dropped},
            }
            write_all(folder, scored, report, manifest, quiet=quiet)
    if as_json:
        place = None if out is None else str(out)
        print_json({"output": place, "model": opened[0].name, **report})
    else:
        _print(report, quiet=quiet)
        if out is not None:
            say(f"{out / 'report.html'}: the report", quiet=quiet)
    check_gates(gates, report["evaluations"])


def _score(
    models: Sequence[EvalModel | GivenScores],
    sets: Mapping[str, list[Comparison]],
    kept: Path | None,
    features: tuple[str, ...],
    probe_rows: int,
    *,
    quiet: bool,
) -> "tuple[list[Scored], list[dict[str, Any]]]":
    """Every set under every model, and what the probes did to it."""
    from dataclasses import asdict

    from worldpm.cli.eval_files import Scored
    from worldpm.evals.probes import probe_comparisons, probe_outcomes
    from worldpm.evals.run import evaluate as measure
    from worldpm.evals.run import to_json

    scored, probes = [], []
    for model in models:
        for suite, comparisons in sets.items():
            scores = model.score(comparisons, suite, kept, quiet=quiet)
            known: ScoreFn = partial(_known, scores)
            found = measure(comparisons, known, suite=suite, style_features=features)
            evaluation = {**to_json(found), "model": model.name}
            scored.append(Scored(suite, model.name, comparisons, scores, evaluation))
            if probe_rows:
                edited = probe_comparisons(_some(comparisons, probe_rows))
                results = model.score(edited, f"{suite}, probes", kept, quiet=quiet)
                outcomes = probe_outcomes(edited, _known(results, edited))
                if not outcomes:
                    say(f"{suite}: {model.name} decides no pair that an edit changes", quiet=quiet)
                probes.append(
                    {
                        "suite": suite,
                        "model": model.name,
                        "num_comparisons": len(edited),
                        "outcomes": [asdict(each) for each in outcomes],
                    }
                )
    return scored, probes


def _left_out(sets: "Mapping[str, Reading]") -> list[dict[str, Any]]:
    """What no figure is made of, by set and reason: rows dropped, comparisons without an edge."""
    return [
        {"suite": name, "what": what, "reason": reason, "count": count}
        for name, reading in sets.items()
        for what, counts in (("dropped", reading.dropped), ("undecided", reading.undecided))
        for reason, count in counts.items()
    ]


def _known(
    scores: Sequence[Sequence[Score]], comparisons: Sequence[Comparison]
) -> list[list[float]]:
    """A score function of scores that are there already."""
    assert len(scores) == len(comparisons)
    return [[score.value for score in each] for each in scores]


def _some(comparisons: Sequence[Comparison], most: int) -> list[Comparison]:
    """At most so many of those that have an edge, by the hash of their ids, in their order."""
    decided = [each for each in comparisons if each.better]
    hashes = [hashlib.sha256(each.id.encode("utf-8", "replace")).digest() for each in decided]
    chosen = sorted(range(len(decided)), key=hashes.__getitem__)[:most]
    return [decided[place] for place in sorted(chosen)]


def _report(
    scored: "Sequence[Scored]",
    probes: list[dict[str, Any]],
    protocols: "Mapping[str, list[Published]]",
    chosen: Mapping[str, Set],
) -> dict[str, Any]:
    """Everything as one JSON object; the evaluations get their q-values on the way."""
    from dataclasses import asdict

    from worldpm.cli.eval_files import mistakes_of, now
    from worldpm.evals.contrast import contrast, with_q_values
    from worldpm.evals.standing import standing
    from worldpm.evals.summary import FORMAT, TESTING, class_summary
    from worldpm.evals.summary import with_q_values as with_q
    from worldpm.store import versions

    models = list(dict.fromkeys(each.model for each in scored))
    for each, evaluation in zip(scored, with_q([e.evaluation for e in scored]), strict=True):
        each.evaluation.update(evaluation)
    first = {each.suite: each for each in scored if each.model == models[0]}
    contrasts = [
        difference
        for each in scored
        if each.model != models[0]
        for difference in contrast(
            each.comparisons,
            (models[0], first[each.suite].values),
            (each.model, each.values),
            suite=each.suite,
        )
    ]
    figures = []
    for model in models:
        own = {
            each.suite: (each.comparisons, each.values)
            for each in scored
            if each.model == model and chosen[each.suite].suite is not None
        }
        figures += [
            {**standing(name, own, published), "model": model}
            for name, published in protocols.items()
        ]
    evaluations = [each.evaluation for each in scored]
    return {
        "format": FORMAT,
        "created": now(),
        "version": versions("worldpm").get("worldpm"),
        "models": models,
        "evaluations": evaluations,
        "classes": class_summary(evaluations),
        "contrasts": [asdict(each) for each in with_q_values(contrasts)],
        "figures": figures,
        "probes": probes,
        "mistakes": [mistake for each in scored for mistake in mistakes_of(each)],
        "testing": TESTING,
    }


def _print(report: Mapping[str, Any], *, quiet: bool) -> None:
    from worldpm.report.standing import figures_table, unmatched_lines
    from worldpm.report.tables import contrast_table, evaluation_table, probe_table

    console = stdout()
    console.print(evaluation_table(report["evaluations"]))
    for each in report["left_out"]:
        say(f"{each['suite']}: {each['count']:,} {each['what']}: {each['reason']}", quiet=quiet)
    if report["contrasts"]:
        console.print(contrast_table(report["contrasts"]))
    for each in report["probes"]:
        if each["outcomes"]:
            console.print(probe_table(each))
    for each in report["figures"]:
        console.print(figures_table(each))
        if any(row["control"] == "style" for column in each["against"] for row in column["rows"]):
            console.print(figures_table(each, "style"))
        for line in unmatched_lines(each):
            say(line, quiet=quiet)


def _protocols(
    names: Sequence[str], against: Sequence[str], chosen: dict[str, Set]
) -> "dict[str, list[Published]]":
    """The protocols to use, each with what was published by it; errors before a model is loaded.

    Published figures bring their own protocols where none was named.
    """
    from worldpm.evals.protocols import protocol
    from worldpm.evals.published import find

    published = [find(name) for name in against]
    wanted = list(names) or [row.protocol for each in published for row in each.rows]
    suites = {each.suite for each in chosen.values()}
    found = {}
    for name in dict.fromkeys(wanted):
        if not suites & set(protocol(name).suites):
            raise ConfigError(
                f"protocol {name!r} has no figures of {', '.join(chosen)}; "
                f"it is about {', '.join(protocol(name).suites)}"
            )
        found[name] = [each for each in published if any(r.protocol == name for r in each.rows)]
    return found


def read_evaluations(folder: Path, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The evaluations that an artefact of this verb holds."""
    from worldpm.jsonfiles import read_object

    for name in names:
        yield read_object(folder / f"{name}.json")
