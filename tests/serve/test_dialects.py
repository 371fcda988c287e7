"""Every dialect answers the requests of published clients as those clients read them."""

import json
import math
from pathlib import Path

import pytest
from wire import chatml, client, score

from worldpm.serve.dialects import DIALECTS, ROUTES

FORMS = json.loads((Path(__file__).parent / "wire_forms.json").read_text())["cases"]


@pytest.fixture(scope="module")
def http():
    with client() as found:
        yield found


def plain(answer):
    """The answer without what differs from call to call."""
    if isinstance(answer, list):
        return [plain(each) for each in answer]
    if not isinstance(answer, dict):
        return answer
    return {k: plain(v) for k, v in answer.items() if k not in {"id", "created"}}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form["about"])
def test_recorded_forms(http, form):
    """A recorded request gets exactly the recorded answer."""
    found = http.post(form["path"], json=form["request"])
    assert found.status_code == 200, found.text
    assert plain(found.json()) == plain(form["answer"])


def test_every_route_has_a_recorded_form():
    """No route but our own two goes without a recorded request."""
    recorded = {(form["path"], key) for form in FORMS for key in form["request"]}
    for route in ROUTES:
        if route not in DIALECTS["ours"]:
            keys = route.when or tuple(route.request.model_fields)
            assert any((route.path, key) in recorded for key in keys), route.path


def test_lists_have_ids_and_times(http):
    """vLLM's lists carry the request's id and the second of their making."""
    found = http.post("/classify", json={"input": chatml("q", "r")}, headers={"x-request-id": "a1"})
    assert found.json()["id"] == "a1"
    assert isinstance(found.json()["created"], int)


def test_our_own_form_keeps_its_path(http):
    """/v1/score with `items` is ours, though vLLM's form stands on the same path."""
    item = {"prompt": "Why?", "response": "Because."}
    found = http.post("/v1/score", json={"items": [item]}).json()
    assert found["data"][0] == {"index": 0, "score": -1.0, "tokens": 12, "truncated": False}


def test_every_digit_arrives():
    """A double goes through every raw form to the last bit."""
    value = -0.1 - 2**-52
    with client(lambda comparisons: [[value] * len(c.replies) for c in comparisons]) as http:
        for form in FORMS:
            if "sigmoid" in form["about"] or "probabilities" in form["about"]:
                continue
            answer = http.post(form["path"], json=form["request"]).json()
            assert value in set(numbers(answer)), form["about"]


def numbers(answer):
    """All floats in an answer."""
    if isinstance(answer, float):
        yield answer
    elif isinstance(answer, dict | list):
        for each in answer.values() if isinstance(answer, dict) else answer:
            yield from numbers(each)


@pytest.mark.parametrize("value", [-800.0, -40.0, -1e-17, 0.0, 3.0, 800.0])
def test_probabilities_are_exact_at_both_ends(value):
    """A sigmoid is within an ulp or two of the true one, and orders very low scores too."""
    with client(lambda comparisons: [[value] for c in comparisons]) as http:
        answer = http.post("/classify", json={"input": chatml("q", "r")}).json()
    (found,) = answer["data"][0]["probs"]
    wanted = math.exp(value) / (1 + math.exp(value)) if value < 0 else 1 / (1 + math.exp(-value))
    assert found == pytest.approx(wanted, rel=1e-15, abs=0)


def test_replies_of_one_prompt_are_one_comparison():
    """The documents of a query reach the score function together, each once."""
    seen = []

    def counting(comparisons):
        seen.extend(comparisons)
        return score(comparisons)

    with client(counting) as http:
        seen.clear()  # the warm-up
        documents = [f"reply {i}" for i in range(8)]
        http.post("/rerank", json={"query": "q", "documents": documents})
        assert [len(each.replies) for each in seen] == [8]
        seen.clear()
        http.post("/classify", json={"input": [chatml("q", each) for each in documents]})
        assert [len(each.replies) for each in seen] == [8]


def test_order_of_answers_is_that_of_the_request(http):
    """Whatever the order of the texts, each answer stands at its own place."""
    sizes = [3, 1, 4, 1, 5, 9, 2, 6]
    texts = [chatml(f"q{i % 3}", "x" * size) for i, size in enumerate(sizes)]
    body = {"input": texts, "use_activation": False}
    found = http.post("/classify", json=body).json()["data"]
    assert [each["probs"][0] for each in found] == [-size / 8 for size in sizes]
    assert [each["index"] for each in found] == list(range(8))


@pytest.mark.parametrize(
    ("path", "body", "where"),
    [
        ("/classify", {"input": "plain"}, "input"),
        ("/classify", {"input": [chatml("q", "r"), chatml("q")]}, "input[1]"),
        ("/classify", {"input": [1, 2, 3]}, "input"),
        ("/classify", {"input": []}, "input"),
        ("/classify", {"text": chatml("q", "r"), "input_ids": [[1]]}, "input_ids"),
        ("/classify", {"input": chatml("q", "r"), "chat_template": "{{ 1 }}"}, "chat_template"),
        ("/classify", {"input": chatml("q", "r"), "truncate_prompt_tokens": 10}, "truncate"),
        ("/classify", {"input": chatml("q", "r"), "truncation_side": "right"}, "truncation_side"),
        ("/classify", {"messages": [{"role": "user", "content": "q"}]}, "messages"),
        ("/classify", {"messages": []}, "messages"),
        ("/classify", {"messages": [{"role": "tool", "content": "q"}]}, "messages[0].role"),
        ("/pooling", {"input": chatml("q", "r"), "task": "embed"}, "task"),
        ("/pooling", {"input": chatml("q", "r"), "encoding_format": "base64"}, "encoding_format"),
        ("/score", {"queries": ["a", "b"], "documents": ["c"]}, "queries"),
        ("/score", {"queries": [], "documents": ["c"]}, "queries"),
        ("/rerank", {"query": "q", "documents": []}, "documents"),
        ("/rerank", {"query": "q", "documents": ["r"], "top_n": -1}, "top_n"),
        ("/rerank", {"query": "q", "texts": []}, "texts"),
        ("/v1/embeddings", {"input": chatml("q", "r"), "dimensions": 8}, "dimensions"),
        ("/predict", {"inputs": ["a", "b", "c"]}, "inputs"),
        ("/predict", {"inputs": [["a", "b", "c"]]}, "inputs"),
        ("/rerank", {"query": "q", "texts": ["r"], "truncate": True,
                     "truncation_direction": "right"}, "truncation_direction"),
        ("/get_reward", {"query": ["a"], "prompts": []}, "prompts"),
        ("/get_reward", {"query": ["a"], "prompts": ["b"]}, "query[0]"),
        ("/remote_rm", {"prompt": [], "response": "r"}, "prompt"),
    ],
)  # fmt: skip
def test_what_cannot_be_honoured_is_refused(http, path, body, where):
    """What would change or guess a score is a 422 that names its place, never passed over."""
    found = http.post(path, json=body)
    assert found.status_code == 422, found.text
    error = found.json()["error"]
    assert (error["where"] or "").startswith(where)
    assert error["type"] in {"invalid_request", "template_structure"}


def test_broken_structure_has_its_own_type(http):
    """A string whose turns are in no real order is refused as template_structure."""
    for path, body in (("/classify", {"input": "x"}), ("/get_reward", {"query": ["x"]})):
        assert http.post(path, json=body).json()["error"]["type"] == "template_structure"


def test_an_unknown_model_is_refused_in_every_dialect(http):
    """A request that names another model gets 404, in each dialect that has names."""
    for form in FORMS:
        if "model" in form["request"]:
            body = form["request"] | {"model": "../etc"}
            assert http.post(form["path"], json=body).status_code == 404, form["about"]
