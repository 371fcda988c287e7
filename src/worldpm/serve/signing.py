"""Answers that can be audited later: who scored which input with what result, under a secret key.

    signer = Signer(read_key(Path("sign.key")))          of `worldpm serve --sign-key sign.key`
    check(answer, request, read_key(Path("sign.key")))   True, or ValueError with what is wrong

An answer's `signature` holds the model's name and digest, the digest of the input, the scores with
all their digits, the time, and `mac`: HMAC-SHA256 in hexadecimal over the canonical bytes of all
the others. `input_sha256` is SHA-256 over the canonical bytes of

    {"conversations": [[{"content": ..., "role": ...}, ...], ...], "truncate": false}

the whole conversations as they were scored, prompt and reply, in the order of the scores. Canonical
bytes are JSON in UTF-8 with sorted keys and no spaces, text without escapes that JSON does not
need, and doubles in their shortest form, as orjson writes them (6 is 6.0).

Nothing here needs torch or a server.
"""

import hashlib
import hmac
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from worldpm.errors import DataError, WorldPMError
from worldpm.records import Comparison, turns
from worldpm.report.ranking import ranked
from worldpm.serve.errors import refusal
from worldpm.serve.own import CompareBody, ScoreBody, Signature, parse_compare, parse_score

VERSION = 1
ALGORITHM = "HMAC-SHA256"
LEAST_BYTES, MOST_BYTES = 32, 4096  # of a key


def read_key(path: Path) -> bytes:
    """The bytes of a key's file, all of them as they are; DataError where they are no key."""
    try:
        with path.open("rb") as file:
            key = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read as a signing key: {error.strerror}") from None
    if len(key) < LEAST_BYTES:
        raise DataError(
            f"{path}: holds {len(key)} bytes; a signing key has at least {LEAST_BYTES}; make one "
            f"with: openssl rand -out {path} 32"
        )
    if len(key) > MOST_BYTES:
        raise DataError(f"{path}: a signing key has at most {MOST_BYTES:,} bytes")
    return key


def canonical(value: Any) -> bytes:
    """The one way to write a JSON value that is signed."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def input_sha256(comparisons: Iterable[Comparison], *, truncate: bool) -> str:
    """The digest of what was scored."""
    conversations = [
        turns(conversation)
        for comparison in comparisons
        for conversation in comparison.conversations()
    ]
    found = canonical({"conversations": conversations, "truncate": truncate})
    return hashlib.sha256(found).hexdigest()


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs with a key, which nothing that prints this shows."""

    key: bytes = field(repr=False)

    def sign(
        self,
        comparisons: Sequence[Comparison],
        scores: Sequence[float],
        *,
        truncate: bool,
        model: str,
        digest: str | None,
        created: int,
    ) -> dict[str, Any]:
        """An answer's signature; `digest` is None where the server has not read the weights."""
        signed = {
            "version": VERSION,
            "algorithm": ALGORITHM,
            "model": {"name": model, "digest": digest},
            "input_sha256": input_sha256(comparisons, truncate=truncate),
            "scores": list(scores),
            "created": created,
        }
        return {**signed, "mac": _mac(signed, self.key)}


def check(answer: Mapping[str, Any], request: Mapping[str, Any], key: bytes) -> bool:
    """Whether `answer` of /v1/score or /v1/compare is the signed one to `request`: True.

    Raises ValueError that says what is wrong. What follows from the scores (`p_best`, `beats`), the
    token counts and the traces are not signed; the order of `ranking` is held against the scores.
    """
    if len(key) < LEAST_BYTES:
        raise ValueError(f"a signing key has at least {LEAST_BYTES} bytes")
    if answer.get("signature") is None:
        raise ValueError("the answer has no signature")
    try:
        signature = TypeAdapter(Signature).validate_python(answer["signature"])
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, ("signature", *first["loc"])))
        raise ValueError(f"{where}: {first['msg']}") from None
    signed = signature.model_dump()
    mac = signed.pop("mac")
    if not hmac.compare_digest(_mac(signed, key).encode(), mac.encode()):
        raise ValueError("the signature was made with another key, or changed since")
    if answer.get("model") != signature.model.name:
        raise ValueError(f"the answer's model is {answer.get('model')!r}, the signed one "
                         f"{signature.model.name!r}")  # fmt: skip
    _check_scores(answer, signature.scores)
    if _digest_of(request) != signature.input_sha256:
        raise ValueError("the request is not the one that was scored")
    return True


def _mac(signed: Mapping[str, Any], key: bytes) -> str:
    return hmac.new(key, canonical(dict(signed)), hashlib.sha256).hexdigest()


def _check_scores(answer: Mapping[str, Any], signed: Sequence[float]) -> None:
    """ValueError unless all scores that the answer shows are the signed ones, in their places."""
    if not all(map(math.isfinite, signed)):
        raise ValueError("a signed score is not finite")
    if "data" in answer and ("scores" in answer or "ranking" in answer):
        # Only one of the two forms would be held against the signature, and the other one read.
        raise ValueError("the answer is not one of /v1/score or /v1/compare")
    try:
        if "data" in answer:
            shown = [(each["index"], each["score"]) for each in answer["data"]]
            expected = list(enumerate(signed))
        else:
            shown = [*enumerate(answer["scores"]),
                     *((each["index"], each["score"]) for each in answer["ranking"])]  # fmt: skip
            expected = [*enumerate(signed), *((i, signed[i]) for i in ranked(signed))]
    except (KeyError, TypeError):
        raise ValueError("the answer is not one of /v1/score or /v1/compare") from None
    if shown != expected:
        raise ValueError("the answer's scores are not the signed ones")


def _digest_of(request: Mapping[str, Any]) -> str:
    """The digest of a request's input; ValueError where the server would not have taken it."""
    body: ScoreBody | CompareBody
    try:
        data = orjson.dumps(dict(request))
        if "items" in request:
            body = ScoreBody.model_validate_json(data)
            comparisons = parse_score(body)
        else:
            body = CompareBody.model_validate_json(data)
            comparisons = parse_compare(body)
    except TypeError:  # orjson's: text or a number that JSON cannot hold
        raise ValueError("the request is no JSON object") from None
    except (ValidationError, WorldPMError) as error:
        told = refusal(error)
        raise ValueError(f"the request: {told.where}: {told}") from None
    return input_sha256(comparisons, truncate=body.truncate)
