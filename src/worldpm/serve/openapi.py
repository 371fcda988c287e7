"""The OpenAPI document of the routes: bodies, answers, and the one error shape.

The endpoints take the raw request, since a body is checked by our own reader first; so what they
take and give is written down here, from the same models that read it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from worldpm.serve.errors import ERROR_SCHEMA
from worldpm.serve.route import Route

REFUSALS = {
    "400": "malformed JSON or headers, or traces of a model without",
    "401": "no key or a wrong one",
    "403": "host or origin not allowed", "404": "no such model or route",
    "408": "the body took too long", "413": "too large", "415": "not JSON",
    "422": "not what the route takes, or too long", "429": "too much waits; see Retry-After",
    "431": "headers too large", "500": "failed", "503": "stopping or not ready",
    "504": "the deadline passed",
}  # fmt: skip
REF = "#/components/schemas/{model}"


def describe(
    app: FastAPI, paths: Mapping[tuple[str, str], Sequence[Route]], *, keyed: bool
) -> None:
    """Replace `app.openapi` by one that knows the dialects' bodies and answers."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is not None:
            return app.openapi_schema
        document = plain()
        schemas: dict[str, Any] = {"Error": ERROR_SCHEMA}
        for (method, path), routes in paths.items():
            operation = document["paths"][path][method.lower()]
            asked = [_schema(route.request, "validation", schemas) for route in routes]
            given = [_schema(route.response, "serialization", schemas) for route in routes]
            operation["requestBody"] = {"required": True, "content": _json(_any(asked))}
            operation["responses"] = {
                "200": {"description": "scores", "content": _json(_any(given))}
            }
        for operations in document["paths"].values():
            for operation in operations.values():
                for status, text in REFUSALS.items():
                    answer = {
                        "description": text,
                        "content": _json({"$ref": REF.format(model="Error")}),
                    }
                    operation["responses"][status] = answer
        components = document.setdefault("components", {})
        components["schemas"] = {**components.get("schemas", {}), **schemas}
        if keyed:
            components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{"key": []}]
            document["paths"]["/health"]["get"]["security"] = []
        app.openapi_schema = document
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _schema(kind: Any, mode: JsonSchemaMode, schemas: dict[str, Any]) -> dict[str, Any]:
    found = TypeAdapter(kind).json_schema(mode=mode, ref_template=REF)
    schemas.update(found.pop("$defs", {}))
    if found.get("type") == "object" and "title" in found:
        schemas[found["title"]] = found
        return {"$ref": REF.format(model=found["title"])}
    return found


def _any(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
