"""The OpenAPI 3.1 document, made from the route table and the very types that parse and render."""

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from appliance.runtime.problem import MEDIA_TYPE, Handler, Problem

# To a page in a browser, and to who asks too often.
ALWAYS = (403, 429)
OPEN = ("anybody", "newcomer")
SECURITY = (
    "A till's token, on a connection that shows the certificate it is bound to: both from POST /v1/pair"
)
REF = "#/components/schemas/{name}"


@dataclass(frozen=True, slots=True)
class Route:
    """One call: what it does, who may make it, and the types it takes and gives."""

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    handler: Handler
    access: Literal["anybody", "newcomer", "till", "loopback or till", "console"]
    summary: str
    answers: dict[int, type | str | None]
    problems: tuple[int, ...] = ()
    body: type[msgspec.Struct] | None = None
    query: tuple[str, ...] = ()


def document(routes: Iterable[Route], *, version: str) -> dict[str, Any]:
    """The document for these routes. An answer given as text is a media type without a schema, None an empty one."""
    routes = list(routes)
    types: set[Any] = {Problem}
    for route in routes:
        types.update(answer for answer in route.answers.values() if _has_type(answer))
        types.update({route.body} - {None})
    ordered = sorted(types, key=lambda kind: str(kind.__name__))
    schemas, components = msgspec.json.schema_components(ordered, ref_template=REF)
    for component in components.values():
        # Docstrings keep their indentation before Python 3.13, and lose it from there on.
        component["description"] = inspect.cleandoc(component["description"])
    schema_of = dict(zip(ordered, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "storebox: the box on the LAN", "version": version},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"till": {"type": "http", "scheme": "bearer", "description": SECURITY}},
        },
    }


def _operation(route: Route, schema_of: dict[Any, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, answer in route.answers.items():
        answers[str(status)] = {"description": route.summary}
        if isinstance(answer, str):
            answers[str(status)]["content"] = {answer: {}}
        elif answer is not None:
            answers[str(status)]["content"] = {"application/json": {"schema": schema_of[answer]}}
    refusals = {*route.problems, *ALWAYS, *(() if route.access in OPEN else (401,))}
    for status in sorted(refusals):
        content = {MEDIA_TYPE: {"schema": schema_of[Problem]}}
        answers[str(status)] = {"description": "Refused; `code` says why", "content": content}
    operation: dict[str, Any] = {
        "operationId": route.handler.__name__,
        "summary": route.summary,
        "parameters": [_parameter(name, "path") for name in re.findall(r"\{(\w+)\}", route.path)]
        + [_parameter(name, "query") for name in route.query],
        "responses": answers,
        "security": [] if route.access in OPEN else [{"till": []}],
    }
    if route.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema_of[route.body]}},
        }
    return operation


def _has_type(answer: type | str | None) -> bool:
    return not (answer is None or isinstance(answer, str))


def _parameter(name: str, place: str) -> dict[str, Any]:
    number = name in ("since", "limit")
    schema = {"type": "integer", "minimum": 0} if number else {"type": "string"}
    return {"name": name, "in": place, "required": place == "path", "schema": schema}
