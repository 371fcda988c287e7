"""No dialect fails on a body of a wrong shape, and answers fit the schemas that are published."""

import json
import runpy
import sys
from copy import deepcopy
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from pydantic import TypeAdapter
from starlette.testclient import TestClient
from tiny import small_model
from wire import chatml, client

from worldpm.serve.dialects import ROUTES
from worldpm.serve.route import choose

FORMS = json.loads((Path(__file__).parent / "wire_forms.json").read_text())["cases"]
JUNK = (
    None,
    True,
    0,
    -1,
    1e300,
    "",
    "x",
    "\x00\ufeff",
    [],
    [None],
    [[]],
    {},
    {"text": 1},
    [[["x"]]],
)
EXAMPLE = Path(__file__).parents[2] / "examples" / "ray_serve.py"


@pytest.fixture(scope="module")
def http():
    with client() as found:
        yield found


def route_of(form):
    return choose([r for r in ROUTES if r.path == form["path"]], form["request"])


def places(value, path=()):
    """The paths to every value inside a value."""
    yield path
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(each, (*path, key))


def put(body, path, value):
    """A copy of `body` with `value` at `path`."""
    found = deepcopy(body)
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return found


@pytest.mark.parametrize("path", sorted({form["path"] for form in FORMS}))
def test_wrong_shapes_are_4xx(http, path):
    """Each value of each recorded request, replaced by junk, is answered or refused: no 5xx."""
    count = 0
    for form in (form for form in FORMS if form["path"] == path):
        for place in places(form["request"]):
            for junk in JUNK if place else ():
                found = http.post(path, json=put(form["request"], place, junk))
                assert found.status_code < 500, (place, junk, found.text)
                if found.status_code != 200:
                    assert set(found.json()["error"]) == {"type", "message", "where"}
                count += 1
    assert count >= len(JUNK)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form["about"])
def test_answers_fit_their_schemas(http, form):
    """What a route answers is what the OpenAPI document says of it."""
    answer = http.post(form["path"], json=form["request"]).json()
    TypeAdapter(route_of(form).response).validate_python(answer)


def test_every_form_is_in_the_document(http):
    """The OpenAPI document has every body and answer as its own model has it: no name twice."""
    document = http.get("/openapi.json").json()
    for route in ROUTES:
        content = document["paths"][route.path]["post"]["requestBody"]["content"]
        shown = content["application/json"]["schema"]
        names = [each["$ref"].split("/")[-1] for each in shown.get("anyOf", [shown])]
        assert route.request.__name__ in names
        for kind, mode in ((route.request, "validation"), (route.response, "serialization")):
            schema = TypeAdapter(kind).json_schema(
                mode=mode, ref_template="#/components/schemas/{model}"
            )
            own = schema.pop("$defs", {})
            if "title" in schema:
                own[schema["title"]] = schema
            for name, each in own.items():
                assert document["components"]["schemas"][name] == each, name


def test_the_ray_serve_example_builds_the_server(monkeypatch, tmp_path):
    """The example's replica is our whole server, with the environment's model and key."""
    serve = SimpleNamespace(
        ingress=lambda build: lambda: build,
        deployment=lambda **options: lambda build: SimpleNamespace(bind=lambda: (build, options)),
    )
    ray = ModuleType("ray")
    ray.serve = serve
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setenv("WORLDPM_MODEL", str(small_model(tmp_path / "judge")))
    monkeypatch.setenv("WORLDPM_API_KEY", "k")
    monkeypatch.setenv("WORLDPM_REPLICAS", "3")
    build, options = runpy.run_path(str(EXAMPLE))["app"]
    assert options == {"num_replicas": 3}
    with TestClient(build(), base_url="http://localhost") as http:
        body = {"input": chatml("q", "r"), "use_activation": False}
        assert http.post("/classify", json=body).status_code == 401
        key = {"authorization": "Bearer k"}
        assert http.post("/classify", json=body, headers=key).json()["model"] == "judge"
    assert len(EXAMPLE.read_text().splitlines()) <= 40
