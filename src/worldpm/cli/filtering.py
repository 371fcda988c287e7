"""`pairs --filter-with MODEL`: a checkpoint as the function that the filter of edges asks.

score = load_filter("default")      # the only place where `pairs` imports torch
build_pairs(..., filter_with=("default", score))
"""

from typing import Annotated

import typer

from worldpm.records import ScoreFn

FilterOption = Annotated[
    str | None,
    typer.Option(
        "--filter-with",
        metavar="MODEL",
        help="Keep the edges whose margin by this model is within filter.low and filter.high "
        "[default: over 0]: a checkpoint folder, a Hugging Face id, or `default`. It makes the set "
        "agree with the model; the paper (appendix D) did not use it.",
    ),
]
DEFAULT = "default"


def load_filter(model: str) -> ScoreFn:
    """The model's scores. What is longer than its context loses its oldest tokens.

    Raises CheckpointError for a folder that is no checkpoint, as `worldpm score` does.
    """
    from worldpm.score import load

    return load(None if model == DEFAULT else model, truncate=True).score
