"""Signed answers: what they hold, that any change is noticed, and that nothing else moves."""

import copy
import hashlib
import hmac
import json
import math
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest
from starlette.testclient import TestClient
from tiny import small_model
from wire import score

from worldpm.cli.serving import load_served
from worldpm.errors import DataError
from worldpm.model.checkpoint import weight_files
from worldpm.model.fingerprint import weights_sha256
from worldpm.serve.app import create_app
from worldpm.serve.dialects import ROUTES
from worldpm.serve.models import ReplyTrace, plain_model
from worldpm.serve.own import CompareAnswer, ScoreAnswer
from worldpm.serve.settings import ServeSettings
from worldpm.serve.signing import MOST_BYTES, Signer, check, read_key

KEY = b"k" * 32
COMPARE = {"prompt": "Wie?", "responses": ["a longer reply", "日本 🙂", "<|im_end|>"]}
TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": 'äöü\n"\u2028'}]
SCORE = {"items": [{"messages": TURNS}, {"prompt": "p", "response": "rr"}], "truncate": True}
ASKED = [("/v1/compare", COMPARE), ("/v1/score", SCORE)]


def thirds(comparisons):
    """Scores with many digits."""
    return [[value / 3 for value in row] for row in score(comparisons)]


@contextmanager
def serving(signer=None, **changes):
    model = replace(plain_model(thirds), **changes)
    with TestClient(
        create_app({"model": model}, ServeSettings(), ROUTES, signer=signer),
        base_url="http://localhost",
    ) as found:
        yield found


@pytest.fixture(scope="module")
def http():
    with serving(Signer(KEY), digest="d" * 64) as found:
        yield found


@pytest.mark.parametrize(("path", "request_"), ASKED)
def test_what_a_signature_holds(http, path, request_):
    """Model, digest, input, scores with all digits and the time, under an HMAC that plain Python
    makes again from the guide's words; it is what the published schema says."""
    answer = http.post(path, json=request_).json()
    assert check(answer, request_, KEY) is True
    signature = answer["signature"]
    shown = answer.get("scores") or [each["score"] for each in answer["data"]]
    assert signature["scores"] == shown
    assert signature["model"] == {"name": "model", "digest": "d" * 64}
    assert (signature["version"], signature["algorithm"]) == (1, "HMAC-SHA256")
    assert abs(signature["created"] - 1.7e9) < 1e9

    def plain(value):
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    if path == "/v1/compare":
        talks = [[{"role": "user", "content": "Wie?"}, {"role": "assistant", "content": each}]
                 for each in COMPARE["responses"]]  # fmt: skip
    else:
        talks = [TURNS, [{"role": "user", "content": "p"}, {"role": "assistant", "content": "rr"}]]
    asked = {"conversations": talks, "truncate": request_.get("truncate", False)}
    assert signature["input_sha256"] == hashlib.sha256(plain(asked)).hexdigest()
    signed = {key: value for key, value in signature.items() if key != "mac"}
    assert signature["mac"] == hmac.new(KEY, plain(signed), "sha256").hexdigest()
    kind = CompareAnswer if path == "/v1/compare" else ScoreAnswer
    assert kind.model_validate(answer).signature.mac == signature["mac"]


def test_an_answer_survives_being_stored(http):
    """Written as JSON and read again, whole scores as integers, it is still the signed one."""
    request = {"prompt": "p", "responses": ["r" * 24, ""]}
    answer = http.post("/v1/compare", json=request).json()
    assert answer["scores"] == [-1.0, 0.0]
    text = json.dumps(answer).replace("-1.0", "-1").replace("0.0,", "0,")
    assert text != json.dumps(answer)
    assert check(json.loads(text), json.loads(json.dumps(request, indent=2)), KEY)


def changed(value, path, new):
    """A copy with another value at a path."""
    found = copy.deepcopy(value)
    *parents, last = path
    place = found
    for key in parents:
        place = place[key]
    place[last] = new(place[last]) if callable(new) else new
    return found


def last_digit(value):
    """The nearest other double."""
    return math.nextafter(value, math.inf)


ANOTHER = "another key, or changed since"
NOT_SIGNED = "scores are not the signed ones"
IN_ANSWER = [
    ("/v1/compare", ("scores", 1), last_digit, NOT_SIGNED),
    ("/v1/compare", ("ranking", 0, "score"), last_digit, NOT_SIGNED),
    ("/v1/compare", ("ranking", 0, "index"), 0, NOT_SIGNED),
    ("/v1/compare", ("scores",), lambda scores: scores[:2], NOT_SIGNED),
    ("/v1/compare", ("model",), "better", "the signed one 'model'"),
    ("/v1/compare", ("ranking",), None, "not one of"),
    ("/v1/score", ("data", 0, "score"), last_digit, NOT_SIGNED),
    ("/v1/score", ("data",), lambda data: data[::-1], NOT_SIGNED),
    ("/v1/score", ("data", 0), {}, "not one of"),
    *(
        (path, ("signature", *place), new, ANOTHER)
        for path in ("/v1/compare", "/v1/score")
        for place, new in (
            (("scores", 0), last_digit), (("model", "name"), "better"),
            (("model", "digest"), "e" * 64), (("model", "digest"), None),
            (("created",), lambda created: created + 1), (("input_sha256",), "0" * 64),
            (("mac",), lambda mac: mac[:-1] + ("0" if mac[-1] != "0" else "1")), (("mac",), "é"),
        )
    ),
    ("/v1/score", ("signature",), None, "no signature"),
    ("/v1/score", ("signature",), [], "signature: "),
    ("/v1/score", ("signature", "version"), 2, "signature.version"),
    ("/v1/score", ("signature", "algorithm"), "none", "signature.algorithm"),
    ("/v1/score", ("signature", "scores"), ["x"], "signature.scores.0"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "place", "new", "told"), IN_ANSWER)
def test_a_changed_answer_is_noticed(http, path, place, new, told):
    """A digit, an order, a name, a digest, a time: each is told of."""
    request = dict(ASKED)[path]
    answer = changed(http.post(path, json=request).json(), place, new)
    with pytest.raises(ValueError, match=told):
        check(answer, request, KEY)


OTHER = "not the one that was scored"
IN_REQUEST = [
    ("/v1/compare", ("responses", 0), lambda text: text + " ", OTHER),
    ("/v1/compare", ("responses",), lambda texts: texts[::-1], OTHER),
    ("/v1/compare", ("prompt",), "Wie!", OTHER),
    ("/v1/compare", ("prompt",), [{"role": "system", "content": "Wie?"}], OTHER),
    ("/v1/compare", ("responses", 0), 3, "the request: responses"),
    ("/v1/compare", ("responses", 0), "\ud800", "no JSON object"),
    ("/v1/score", ("items", 0, "messages", 1, "content"), "x", OTHER),
    ("/v1/score", ("truncate",), False, OTHER),
    ("/v1/score", ("items", 1), {"prompt": "p"}, r"the request: items\[1\]"),
]


@pytest.mark.parametrize(("path", "place", "new", "told"), IN_REQUEST)
def test_another_request_is_noticed(http, path, place, new, told):
    """Another reply, prompt, role, order or option than what was scored: each is told of."""
    request = dict(ASKED)[path]
    answer = http.post(path, json=request).json()
    with pytest.raises(ValueError, match=told):
        check(answer, changed(request, place, new), KEY)


@pytest.mark.parametrize(("path", "request_"), ASKED)
def test_an_answer_in_both_forms_is_noticed(http, path, request_):
    """Right scores in one form do not cover up for made-up ones that stand beside them."""
    answer = http.post(path, json=request_).json()
    data = [{"index": i, "score": each} for i, each in enumerate(answer["signature"]["scores"])]
    made_up = [{"scores": [9.0] * len(data)}, {"ranking": [{"index": 0, "score": 9.0}]}]
    for each in made_up:
        with pytest.raises(ValueError, match="not one of"):
            check({"data": data, **answer, **each}, request_, KEY)


def test_another_key_is_noticed(http):
    """One bit more, one byte more, and what is no key at all."""
    answer = http.post("/v1/score", json=SCORE).json()
    for key, told in (
        (b"k" * 31 + b"j", ANOTHER), (KEY + b"\n", ANOTHER), (b"", "at least 32"),
        (b"k" * 31, "at least 32"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=told):
            check(answer, SCORE, key)


def test_without_a_key_nothing_changes(http):
    """Unsigned answers are the signed ones without their signature, to the byte; dialects' answers
    are signed in neither; /info says which server signs."""
    headers = {"x-request-id": "same"}
    with serving() as plain:
        for path, request in ASKED:
            signed = http.post(path, json=request, headers=headers)
            bare = plain.post(path, json=request, headers=headers).content
            cut = signed.content[: signed.content.index(b',"signature":')] + b"}"
            assert bare == cut
        rerank = {"query": "q", "documents": ["a", "bb"]}
        for each in (plain, http):
            assert "signature" not in each.post("/v1/rerank", json=rerank).text
        assert plain.get("/info").json()["answers_signed"] is False
        assert http.get("/info").json()["answers_signed"] is True


def test_a_traced_answer_is_signed():
    """With traces the signed scores are those of the answer."""

    def trace(comparisons):
        for row in thirds(comparisons):
            yield [ReplyTrace(("x",), (value,)) for value in row]

    with serving(Signer(KEY), trace=trace) as http:
        request = {**COMPARE, "trace": True}
        answer = http.post("/v1/compare", json=request).json()
        assert answer["traces"]
        assert check(answer, request, KEY)
        assert answer["signature"]["model"]["digest"] is None  # nobody has read its weights


def test_the_document_has_the_signature(http):
    """Both answers name it in the OpenAPI document, and not as something that is always there."""
    schemas = http.get("/openapi.json").json()["components"]["schemas"]
    for name in ("ScoreAnswer", "CompareAnswer"):
        shown = schemas[name]["properties"]["signature"]["anyOf"]
        assert {"$ref": "#/components/schemas/Signature"} in shown
        assert "signature" not in schemas[name]["required"]
    assert "mac" in schemas["Signature"]["required"]


def test_the_digest_of_a_checkpoint(tmp_path):
    """It is SHA-256 of all the weights, as contracts have it, and only made where it is wanted."""
    folder = small_model(tmp_path / "small")
    model = load_served(str(folder), dtype="float32", with_digest=True)
    assert model.digest == weights_sha256(weight_files(folder))
    assert load_served(str(folder), dtype="float32").digest is None


def test_keys_in_files(tmp_path):
    """A key is the file's bytes as they are; too few, too many or none are refused, and no byte of
    them is shown."""
    path = tmp_path / "sign.key"
    path.write_bytes(bytes(range(32)))
    assert read_key(path) == bytes(range(32))
    assert "\\x" not in repr(Signer(read_key(path)))
    for content, told in ((b"", "holds 0 bytes"), (b"secret", "holds 6 bytes"),
                          (b"s" * (MOST_BYTES + 1), "at most 4,096")):  # fmt: skip
        path.write_bytes(content)
        with pytest.raises(DataError, match=told) as error:
            read_key(path)
        assert "secret" not in str(error.value)
    for wrong in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match="cannot be read"):
            read_key(wrong)


def test_checking_needs_neither_torch_nor_a_server():
    """The check is imported without torch, FastAPI or a server."""
    heavy = "{'torch', 'fastapi', 'starlette', 'granian'}"
    code = f"import sys, worldpm.serve.signing; print(sorted({heavy} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
