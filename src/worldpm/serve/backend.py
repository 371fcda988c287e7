"""Token ids -> scores, by vLLM or SGLang behind this server.

    service = Service("http://a:8001,http://b:8001")
    form = find_form(service, ids)                          which of FORMS the engines speak
    score = backend(service, form, encode)                  a `ScoreFn`

The engines get ids, never text, so that no typed control token can act as one there. The replies of
a prompt go in one request, and always to the same engine first, whose prefix cache has the prompt;
another takes over when it fails.
"""

import logging
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from worldpm.calls import Service, finite
from worldpm.errors import ConfigError, DataError, ServiceError
from worldpm.records import Comparison, ScoreFn
from worldpm.serve.errors import Refused

Ids = list[list[int]]
MOST_SEQUENCES = 64  # of a request
IN_FLIGHT = 32  # requests at once
LOG = logging.getLogger("worldpm.serve")


@dataclass(frozen=True, slots=True)
class Form:
    """One engine's way of scoring; `read` raises ValueError (or its like) for another's answer."""

    name: str
    path: str
    body: Callable[[Ids], dict[str, Any]]
    read: Callable[[Any], list[Any]]


def _vllm_classify(ids: Ids) -> dict[str, Any]:
    return {"input": ids, "use_activation": False, "add_special_tokens": False}


def _vllm_pooling(ids: Ids) -> dict[str, Any]:
    # The one task that vLLM has for WorldPM's own head: a reward a token, the last one the score.
    return {"input": ids, "task": "token_classify", "use_activation": False,
            "add_special_tokens": False, "encoding_format": "float"}  # fmt: skip


def _sglang_classify(ids: Ids) -> dict[str, Any]:
    return {"input_ids": ids}


def _data(answer: Any) -> list[Any]:
    return sorted(answer["data"], key=lambda each: each["index"])


FORMS = (
    Form("vLLM classify", "/classify", _vllm_classify,
         lambda answer: [_only(each["probs"]) for each in _data(answer)]),
    Form("SGLang classify", "/classify", _sglang_classify,
         lambda answer: [_only(each["embedding"]) for each in answer]),
    Form("vLLM pooling", "/pooling", _vllm_pooling,
         lambda answer: [_only(each["data"][-1]) for each in _data(answer)]),
)  # fmt: skip


def _only(found: Any) -> Any:
    """The one number of a row, which may stand bare; several are of another kind of model."""
    if not isinstance(found, list):
        return found
    if len(found) != 1:
        raise ValueError(f"{len(found)} numbers where a score is one")
    return found[0]


def read_scores(form: Form, count: int, answer: Any) -> list[float]:
    """The `count` scores of an answer; ValueError if it is not whole or not of this form."""
    try:
        found = form.read(answer)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"no answer in the form of {form.name}: {error!r}") from None
    return finite(found, count)


def find_form(service: Service, ids: Sequence[int]) -> Form:
    """The form that the engines answer `ids` in.

    Raises ConfigError, with what each form met, if it is none; ServiceError if nobody is there.
    """
    said = []
    for form in FORMS:
        try:
            service.ask(form.path, form.body([list(ids)]), partial(read_scores, form, 1))
        except (DataError, ServiceError) as error:
            if isinstance(error, ServiceError) and not error.reached:
                raise
            said.append(f"{form.name}: {error}")
        else:
            return form
    raise ConfigError(
        "the engine scores in none of the known forms; start it with a reward model (vLLM: "
        "--runner pooling, SGLang: --is-embedding).\n" + "\n".join(said)
    )


def backend(
    service: Service, form: Form, encode: Callable[[Comparison], Sequence[Sequence[int]]]
) -> ScoreFn:
    """A function that scores with the engines; `encode` gives the ids of K conversations.

    Raises Refused: 503 where no engine answers, 500 where one refuses the conversation.
    """

    def one(part: tuple[int, Ids]) -> list[float]:
        first, ids = part
        read = partial(read_scores, form, len(ids))
        try:
            return service.ask(form.path, form.body(ids), read, first=first)
        except ServiceError as error:
            LOG.error("backend", extra={"fields": {"error": str(error)}})
            raise Refused(503, "backend_unavailable", "no engine behind this server answers; come "
                          "again", headers={"retry-after": "2"}) from None  # fmt: skip
        except DataError as error:
            LOG.error("backend", extra={"fields": {"error": str(error)}})
            raise Refused(500, "backend_refused", "the engine behind this server refused the "
                          "conversation; its log has the reason") from None  # fmt: skip

    def score(comparisons: Sequence[Comparison]) -> list[list[float]]:
        parts: list[tuple[int, Ids]] = []
        counts = []
        for comparison in comparisons:
            ids = [list(each) for each in encode(comparison)]
            first = zlib.crc32(repr(comparison.prompt).encode("utf-8", "backslashreplace"))
            own = [(first, ids[i : i + MOST_SEQUENCES]) for i in range(0, len(ids), MOST_SEQUENCES)]
            parts += own
            counts.append(len(own))
        with ThreadPoolExecutor(min(IN_FLIGHT, max(1, len(parts)))) as threads:
            found = threads.map(one, parts)
            return [[value for _ in range(n) for value in next(found)] for n in counts]

    return score
