"""/v1/score, /v1/compare and what a server tells of itself; answers equal the scorer's."""

import asyncio
import math
import threading
import time

import httpx
import pytest
from safetensors.torch import load_file, save_file
from starlette.testclient import TestClient
from tiny import small_model
from wire import client, refused, score

from worldpm.cli.serving import load_served, make_app, served
from worldpm.records import Message
from worldpm.score import load
from worldpm.serve.app import create_app
from worldpm.serve.dialects import ROUTES
from worldpm.serve.models import plain_model
from worldpm.serve.route import text_comparison
from worldpm.serve.settings import ServeSettings

TEXTS = ["alpha beta", "no", "a third one <|im_end|>", "", "日本 🙂"]


def item(prompt, response):
    return {"prompt": prompt, "response": response}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("serve") / "small")


@pytest.fixture(scope="module")
def scorer(folder):
    return load(folder, dtype="float32", truncate=True)


@pytest.fixture(scope="module")
def http(folder):
    model = load_served(str(folder), dtype="float32")
    with client({model.name: model}) as found:
        yield found


def test_scores_are_the_scorers(http, scorer):
    """Every double of /v1/score is the one of `Scorer`, with the tokens of its conversation."""
    items = [item("why", text) for text in TEXTS]
    answer = http.post("/v1/score", json={"items": items}).json()
    asked = [text_comparison("why", [text]) for text in TEXTS]
    expected = [scores[0] for scores in scorer.iter_scores(asked)]
    assert [d["score"] for d in answer["data"]] == pytest.approx([s.value for s in expected], abs=0)
    assert [d["tokens"] for d in answer["data"]] == [s.num_tokens for s in expected]
    assert [d["index"] for d in answer["data"]] == list(range(len(TEXTS)))
    assert answer["usage"]["total_tokens"] == sum(s.num_tokens for s in expected)
    assert (answer["object"], answer["model"]) == ("list", scorer.name)


def test_messages_and_texts_are_the_same(http):
    """A conversation as messages, as prompt and response, and as lists of both has one score."""
    user, reply = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
    items = [{"messages": [user, reply]}, item("q", "a"), item([user], [reply])]
    data = http.post("/v1/score", json={"items": items}).json()["data"]
    assert len({(d["score"], d["tokens"]) for d in data}) == 1
    longer = {"messages": [user, reply, user, reply]}
    assert http.post("/v1/score", json={"items": [longer]}).json()["data"][0] != data[0]


def test_compare_ranks(http, scorer):
    """/v1/compare gives the scorer's scores, the ranking by them, and who beats whom."""
    answer = http.post("/v1/compare", json={"prompt": "why", "responses": TEXTS}).json()
    ranking = scorer.rank("why", TEXTS)
    assert answer["scores"] == [s.value for s in ranking.scores]
    assert [r["index"] for r in answer["ranking"]] == ranking.order
    assert [r["p_best"] for r in answer["ranking"]] == [ranking.p_best[i] for i in ranking.order]
    for i, row in enumerate(answer["beats"]):
        for j, chance in enumerate(row):
            gap = answer["scores"][i] - answer["scores"][j]
            assert chance == pytest.approx(1 / (1 + math.exp(-gap)))


def test_long_conversations(http, scorer):
    """Over the model's length 422 says how long it was and where; with `truncate` the oldest
    tokens go, as the scorer's do, and the answer says so."""
    items = [item("q", "a"), item("word " * 400, "b")]
    error = refused(http.post("/v1/score", json={"items": items}), 422)
    assert (error["type"], error["where"]) == ("too_long", "items[1]")
    assert "512" in error["message"]
    data = http.post("/v1/score", json={"items": items, "truncate": True}).json()["data"]
    assert [d["truncated"] for d in data] == [False, True]
    asked = [text_comparison(i["prompt"], [i["response"]]) for i in items]
    assert [d["score"] for d in data] == [row[0] for row in scorer.score(asked)]
    assert data[1]["tokens"] == 512


def test_measures_are_the_trees(scorer):
    """What the queue counts is what the scorer computes: the prompt once, each reply's rest."""
    model = served(scorer)
    asked = text_comparison("a question " * 9, TEXTS)
    measured = model.measure(asked)
    total, _ = scorer.count([asked])
    assert measured.num_tokens == tuple(s.num_tokens for s in next(scorer.iter_scores([asked])))
    # Replies may share their first tokens too; the count does not look for that.
    assert total <= measured.tree_tokens <= total + 4 * len(TEXTS)
    assert measured.prompt_tokens > 90


def test_what_the_template_refuses(http):
    """A broken text is the client's fault (400 or 422), never a 500."""
    answer = http.post("/v1/score", content=b'{"items": [{"prompt": "\\ud800", "response": "b"}]}',
                       headers={"content-type": "application/json"})  # fmt: skip
    assert refused(answer, 400)


MODELS = [
    "../", "/etc/passwd", "file:///etc/passwd", "http://169.254.169.254/latest", "Qwen/WorldPM-72B",
    "small/../small", "%2e%2e/small", "small@main", "SMALL", "small ", "", "a" * 5000, "small\x00",
    "__class__", "*",
]  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_only_loaded_models_can_be_named(http, name, monkeypatch):
    """Any other name gets 404; no file is opened and nothing is loaded for it."""
    monkeypatch.setattr("builtins.open", lambda *a, **k: pytest.fail("opened a file"))
    body = {"items": [item("q", "a")], "model": name}
    error = refused(http.post("/v1/score", json=body), 404)
    assert error["type"] == "unknown_model"
    assert error["message"].endswith("there is small")


def test_several_models():
    """Each answers by its name, the first where none is named; both are listed."""
    models = {
        "one": plain_model(score, "one"),
        "two": plain_model(lambda asked: [[2.0] * len(c.replies) for c in asked], "two"),
    }
    with client(models) as http:
        body = {"items": [item("q", "abcd")]}
        assert http.post("/v1/score", json=body).json()["data"][0]["score"] == -0.5
        found = http.post("/v1/score", json={**body, "model": "two"}).json()
        assert (found["model"], found["data"][0]["score"]) == ("two", 2.0)
        assert [m["id"] for m in http.get("/v1/models").json()["data"]] == ["one", "two"]


def test_a_limit_below_the_models_own(folder):
    """With `max_tokens` the oldest tokens go beyond that limit, as at the model's own; a number
    over that changes nothing."""
    items = [item("why " * 50, "because")]
    settings = ServeSettings(max_tokens=40)
    app = make_app([str(folder)], settings, dtype="float32", engine="auto", threads=1)
    with TestClient(app, base_url="http://localhost") as http:
        error = refused(http.post("/v1/score", json={"items": items}), 422)
        assert (error["type"], "takes 40;" in error["message"]) == ("too_long", True)
        (found,) = http.post("/v1/score", json={"items": items, "truncate": True}).json()["data"]
    short = load(folder, dtype="float32", truncate=True, threads=1)
    short.max_tokens = 40
    ((score,),) = short.score([text_comparison("why " * 50, ["because"])])
    assert found == {"index": 0, "score": score, "tokens": 40, "truncated": True}
    assert load_served(str(folder), max_tokens=513).info["max_tokens"] == 512


def test_a_score_that_is_not_finite(tmp_path):
    """Of a checkpoint it is the error that the guide promises, which names the reply."""
    broken = small_model(tmp_path / "broken")
    (broken / "worldpm.json").unlink()  # the contract of the whole weights
    path = broken / "model.safetensors"
    state = load_file(path)
    state["score.weight"].fill_(3e38)
    save_file(state, path, metadata={"format": "pt"})
    model = load_served(str(broken), dtype="float32")
    # Without the lifespan, whose warm-up would fail.
    http = TestClient(create_app({model.name: model}), base_url="http://localhost")
    error = refused(http.post("/v1/score", json={"items": [item("why", "a")]}), 500)
    assert error["type"] == "non_finite_score"
    assert "reply 0 got the score" in error["message"]


LIMITS = [
    ({"max_items": 2}, {"items": [item("q", "a")] * 3}, 413, "too_large"),
    ({"max_items": 2}, {"items": [item("q", "a")] * 2}, 200, None),
    ({"max_chars": 5}, {"items": [item("abc", "def")]}, 422, "too_long"),
    ({"max_chars": 5}, {"items": [item("abc", "de")]}, 200, None),
    ({"max_tokens": 5}, {"items": [item("abc", "def")]}, 422, "too_long"),
    ({"max_tokens": 5}, {"items": [item("abc", "de")]}, 200, None),
    ({"max_queue_tokens": 5}, {"items": [item("abc", "def")]}, 413, "too_large"),
    ({"max_queue_tokens": 5}, {"items": [item("abc", "de")]}, 200, None),
    ({"max_body_bytes": 90}, {"items": [item("abc", "x" * 90)]}, 413, "too_large"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "body", "status", "kind"), LIMITS)
def test_limits(settings, body, status, kind):
    """Each limit is the last value that is allowed."""
    with client(**settings) as http:
        answer = http.post("/v1/score", json=body)
        assert answer.status_code == status, answer.text
        if kind is not None:
            assert refused(answer, status)["type"] == kind


def test_info_lists_every_limit(http):
    """/info names every setting but the keys, and the checkpoint's contract."""
    info = http.get("/info").json()
    assert set(info["limits"]) == set(ServeSettings.model_fields) - {"keys"}
    (model,) = info["models"].values()
    assert len(model["template_sha256"]) == 64
    assert (model["head"], model["max_tokens"], model["stored_dtype"]) == ("linear", 512, "float32")
    assert info["routes"] == sorted({route.path for route in ROUTES})
    assert "secret" not in str(client_info(keys=("secret",)))


def client_info(**settings):
    with client(**settings) as http:
        return http.get("/info", headers={"authorization": "Bearer secret"}).json()


def test_ready_once_warm():
    """A server is ready after its models have scored once, and not before."""
    calls = []

    def counting(comparisons):
        calls.append(comparisons)
        return score(comparisons)

    app = create_app(counting)
    assert not app.state.server.ready
    with client(counting) as http:
        assert http.get("/ready").status_code == 200
        assert len(calls) == 1


def concurrently(app, main):
    async def whole():
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            return await main(http)

    return asyncio.run(whole())


def test_requests_at_the_same_time_share_a_prompt(folder, scorer):
    """Eight replies asked for by eight requests at once come as one comparison, each to its own."""
    model, seen = served(scorer), []

    def watched(comparisons):
        seen.append([len(c.replies) for c in comparisons])
        return scorer.score(comparisons)

    app = create_app({"m": type(model)("m", watched, model.measure)})

    async def main(http):
        texts = [f"reply {i}" for i in range(8)]
        answers = await asyncio.gather(
            *(http.post("/v1/score", json={"items": [item("why", t)]}) for t in texts)
        )
        values = [a.json()["data"][0]["score"] for a in answers]
        assert values == [s.value for s in scorer.rank("why", texts).scores]

    concurrently(app, main)
    assert sum(map(sum, seen)) == 8
    assert len(seen) <= 2


def test_draining_finishes_what_was_taken():
    """While a server drains, what it took is answered, and what comes gets 503."""
    go, began = threading.Event(), threading.Event()

    def held(comparisons):
        began.set()
        assert go.wait(20)
        return score(comparisons)

    app = create_app(held)

    async def main(http):
        body = {"items": [item("q", "abcd")]}
        taken = asyncio.create_task(http.post("/v1/score", json=body))
        while not began.is_set():
            await asyncio.sleep(0.001)
        drain = asyncio.create_task(app.state.server.drain())
        await asyncio.sleep(0.01)
        assert refused(await http.post("/v1/score", json=body), 503)["type"] == "draining"
        assert refused(await http.get("/ready"), 503)["type"] == "draining"
        assert (await http.get("/health")).status_code == 200
        assert not drain.done()
        go.set()
        assert (await taken).json()["data"][0]["score"] == -0.5
        await drain

    concurrently(app, main)


def test_a_request_may_set_its_deadline():
    """x-deadline-seconds shortens the wait, never lengthens it over the limit; a bad one is 400."""

    def slow(comparisons):
        time.sleep(0.3)
        return score(comparisons)

    with client(slow, request_seconds=5) as http:
        body = {"items": [item("q", "a")]}
        late = http.post("/v1/score", json=body, headers={"x-deadline-seconds": "0.05"})
        assert refused(late, 504)["type"] == "deadline_exceeded"
        fine = http.post("/v1/score", json=body, headers={"x-deadline-seconds": "1e9"})
        assert fine.status_code == 200
        for bad in ("x", "-1", "0", "nan", "inf", ""):
            answer = http.post("/v1/score", json=body, headers={"x-deadline-seconds": bad})
            assert refused(answer, 400)["where"] == "header x-deadline-seconds"


def test_the_document_describes_the_routes():
    """The OpenAPI document has every route, and every reference in it leads somewhere."""
    with client(keys=("secret",)) as http:
        document = http.get("/openapi.json", headers={"authorization": "Bearer secret"}).json()
    schemas = document["components"]["schemas"]
    assert {route.path for route in ROUTES} <= set(document["paths"])
    for path in {route.path for route in ROUTES}:
        post = document["paths"][path]["post"]
        assert post["requestBody"]["required"]
        assert {"200", "401", "413", "422", "429", "503", "504"} <= set(post["responses"])
    refs = set()

    def walk(value):
        if isinstance(value, dict):
            refs.update([value["$ref"]] if isinstance(value.get("$ref"), str) else [])
            value = list(value.values())
        for each in value if isinstance(value, list) else ():
            walk(each)

    walk(document)
    assert refs
    assert {ref.removeprefix("#/components/schemas/") for ref in refs} <= set(schemas)
    assert document["paths"]["/health"]["get"]["security"] == []


def test_a_message_is_not_read_as_control():
    """The prompt's roles reach the model as they were sent: nothing is made up beside them."""
    seen = []

    def watch(comparisons):
        seen.extend(comparisons)
        return score(comparisons)

    with client(watch) as http:
        talk = [{"role": "system", "content": "s"}, {"role": "user", "content": "<|im_end|>"}]
        http.post("/v1/compare", json={"prompt": talk, "responses": ["a"]})
    assert seen[-1].prompt == (Message("system", "s"), Message("user", "<|im_end|>"))
