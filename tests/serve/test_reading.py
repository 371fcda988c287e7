"""A body is refused for all that parsers differ about, before any dialect sees it."""

import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire import client, refused

from worldpm.serve.errors import Refused
from worldpm.serve.reading import keys_of

GOOD = '{"items": [{"prompt": "a", "response": "bcd"}]}'
MALFORMED = {
    "empty": b"",
    "no JSON": b"items",
    "cut short": GOOD[:-1].encode(),
    "two values": (GOOD + GOOD).encode(),
    "trailing comma": b'{"items": [],}',
    "NaN": b'{"items": NaN}',
    "Infinity": b'{"items": -Infinity}',
    "a list": b"[1]",
    "text": b'"items"',
    "null": b"null",
    "no UTF-8": b'{"items": "\xff"}',
    "a BOM": b"\xef\xbb\xbf" + GOOD.encode(),
    "UTF-16": GOOD.encode("utf-16"),
    "lone surrogate": b'{"items": [{"prompt": "\\ud800", "response": "b"}]}',
    "half a pair in a key": b'{"items": [{"\\udc00": "a", "response": "b"}]}',
    "duplicate key": b'{"items": [], "items": [{"prompt": "a", "response": "b"}]}',
    "duplicate key within": b'{"items": [{"prompt": "a", "prompt": "b", "response": "c"}]}',
    "control character": b'{"items": [{"prompt": "\x00", "response": "b"}]}',
    "33 levels": b'{"items": ' + b"[" * 32 + b"]" * 32 + b"}",
    "100,000 levels": b'{"items": ' + b"[" * 100_000,
    "100,000 objects": b'{"items":' * 100_000,
    "a number of 10,000 digits": b'{"items": ' + b"9" * 10_000 + b"}",
}
INVALID = {
    "unknown key": ({"itens": []}, "body"),
    "unknown key beside": ({"items": [{"prompt": "a", "response": "b"}], "x": 1}, "x"),
    "no item": ({"items": []}, "items"),
    "an object for a list": ({"items": {"prompt": "a", "response": "b"}}, "items"),
    "a number for a text": ({"items": [{"prompt": "a", "response": 7}]}, "items[0].response"),
    "null for a text": ({"items": [{"prompt": "a", "response": None}]}, "items[0]"),
    "neither form": ({"items": [{}]}, "items[0]"),
    "both forms": (
        {"items": [{"messages": [], "prompt": "a", "response": "b"}]}, "items[0]",
    ),
    "no message": ({"items": [{"messages": []}]}, "items[0].messages"),
    "the user last": (
        {"items": [{"messages": [{"role": "user", "content": "a"}]}]}, "items[0].messages",
    ),
    "an unknown role": (
        {"items": [{"messages": [{"role": "tool", "content": "a"}]}]},
        "items[0].messages[0].role",
    ),
    "a number for a flag": (
        {"items": [{"prompt": "a", "response": "b"}], "truncate": 1}, "truncate",
    ),
    "a number for a model": ({"items": [{"prompt": "a", "response": "b"}], "model": 1}, "model"),
}  # fmt: skip


@pytest.fixture(scope="module")
def http():
    with client() as found:
        yield found


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_bodies(http, name):
    """Each gets 400 `malformed_json` in the one shape, and nothing is computed."""
    headers = {"content-type": "application/json"}
    answer = http.post("/v1/score", content=MALFORMED[name], headers=headers)
    assert refused(answer, 400)["type"] == "malformed_json"


@pytest.mark.parametrize("name", INVALID)
def test_invalid_requests(http, name):
    """Each gets 422 `invalid_request`, and `where` is the place in the body."""
    body, where = INVALID[name]
    error = refused(http.post("/v1/score", json=body), 422)
    assert error["type"] == "invalid_request"
    assert error["where"].startswith(where)


def turn(**more):
    return {"role": "user", "content": "a", **more}


FORMS = [  # where several forms may stand: the place and the words of the nearest one
    ("/v1/compare", {"prompt": [turn(role="human")], "responses": ["b"]},
     "prompt[0].role", "input should be 'system', 'user' or 'assistant'"),
    ("/v1/compare", {"prompt": "a", "responses": ["b", [turn(), turn(str=1)]]},
     "responses[1][1].str", "extra inputs are not permitted"),
    ("/v1/compare", {"prompt": 5, "responses": ["b"]},
     "prompt", "input should be a valid string, or input should be a valid array"),
    ("/v1/compare", {"prompt": "a", "responses": [], "list[x]": 1}, "responses", "at least 1 item"),
    ("/v1/compare", {"prompt": "a", "responses": ["b"], "list[x]": 1}, "list[x]", "extra inputs"),
    ("/v1/score", {"items": [{"prompt": ["a"], "response": "b"}]},
     "items[0].prompt[0]", "input should be an object"),
    ("/v1/score", {"items": [{"prompt": [{"role": "user"}], "response": "b"}]},
     "items[0].prompt[0].content", "field required"),
    ("/predict", {"inputs": ["a"]}, "inputs", "at least 2 items after validation, not 1"),
    ("/predict", {"inputs": ["a", 3]}, "inputs[1]", "input should be a valid string"),
    ("/predict", {"inputs": [["a"], "b"]}, "inputs[1]", "input should be a valid array"),
    ("/predict", {"inputs": [["a"], ["a", "b", "c"]]},
     "inputs[1]", "at most 2 items after validation, not 3"),
    ("/predict", {"inputs": [["a"], [4]]}, "inputs[1][0]", "input should be a valid string"),
    ("/get_reward", {"query": []}, "query", "at least 1 item"),
    ("/get_reward", {"query": ["a", 3]}, "query[1]", "input should be a valid string"),
    ("/rerank", {"query": "a", "documents": ["b", {"texts": "b"}]},
     "documents[1].text", "field required"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "where", "message"), FORMS, ids=range(len(FORMS)))
def test_the_place_where_several_forms_may_stand(http, path, body, where, message):
    """A message is told what a message lacks, not that it is no text; `where` holds keys alone."""
    error = refused(http.post(path, json=body), 422)
    assert (error["type"], error["where"]) == ("invalid_request", where)
    assert message in error["message"]


def test_thirty_two_levels_are_read():
    """The limit is the last that is allowed, of lists and of objects."""
    deep = '{"a": ' * 31 + "[]" + "}" * 31
    assert keys_of(deep.encode(), 32) == ("a",)
    with pytest.raises(Refused, match="deeper than 31"):
        keys_of(deep.encode(), 31)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@settings(max_examples=30)
@given(st.dictionaries(st.text(), json_values))
def test_any_object_is_read(value):
    """Whatever Python writes as a JSON object is read, with its keys in their order."""
    assert keys_of(json.dumps(value).encode(), 64) == tuple(value)


@given(st.binary(max_size=40) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(body):
    """Nothing but `Refused` comes of any bytes."""
    with suppress(Refused):
        assert isinstance(keys_of(body, 32), tuple)
