"""Addresses of `worldpm serve` -> a `ScoreFn` that asks there.

    score = remote("http://127.0.0.1:8000", key="secret")
    score([comparison])        [[0.81, -1.32]]

Each comparison is one request, so that its prompt is computed once; all of them run at once. Of
several servers each is asked for the prompts that are its own, another for those when it fails.
"""

import os
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from worldpm.calls import Service, finite
from worldpm.errors import ConfigError
from worldpm.records import Comparison, ScoreFn, turns

URL_VARIABLE, KEY_VARIABLE = "WORLDPM_URL", "WORLDPM_API_KEY"
MOST_REPLIES = 256  # of a request; a server takes 512 if not told otherwise
IN_FLIGHT = 64


def remote(
    urls: str | Sequence[str] | None = None,
    *,
    key: str | None = None,
    model: str | None = None,
    truncate: bool = False,
    timeout_seconds: float = 60.0,
    rounds: int = 3,
    patience_seconds: float = 600.0,
) -> ScoreFn:
    """A function that scores by HTTP; settings as of `worldpm.calls.Service`.

    Without `urls` and `key`, those of the environment's WORLDPM_URL (several parted by commas) and
    WORLDPM_API_KEY. `model` names one of the loaded, None the server's first; `truncate` lets the
    oldest tokens of a conversation that is too long be cut.

    The function raises DataError for what the server refuses, ServiceError where no server answers.
    """
    urls = urls or os.environ.get(URL_VARIABLE)
    if not urls:
        raise ConfigError(f"no address of a server; give one, or set {URL_VARIABLE}")
    service = Service(
        urls,
        key=key or os.environ.get(KEY_VARIABLE),
        timeout_seconds=timeout_seconds,
        rounds=rounds,
        patience_seconds=patience_seconds,
        in_flight=IN_FLIGHT,
    )
    extra: dict[str, Any] = {"truncate": truncate} | ({} if model is None else {"model": model})

    def one(comparison: Comparison) -> list[float]:
        prompt = turns(comparison.prompt)
        first = zlib.crc32(repr(prompt).encode("utf-8", "backslashreplace"))
        scores: list[float] = []
        for start in range(0, len(comparison.replies), MOST_REPLIES):
            replies = [turns(reply) for reply in comparison.replies[start : start + MOST_REPLIES]]
            body = {"prompt": prompt, "responses": replies, **extra}
            read = partial(_scores, count=len(replies))
            scores += service.ask("/v1/compare", body, read, first=first)
        return scores

    def score(comparisons: Sequence[Comparison]) -> list[list[float]]:
        if len(comparisons) < 2:
            return [one(each) for each in comparisons]
        with ThreadPoolExecutor(min(IN_FLIGHT, len(comparisons))) as threads:
            return list(threads.map(one, comparisons))

    return score


def _scores(answer: Any, count: int) -> list[float]:
    """The scores of an answer; ValueError if it is not `count` finite numbers."""
    found = answer.get("scores") if isinstance(answer, dict) else None
    return finite(found, count)
