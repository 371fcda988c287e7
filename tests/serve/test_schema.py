"""The published OpenAPI document, asked at random: what it says is what the server does."""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from live import live

from worldpm.serve.app import create_app
from worldpm.serve.dialects import ROUTES
from worldpm.serve.settings import ServeSettings

schemathesis = pytest.importorskip("schemathesis")
from schemathesis import checks  # noqa: E402
from schemathesis.generation import GenerationMode  # noqa: E402
from schemathesis.specs.openapi import checks as openapi_checks  # noqa: E402

CHECKS = [
    checks.not_a_server_error, openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_schema_conformance,
]  # fmt: skip
DOCUMENT = create_app(lambda comparisons: [], ServeSettings(), ROUTES).openapi()
OPERATIONS = [each.ok() for each in schemathesis.openapi.from_dict(DOCUMENT).get_all_operations()]
FEW, MANY = 8, int(os.environ.get("WORLDPM_EXAMPLES", "200"))


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with live(tmp_path_factory.mktemp("live"), refusal_seconds=0) as found:
        yield f"http://127.0.0.1:{found.port}"


def ask(operation, address, number):
    """Half of the examples fit the schema, half do not."""
    modes = [GenerationMode.POSITIVE]
    modes += [GenerationMode.NEGATIVE] if operation.method.upper() == "POST" else []
    seen = []
    for mode in modes:

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(max_examples=max(1, number // len(modes)), database=None, deadline=None,
                  derandomize=True, suppress_health_check=list(HealthCheck))  # fmt: skip
        def every(case):
            answer = case.call(base_url=address)
            case.validate_response(answer, checks=CHECKS)
            seen.append(answer.status_code)

        every()
    return seen


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.label)
def test_a_few_of_every_operation(operation, address):
    """No 5xx, no status, content type or answer that the document does not have."""
    assert ask(operation, address, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda each: each.label)
def test_two_hundred_of_every_operation(operation, address):
    """The same with 200 examples; operations without a body have few that differ."""
    seen = ask(operation, address, MANY)
    assert len(seen) >= MANY * 0.9 or operation.method.upper() == "GET"


def test_the_checks_see_an_answer_that_is_not_in_the_document(address):
    """Against a document that promises another answer the same check fails: it has teeth."""
    document = {**DOCUMENT, "paths": {"/health": {"get": {"responses": {"200": {
        "description": "x", "content": {"application/json": {"schema": {"type": "array"}}},
    }}}}}}  # fmt: skip
    (operation,) = (
        each.ok() for each in schemathesis.openapi.from_dict(document).get_all_operations()
    )
    with pytest.raises(BaseException, match="array"):
        ask(operation, address, 1)
