"""Checks answers against what GitLab publishes about them: its OpenAPI document and its JSON Schemas."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

DATA = Path(__file__).parent.parent / "data" / "gitlab-openapi"
SCHEMAS = DATA / "response-schemas" / "public_api" / "v4"


def check_response(operation: str, status: int, body: object) -> None:
    """Fail unless a body is what the OpenAPI document says e.g. `GET /api/v4/user` answers."""
    method, path = operation.split()
    responses = _document()["paths"][path][method.lower()]["responses"]
    _check(responses[str(status)]["content"]["application/json"]["schema"], body)


def check_schema(name: str, body: object) -> None:
    """Fail unless a body matches a schema of the OpenAPI document."""
    _check({"$ref": f"#/components/schemas/{name}"}, body)


def check_entity(name: str, body: object) -> None:
    """Fail unless a body matches a JSON Schema of GitLab's specs, e.g. `commit/detail.json`."""
    Draft202012Validator({"$ref": f"http://schemas/{name}"}, registry=_registry()).validate(body)


def _check(schema: Mapping[str, Any], body: object) -> None:
    Draft202012Validator(_absolute(schema), registry=_registry()).validate(body)
    _check_keys(schema, body)


@cache
def _document() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((DATA / "gitlab-v4-subset.openapi.yaml").read_text())
    return document


@cache
def _registry() -> Registry[Any]:
    document = DRAFT202012.create_resource(_nullable(_document()))
    return Registry[Any](retrieve=_retrieve).with_resource("openapi:", document)


def _retrieve(uri: str) -> Resource[Any]:
    path = SCHEMAS / uri.removeprefix("http://schemas/")
    return DRAFT202012.create_resource(json.loads(path.read_text()))


def _nullable(value: Any) -> Any:
    """Write OpenAPI 3.0's `nullable` the way JSON Schema does."""
    if isinstance(value, list):
        return [_nullable(item) for item in value]
    if not isinstance(value, dict):
        return value
    converted = {key: _nullable(item) for key, item in value.items() if key != "nullable"}
    if value.get("nullable") is True and isinstance(value.get("type"), str):
        converted["type"] = [value["type"], "null"]
        if "enum" in converted:
            converted["enum"] = [*converted["enum"], None]
    elif value.get("nullable") is True and ("$ref" in value or "allOf" in value):
        converted = {"anyOf": [converted, {"type": "null"}]}
    return converted


def _absolute(schema: Mapping[str, Any]) -> Any:
    """Make the references of a schema point into the document."""
    text = json.dumps(_nullable(dict(schema)))
    return json.loads(text.replace('"#/components', '"openapi:#/components'))


def _check_keys(schema: Mapping[str, Any], body: object) -> None:
    """Fail on keys that the document does not know."""
    if "$ref" in schema:
        schema = _document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if isinstance(body, list):
        for item in body:
            _check_keys(schema.get("items", {}), item)
    elif isinstance(body, dict) and "properties" in schema:
        unknown = body.keys() - schema["properties"].keys()
        assert not unknown, f"GitLab does not send {sorted(unknown)}"
