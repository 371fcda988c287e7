"""The models of an evaluation: known by a digest at once, loaded when a score is lacking.

for model in open_models(["a", "b"], dtype="auto"):
    model.score(comparisons, "llmbar", cache)     ->  one tuple of Score for each
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from worldpm.cli.common import say
from worldpm.cli.eval_scores import GivenScores
from worldpm.cli.scoring import with_progress
from worldpm.errors import ConfigError
from worldpm.records import Comparison, Score

if TYPE_CHECKING:
    from worldpm.score import Scorer

DEFAULT_BASE = "default"  # of --untrained: the base of the embedded default


@dataclass(frozen=True, slots=True)
class EvalModel:
    """A checkpoint by name and digest; `load` gives its scorer, the same one each time."""

    name: str
    digest: str
    load: "Callable[[], Scorer]"

    def score(
        self, comparisons: Sequence[Comparison], text: str, folder: Path | None, *, quiet: bool
    ) -> list[tuple[Score, ...]]:
        """The scores of all comparisons, in order, those in the cache `folder` read from there."""
        from worldpm.evals.cache import ScoreCache, cached

        num_missing = 0

        def run(missing: Sequence[Comparison]) -> "list[tuple[Score, ...]]":
            nonlocal num_missing
            num_missing = len(missing)
            stream = self.load().iter_scores(missing)
            return with_progress(stream, text, len(missing), quiet=quiet)  # type: ignore[return-value]

        if folder is None:
            return list(run(comparisons))
        with ScoreCache(folder, self.digest) as kept:
            found = cached(kept, comparisons, run)  # type: ignore[arg-type]
        known = len(comparisons) - num_missing
        from_cache = f", {known:,} of them before" if known else ""
        say(f"{text}: {len(comparisons):,} comparisons scored{from_cache}", quiet=quiet)
        return found


def score_folder() -> Path:
    """Where scores are kept if the user says nothing: `scores` in the cache of fetched models."""
    from worldpm.model.default import cache_folder

    return cache_folder() / "scores"


def open_models(
    names: Sequence[str | None],
    *,
    dtype: str,
    truncate: bool,
    untrained: str | None = None,
    given: Sequence[GivenScores] = (),
) -> list[EvalModel | GivenScores]:
    """The models in order, those of `given` scores, last the floor: a base with a random head.

    Raises CheckpointError for a folder that is no checkpoint and ConfigError for two models of one
    name, or whose files would have one, before anything is scored.
    """
    from worldpm.cli.eval_files import stem
    from worldpm.model.hub import told_apart

    loaded = [_open(name, dtype, truncate) for name in names]
    called_by = told_apart([model.name for model in loaded], names)
    models: list[EvalModel | GivenScores] = [
        *(replace(m, name=name) for m, name in zip(loaded, called_by, strict=True)),
        *given,
    ]
    if untrained is not None:
        models.append(_open_untrained(untrained, dtype, truncate))
    called: dict[str, str] = {}
    for model in models:
        file = stem("", model.name, several=True).lower()  # not every file system tells A from a
        if file in called:
            raise ConfigError(
                f"--model: {called[file]!r} and {model.name!r} would have results of one name; "
                "rename a folder or a file"
            )
        called[file] = model.name
    return models


def _open(name: str | None, dtype: str, truncate: bool) -> EvalModel:
    from worldpm.model.checkpoint import read_config
    from worldpm.model.contract import check_contract
    from worldpm.model.digest import score_digest
    from worldpm.model.hub import locate
    from worldpm.model.native import choose_engine
    from worldpm.score import load
    from worldpm.tokens.encode import Encoder

    found = locate(name)
    engine = choose_engine(read_config(found.folder), dtype)
    encoder = Encoder.from_folder(found.folder)
    check_contract(found.folder, encoder)
    digest = score_digest(
        found.folder, encoder, engine=engine.name, dtype=engine.dtype, truncate=truncate
    )

    @cache
    def scorer() -> "Scorer":
        return load(name, dtype=dtype, truncate=truncate)

    return EvalModel(found.name, digest, scorer)


def _open_untrained(base: str, dtype: str, truncate: bool) -> EvalModel:
    from worldpm.model.default import fetch_base
    from worldpm.model.digest import score_digest
    from worldpm.model.hub import locate
    from worldpm.model.native import choose_engine
    from worldpm.model.plan import choose_runner
    from worldpm.model.untrained import UntrainedWeights
    from worldpm.score import Scorer
    from worldpm.tokens.encode import Encoder

    folder = fetch_base() if base == DEFAULT_BASE else locate(base).folder
    weights = UntrainedWeights(folder, seed=0)
    encoder = Encoder.from_folder(folder)
    engine = choose_engine(weights.config, dtype)
    name = f"untrained-head-{folder.name}"
    settings = {"engine": engine.name, "dtype": engine.dtype, "truncate": truncate}
    digest = score_digest(folder, encoder, untrained=weights.seed, **settings)

    @cache
    def scorer() -> Scorer:
        limit = weights.config.max_position_embeddings
        runner = choose_runner(weights, engine, None, None)
        return Scorer(runner, encoder, name, limit, truncate=truncate)

    return EvalModel(name, digest, scorer)
