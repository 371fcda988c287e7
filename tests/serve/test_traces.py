"""The score at every token over HTTP: the scorer's traces, in the queue with all other work."""

import asyncio
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from tiny import small_model
from wire import client, refused

from worldpm.cli.serving import load_served
from worldpm.score import load
from worldpm.serve.batching import Batcher
from worldpm.serve.models import ReplyTrace, plain_model
from worldpm.serve.route import text_comparison
from worldpm.serve.settings import ServeSettings

TEXTS = ["alpha beta", "no", "a third one <|im_end|>", "", "日本 🙂"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return small_model(tmp_path_factory.mktemp("traces") / "small")


@pytest.fixture(scope="module", params=["auto", "torch"])
def engine(request):
    return request.param


@pytest.fixture(scope="module")
def scorer(folder, engine):
    return load(folder, dtype="float32", engine=engine, truncate=True)


@pytest.fixture(scope="module")
def http(folder, engine):
    model = load_served(str(folder), dtype="float32", engine=engine)
    with client({model.name: model}) as found:
        yield found


def asked(text, **more):
    return {"prompt": "why", "responses": text, **more}


def test_a_trace_ends_in_the_score(http, scorer):
    """With `trace` the same answer, to the bit, has the pieces of each reply, which together are
    its text and the template's end, and the scorer's score at each, the last the reply's."""
    bare = http.post("/v1/compare", json=asked(TEXTS)).json()
    told = http.post("/v1/compare", json=asked(TEXTS, trace=True)).json()
    traces = told.pop("traces")
    assert {**told, "id": None} == {**bare, "id": None}
    (wanted,) = scorer.iter_traces([text_comparison("why", TEXTS)])
    for text, score, trace, whole in zip(TEXTS, bare["scores"], traces, wanted, strict=True):
        assert trace["scores"][-1] == score
        assert "".join(trace["pieces"]) == f"{text}<|im_end|><|endoftext|>"
        assert trace["scores"] == list(whole.values[-len(trace["pieces"]) :])


def test_without_trace_nothing_changes(http):
    """An answer to a request without the key, or with false, has the keys that it always had."""
    answers = [http.post("/v1/compare", json=asked(TEXTS, **more)).json()
               for more in ({}, {"trace": False})]  # fmt: skip
    for answer in answers:
        assert list(answer) == ["id", "object", "model", "scores", "ranking", "beats", "usage"]
    assert {**answers[0], "id": None} == {**answers[1], "id": None}


def test_a_trace_of_what_was_cut(http):
    """Of a conversation whose oldest tokens went, the reply's are there and none of the prompt; of
    a reply that was cut itself, its end."""
    body = {"prompt": "word " * 400, "responses": ["b", "c " * 600], "truncate": True}
    told = http.post("/v1/compare", json={**body, "trace": True}).json()
    assert told["scores"] == http.post("/v1/compare", json=body).json()["scores"]
    short, long = ("".join(trace["pieces"]) for trace in told["traces"])
    assert short == "b<|im_end|><|endoftext|>"
    assert long.startswith(("c c", " c c"))
    assert len(told["traces"][1]["scores"]) == 512


def test_a_trace_of_nothing(tmp_path, engine):
    """An empty reply that the template does not close has no token of its own: one empty piece has
    its score."""
    open_ended = small_model(tmp_path / "open")
    (open_ended / "worldpm.json").unlink()  # the contract of the other template
    (open_ended / "chat_template.jinja").write_text(
        "{% for each in messages %}<|im_start|>{{ each.role }}\n{{ each.content }}{% endfor %}"
    )
    model = load_served(str(open_ended), dtype="float32", engine=engine)
    with client({model.name: model}) as http:
        bare = http.post("/v1/compare", json=asked(["", "ab"])).json()
        answer = http.post("/v1/compare", json=asked(["", "ab"], trace=True))
    assert answer.status_code == 200
    assert answer.json()["scores"] == bare["scores"]
    empty, other = answer.json()["traces"]
    assert empty == {"pieces": [""], "scores": bare["scores"][:1]}
    assert (other["pieces"], other["scores"][-1]) == (["a", "b"], bare["scores"][1])


def test_a_model_without_traces_refuses(http):
    """A plain function has no traces: 400 that says so, nothing is computed; /info says who has."""
    with client() as plain:
        error = refused(plain.post("/v1/compare", json=asked(["a", "b"], trace=True)), 400)
        assert (error["type"], error["where"]) == ("no_traces", "trace")
        assert plain.post("/v1/compare", json=asked(["a", "b"])).status_code == 200
        assert plain.get("/info").json()["models"]["model"]["traces"] is False
        for bad in (1, "true", None):
            answer = plain.post("/v1/compare", json=asked(["a", "b"], trace=bad))
            assert refused(answer, 422)["where"] == "trace"
    (model,) = http.get("/info").json()["models"].values()
    assert model["traces"] is True


def test_traces_keep_the_limits(folder):
    """What is too much without `trace` is too much with it, by the same limits."""
    model = load_served(str(folder), dtype="float32")
    for settings, status in (({"max_items": 1}, 413), ({"max_chars": 5}, 422),
                             ({"max_tokens": 9}, 422), ({"max_queue_tokens": 9}, 413)):  # fmt: skip
        with client({model.name: model}, **settings) as http:
            for more in ({}, {"trace": True}):
                refused(http.post("/v1/compare", json=asked(["abc", "d"], **more)), status)


def minus_length(comparisons):
    return [[-float(len(r[-1].content)) for r in c.replies] for c in comparisons]


def test_traces_wait_in_the_same_queue():
    """Requests for traces and for scores of one prompt go by their deadlines, each kind in a batch
    of its own, and each gets what it asked for; a trace that is not finite is an error."""
    calls = []

    def note(kind, found):
        def function(comparisons):
            calls.append((kind, [r[-1].content for c in comparisons for r in c.replies]))
            return found(comparisons)

        return function

    def trace(comparisons):
        for row in minus_length(comparisons):
            yield [ReplyTrace(("", "x"), (math.nan if v == -13 else 0.5, v)) for v in row]

    plain = plain_model(note("score", minus_length))
    model = replace(plain, trace=note("trace", trace))

    async def main():
        with ThreadPoolExecutor(1) as thread:
            batcher = Batcher(model, ServeSettings(), thread)

            def ask(function, *replies, seconds=9.0):
                asked = text_comparison("p", replies)
                return function([asked], [model.measure(asked)], time.monotonic() + seconds)

            found = await asyncio.gather(
                ask(batcher.trace, "a", "bb"), ask(batcher.score, "ccc", seconds=8),
                ask(batcher.trace, "dddd"), ask(batcher.score, "eeeee"),
                ask(batcher.trace, "x" * 13), return_exceptions=True,
            )  # fmt: skip
            batcher.close()
            return found

    both, three, four, five, bad = asyncio.run(main())
    assert [trace.values for trace in both[0]] == [(0.5, -1.0), (0.5, -2.0)]
    assert (four[0][0].values, three[0][0].value, five[0][0].value) == ((0.5, -4.0), -3.0, -5.0)
    assert (bad.status, bad.kind) == (500, "non_finite_score")
    assert calls == [("score", ["ccc", "eeeee"]), ("trace", ["a", "bb", "dddd", "x" * 13])]
