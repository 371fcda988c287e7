"""docs/guides/serving.md states what the server does."""

import json
import re
from pathlib import Path

from wire import client

from worldpm.serve.app import create_app
from worldpm.serve.settings import ServeSettings

PAGE = (Path(__file__).parents[2] / "docs/guides/serving.md").read_text(encoding="utf-8")


def test_every_limit_is_stated():
    """Every setting stands in the guide's table of limits."""
    table = PAGE[PAGE.index("## Limits") : PAGE.index("Also refused")]
    stated = {name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row[:40])}
    assert stated == set(ServeSettings.model_fields)


def test_every_metric_is_stated():
    """Every metric of the server stands in the guide, and no other."""
    rendered, _ = create_app(lambda c: []).state.server.metrics.render()
    made = set(re.findall(r"^# TYPE (\w+?)(?:_total)? (?:counter|gauge|histogram)$",
                          rendered.decode(), re.MULTILINE))  # fmt: skip
    made -= {name for name in made if name.endswith("_created")}
    stated = {name.removesuffix("_total") for name in re.findall(r"`(worldpm_\w+)`", PAGE)}
    assert stated == {name.removesuffix("_total") for name in made}


def test_every_route_of_ours_is_stated():
    """Our own routes and those that tell of the server stand in the guide."""
    app = create_app(lambda c: [])
    for route in app.routes:
        assert route.path in PAGE


def test_the_example_works():
    """The guide's request gets an answer with the keys that the guide names."""
    body = json.loads(re.search(r"-d '(\{.*?\})'", PAGE)[1])
    with client() as http:
        answer = http.post("/v1/compare", json=body).json()
    assert {"scores", "ranking", "beats"} <= set(answer)
