"""Models, settings and routes -> a FastAPI app, plain enough for any ASGI server.

    app = create_app(lambda comparisons: [[0.0] * len(c.replies) for c in comparisons])
    app = create_app({"worldpm-135m": model}, ServeSettings(keys=("secret",)), OWN + MORE)

A request runs through: guard (key, host, limits), body -> request -> comparisons -> sizes (in a
thread of the side), the batcher, answer. When its client leaves on the way, it is forgotten.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

import worldpm
from worldpm.errors import WorldPMError
from worldpm.records import Comparison, ScoreFn
from worldpm.serve.batching import Batcher, as_scores
from worldpm.serve.errors import Refused
from worldpm.serve.guard import Guard
from worldpm.serve.metrics import Metrics
from worldpm.serve.models import Measured, ServedModel, plain_model
from worldpm.serve.openapi import describe
from worldpm.serve.own import OWN
from worldpm.serve.page import HEADERS, HTML
from worldpm.serve.reading import keys_of, read
from worldpm.serve.route import Route, Scored, choose, text_comparison
from worldpm.serve.settings import ServeSettings
from worldpm.serve.signing import Signer

SIDE_THREADS = 2  # that read bodies and count tokens while the one thread scores
HTTP_KINDS = {404: "not_found", 405: "method_not_allowed"}
Prepared = tuple[Route, Any, Batcher, tuple[Comparison, ...], tuple[Measured, ...]]


class Server:
    """The state behind the routes: a batcher a model, one thread that scores, and what is asked."""

    def __init__(
        self,
        models: Mapping[str, ServedModel],
        settings: ServeSettings,
        signer: Signer | None = None,
    ) -> None:
        self.models = dict(models)
        self.settings = settings
        self.signer = signer
        self.metrics = Metrics()
        self.scorer = ThreadPoolExecutor(1, "score")
        self.side = ThreadPoolExecutor(SIDE_THREADS, "prepare")
        self.batchers = {
            name: Batcher(
                model,
                settings,
                self.scorer,
                expected=lambda: self.reading,
                on_batch=self.metrics.on_batch,
            )
            for name, model in models.items()
        }
        self.default = next(iter(models))
        aliases = {each: name for name, model in models.items() for each in model.aliases}
        self.names = aliases | {name: name for name in models}
        self.ready = False
        self.draining = False
        self.active = 0  # requests from their body to their answer
        self.reading = 0  # those of them whose body is there and that do not wait yet
        self.metrics.watch(self)

    async def warm_up(self) -> None:
        """Score once with every model, so that nobody waits for what the first call does."""
        hello = text_comparison("Hello?", ["Hello."], id="warm-up")
        loop = asyncio.get_running_loop()
        for model in self.models.values():
            await loop.run_in_executor(self.scorer, model.measure, hello)
            await loop.run_in_executor(self.scorer, model.score, [hello])
        self.ready = True

    async def drain(self) -> None:
        """Take nothing more, and give what was taken its time."""
        self.draining, self.ready = True, False
        ends = time.monotonic() + self.settings.drain_seconds
        while self.active and time.monotonic() < ends:
            await asyncio.sleep(0.01)
        for batcher in self.batchers.values():
            batcher.close()
        self.scorer.shutdown(wait=False, cancel_futures=True)
        self.side.shutdown(wait=False, cancel_futures=True)

    def batcher(self, name: object) -> Batcher:
        """That of the loaded model of this name; of the first for None."""
        if name is None:
            return self.batchers[self.default]
        if isinstance(name, str) and name in self.names:
            return self.batchers[self.names[name]]
        loaded = ", ".join(self.batchers)
        raise Refused(404, "unknown_model", f"no model of this name is loaded; there is {loaded}",
                      where="model")  # fmt: skip

    def prepare(self, routes: Sequence[Route], body: bytes) -> Prepared:
        """All that is done before the queue; Refused and DataError for what is wrong."""
        keys = keys_of(body, self.settings.max_depth)
        route = choose(routes, keys)
        if route is None:
            known = ", ".join(dict.fromkeys(key for each in routes for key in each.when))
            raise Refused(422, "invalid_request", f"has none of the keys {known}", where="body")
        request = read(route.request, body)
        batcher = self.batcher(getattr(request, "model", None))
        if wants_traces(request) and batcher.model.trace is None:
            raise Refused(400, "no_traces", f"{batcher.model.name} is served by what knows a whole "
                          "reply's score alone; /info says which models have traces",
                          where="trace")  # fmt: skip
        comparisons = route.parse(request)
        self._check_sizes(comparisons)
        truncate = bool(getattr(request, "truncate", False))
        measured = tuple(self._measure(batcher.model, each, truncate) for each in comparisons)
        return route, request, batcher, comparisons, measured

    def _check_sizes(self, comparisons: Sequence[Comparison]) -> None:
        items = sum(len(comparison.replies) for comparison in comparisons)
        if items > self.settings.max_items:
            most = self.settings.max_items
            text = f"{items:,} conversations; the limit is {most:,} (max_items); send them in parts"
            raise Refused(413, "too_large", text)
        for comparison in comparisons:
            for conversation in comparison.conversations():
                chars = sum(len(message.content) for message in conversation)
                if chars > self.settings.max_chars:
                    raise Refused(422, "too_long", f"a conversation of {chars:,} characters; the "
                                  f"limit is {self.settings.max_chars:,} (max_chars)",
                                  where=comparison.id)  # fmt: skip

    def _measure(self, model: ServedModel, comparison: Comparison, truncate: bool) -> Measured:
        try:
            measured = model.measure(comparison)
        except WorldPMError as error:
            raise Refused(422, "invalid_request", str(error), where=comparison.id) from None
        longest = max(n + cut for n, cut in zip(measured.num_tokens, measured.cut_tokens,
                                                strict=True))  # fmt: skip
        if any(measured.cut_tokens) and not truncate:
            raise Refused(422, "too_long", f"a conversation of {longest:,} tokens; {model.name} "
                          f"takes {longest - max(measured.cut_tokens):,}; shorten it, or send "
                          '"truncate": true', where=comparison.id)  # fmt: skip
        most = self.settings.max_tokens
        if most is not None and max(measured.num_tokens) > most:
            raise Refused(422, "too_long", f"a conversation of {longest:,} tokens; the limit is "
                          f"{most:,} (max_tokens)", where=comparison.id)  # fmt: skip
        return measured

    def deadline(self, request: Request) -> float:
        """By time.monotonic(), from the header x-deadline-seconds within the settings' limit."""
        given, most = request.headers.get("x-deadline-seconds"), self.settings.request_seconds
        try:
            seconds = most if given is None else float(given)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            raise Refused(400, "malformed_request", "must be a number of seconds over 0",
                          where="header x-deadline-seconds")  # fmt: skip
        return time.monotonic() + min(seconds, most)

    async def answer(self, routes: Sequence[Route], request: Request) -> Response:
        """One request to a dialect, from its body to its answer."""
        if self.draining:
            raise Refused(503, "draining", "the server is stopping; ask another",
                          headers={"retry-after": "5", "connection": "close"})  # fmt: skip
        self.active += 1
        try:
            deadline = self.deadline(request)
            body = b"".join([part async for part in request.stream()])
            if len(self.batchers) == 1:
                self.batchers[self.default].check_room(deadline)
            work = asyncio.create_task(self._work(routes, body, deadline, request))
            leaving = asyncio.create_task(_leaves(request.receive))
            try:
                await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                leaving.cancel()
                if not work.done():
                    self.metrics.gone.inc()
                    work.cancel()
            if not work.done():
                return Response(status_code=499)  # nobody reads it
            return work.result()
        except Refused as refused:
            if refused.status == 429:  # clients that ask again at once would cost a processor
                await asyncio.sleep(self.settings.refusal_seconds)
            raise
        finally:
            self.active -= 1

    async def _work(
        self, routes: Sequence[Route], body: bytes, deadline: float, request: Request
    ) -> Response:
        loop = asyncio.get_running_loop()
        self.reading += 1
        try:
            prepared = await loop.run_in_executor(self.side, self.prepare, routes, body)
        finally:
            self.reading -= 1
        route, asked, batcher, comparisons, measured = prepared
        request.state.items = sum(len(each.replies) for each in comparisons)
        request.state.tokens = sum(sum(each.num_tokens) for each in measured)
        traces = None
        if wants_traces(asked):
            traces = await batcher.trace(comparisons, measured, deadline)
            rows = as_scores([[each.values[-1] for each in row] for row in traces], measured)
        else:
            rows = await batcher.score(comparisons, measured, deadline)
        model, now = batcher.model, int(time.time())
        scored = Scored(request.state.request_id, model.name, now, rows, traces)
        answer = route.answer(asked, scored)
        if self.signer is not None and route.signed:
            answer["signature"] = self.signer.sign(
                comparisons, [each.value for each in scored.flat], truncate=asked.truncate,
                model=model.name, digest=model.digest, created=now,
            )  # fmt: skip
        return Json(answer)


def wants_traces(request: Any) -> bool:
    """Whether a request of any dialect asks for the score at every token."""
    return bool(getattr(request, "trace", False))


class Json(Response):
    """JSON by orjson: every digit of a double, and an error for one that is not finite."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The bytes."""
        return orjson.dumps(content)


async def _leaves(receive: Callable[[], Any]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def create_app(
    models: ScoreFn | Mapping[str, ServedModel],
    settings: ServeSettings | None = None,
    routes: Sequence[Route] = OWN,
    *,
    signer: Signer | None = None,
) -> FastAPI:
    """The server of `models` (a score function alone is called "model") as an ASGI app.

    `app.state.server` is its `Server`. The lifespan warms up and drains. Our own routes' answers
    are signed where a `signer` is given.
    """
    settings = settings or ServeSettings()
    if callable(models):
        models = {"model": plain_model(models)}
    server = Server(models, settings, signer)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await server.warm_up()
        yield
        await server.drain()

    app = FastAPI(
        title="worldpm",
        version=worldpm.__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.state.server = server
    app.add_middleware(Guard, settings=settings, on_request=server.metrics.on_request)
    app.add_exception_handler(HTTPException, _http_error)
    paths: dict[tuple[str, str], list[Route]] = {}
    for route in routes:
        paths.setdefault((route.method, route.path), []).append(route)
    for (method, path), own in paths.items():
        _add_route(app, server, method, path, tuple(own))
    _add_state_routes(app, server, routes)
    describe(app, paths, keyed=bool(settings.keys))
    return app


def _add_route(
    app: FastAPI, server: Server, method: str, path: str, routes: tuple[Route, ...]
) -> None:
    async def endpoint(request: Request) -> Response:
        request.state.route = path
        return await server.answer(routes, request)

    app.add_api_route(path, endpoint, methods=[method], name=path, summary=routes[0].about,
                      response_class=Response)  # fmt: skip


def _add_state_routes(app: FastAPI, server: Server, routes: Sequence[Route]) -> None:
    started = int(time.time())

    async def health(request: Request) -> Response:
        return Json({"status": "ok"})

    async def ready(request: Request) -> Response:
        if not server.ready:
            kind = "draining" if server.draining else "not_ready"
            raise Refused(503, kind, "not ready for requests", headers={"retry-after": "1"})
        return Json({"status": "ready"})

    async def models(request: Request) -> Response:
        data = [{"id": name, "object": "model", "created": started, "owned_by": "worldpm"}
                for name in server.models]  # fmt: skip
        return Json({"object": "list", "data": data})

    async def info(request: Request) -> Response:
        return Json({
            "version": worldpm.__version__,
            "models": {name: {**model.info, "traces": model.trace is not None}
                       for name, model in server.models.items()},
            "default_model": server.default,
            "limits": server.settings.limits(),
            "key_required": bool(server.settings.keys),
            "answers_signed": server.signer is not None,
            "routes": sorted({route.path for route in routes}),
        })  # fmt: skip

    async def page(request: Request) -> Response:
        return Response(HTML, headers=HEADERS)

    async def metrics(request: Request) -> Response:
        text, kind = server.metrics.render()
        return Response(text, headers={"content-type": kind})

    for path, endpoint, about in (
        ("/health", health, "Whether the process lives; needs no key."),
        ("/ready", ready, "Whether requests are taken."),
        ("/v1/models", models, "The loaded models."),
        ("/info", info, "Models, contract and every limit."),
        ("/metrics", metrics, "Counters in Prometheus' form."),
    ):
        app.add_api_route(path, _named(path, endpoint), methods=["GET"], name=path, summary=about,
                          response_class=Response)  # fmt: skip
    app.add_api_route("/", _named("/", page), methods=["GET"], include_in_schema=False)


def _named(path: str, endpoint: Callable[[Request], Any]) -> Callable[[Request], Any]:
    async def named(request: Request) -> Response:
        request.state.route = path
        response: Response = await endpoint(request)
        return response

    return named


async def _http_error(request: Request, error: Exception) -> Response:
    """What starlette itself refuses, in our shape."""
    assert isinstance(error, HTTPException)
    text = {404: "no such route; /openapi.json lists them", 405: "not with this method"}
    raised = Refused(
        error.status_code, HTTP_KINDS.get(error.status_code, "malformed_request"),
        text.get(error.status_code, "the request is not valid"), headers=error.headers,
    )  # fmt: skip
    request.state.refused = raised.kind
    return Response(raised.body(), raised.status, raised.headers, media_type="application/json")
