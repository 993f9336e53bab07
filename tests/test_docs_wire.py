"""The wire as it is written down: the OpenAPI document is made from the code, and each call is in the protocol."""

import ast
import json
import re
import subprocess
import sys
from typing import Any

import pytest
from openapi_spec_validator import validate

from appliance.api.app import ROUTES
from tests.documents import DOCS, ROOT, modules, section


def test_the_openapi_document_is_made_from_the_code() -> None:
    made = subprocess.run(
        [sys.executable, DOCS / "openapi/print_box.py"], cwd=ROOT, capture_output=True, text=True, check=True
    )

    kept = (DOCS / "openapi/box.json").read_text(encoding="utf-8")
    assert made.stdout == kept, "make openapi"


def test_the_openapi_document_is_valid() -> None:
    validate(json.loads((DOCS / "openapi/box.json").read_text(encoding="utf-8")))


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.path}")
def test_every_call_of_the_box_is_in_the_protocol(route: Any) -> None:
    told = section(DOCS / "PROTOCOL.md", "The box on the LAN (default port 8480)")

    assert re.search(rf"`{route.method} {re.escape(route.path)}[`?]", told)


def test_every_call_of_the_cloud_is_in_the_protocol() -> None:
    told = section(DOCS / "PROTOCOL.md", "The cloud (default port 8490)")
    trees = [
        tree
        for path, tree in modules("cloud")
        if path.name in ("api.py", "bundles.py", "est.py", "office.py")
    ]

    calls = [
        (node.func.attr.upper(), node.args[0].value)
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == "web"
        and node.func.attr in ("get", "post", "put")
        and isinstance(node.args[0], ast.Constant)
    ]
    assert len(calls) > 10
    for method, path in calls:
        short = str(path).replace("/v1/catalogue/changes", ".../changes")
        assert re.search(rf"`({method} )?({re.escape(str(path))}|{re.escape(short)})[`?]", told), path
