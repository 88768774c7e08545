"""The service's own description as one page of HTML that needs nothing from elsewhere."""

from __future__ import annotations

import html
import json
from typing import Any

STYLE = """body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#1c2430}
code,pre{font-family:ui-monospace,monospace;font-size:.9em}pre{background:#f3f5f8;padding:.7rem;overflow-x:auto}
h2{margin-top:2.5rem;border-top:1px solid #d5dae2;padding-top:1rem}table{border-collapse:collapse;width:100%}
td,th{text-align:left;vertical-align:top;padding:.2rem .8rem .2rem 0;border-bottom:1px solid #e6e9ee}
@media(prefers-color-scheme:dark){body{background:#14181f;color:#e4e8ee}pre{background:#1e242e}}"""

MOST_SAID = 1e12  # a bound beyond this is that of the machine


def page_of(openapi: dict[str, Any]) -> str:
    """Every path with what it takes and what it answers, read from the OpenAPI document."""
    schemas = openapi.get("components", {}).get("schemas", {})
    paths = [
        _operation(method.upper(), path, about, schemas)
        for path, methods in openapi["paths"].items()
        for method, about in methods.items()
    ]
    name = html.escape(openapi["info"]["title"])
    said = html.escape(openapi["info"].get("description", ""))
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{name}: what can be asked</title><style>{STYLE}</style><h1>{name}</h1><p>{said}</p>"
        f'<p>The same for programs: <a href="openapi.json">openapi.json</a>. '
        f'Errors are <code>{{"error": "a sentence"}}</code>.</p>' + "".join(paths) + "</html>"
    )


def _operation(method: str, path: str, about: dict[str, Any], schemas: dict[str, Any]) -> str:
    given = [(one["name"], one["schema"], one.get("required", False)) for one in about.get("parameters", [])]
    body = _named(about.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {}), schemas)
    given += [(name, schema, name in body.get("required", ())) for name, schema in body.get("properties", {}).items()]
    kinds = [(name, _kind(schema) + ("" if needed else _otherwise(schema))) for name, schema, needed in given]
    rows = "".join(f"<tr><td><code>{html.escape(name)}</code></td><td>{html.escape(kind)}</td></tr>" for name, kind in kinds)
    answer = about["responses"]["200"]["content"]["application/json"]["schema"]
    example = html.escape(json.dumps(_example(answer, schemas), indent=1))
    takes = f"<table><tr><th>takes</th><th></th></tr>{rows}</table>" if rows else ""
    said = html.escape(about.get("description", ""))
    return f"<h2><code>{method} {html.escape(path)}</code></h2><p>{said}</p>{takes}<p>answers</p><pre>{example}</pre>"


def _otherwise(schema: dict[str, Any]) -> str:
    """What stands where nothing is said."""
    default = schema.get("default")
    return "; may be left out" if default in (None, "") else f"; {json.dumps(default)} where left out"


def _named(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """What a reference points to; anything else as it is."""
    return schemas.get(schema["$ref"].rpartition("/")[2], {}) if "$ref" in schema else schema


def _kind(schema: dict[str, Any]) -> str:
    """A type with its bounds, in words."""
    if "anyOf" in schema:
        kinds = " or ".join(_kind(one) for one in schema["anyOf"] if one.get("type") != "null")
    elif "enum" in schema or "const" in schema:
        kinds = " or ".join(json.dumps(value) for value in schema.get("enum", [schema.get("const")]))
    elif schema.get("type") == "array":
        kinds = f"list{_bounds(schema, 'Items')}, each {_kind(schema['items'])}"
    else:
        named = {"string": f"text{_bounds(schema, 'Length')}", "integer": f"whole number{_bounds(schema, 'imum')}"}
        named |= {"object": f"object{_bounds(schema, 'Properties')}", "boolean": "true or false"}
        kinds = named.get(schema.get("type", ""), schema.get("type", "anything"))
    return f"{kinds}: {schema['description']}" if "description" in schema else kinds


def _bounds(schema: dict[str, Any], what: str) -> str:
    low, high = schema.get(f"min{what}"), schema.get(f"max{what}")
    if high is None or high > MOST_SAID:
        return ""
    return f" of at most {high:,.0f}" if low is None else f" of {low:,.0f} to {high:,.0f}"


def _example(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """The shape of an answer, with the names of types for values."""
    schema = _named(schema, schemas)
    if "properties" in schema:
        return {name: _example(one, schemas) for name, one in schema["properties"].items()}
    if "anyOf" in schema:
        return " or ".join(str(_example(one, schemas)) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return [_example(schema["items"], schemas)]
    return " or ".join(schema["enum"]) if "enum" in schema else schema.get("type", "anything")
