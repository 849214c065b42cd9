"""The description against the routes."""

from __future__ import annotations

import jsonschema
import pytest
from starlette.routing import Mount, Route

from offcam_runs.format import DROP_REASONS
from offcamd.web.app import make_app
from offcamd.web.openapi import description
from sources import FixedSource


def test_every_route_is_described_and_every_description_is_a_route():
    routes = make_app(FixedSource(), "127.0.0.1").routes
    assert {route.path for route in routes if isinstance(route, Route)} == set(description()["paths"])
    assert [route.path for route in routes if isinstance(route, Mount)] == ["/static"]
    methods = {route.path: {method.lower() for method in route.methods - {"HEAD"}} for route in routes[:-1]}
    assert methods == {path: set(item) for path, item in description()["paths"].items()}


def test_every_parameter_of_a_path_is_described():
    for path, item in description()["paths"].items():
        for asked in item.values():
            named = {parameter["name"] for parameter in asked["parameters"] if parameter["in"] == "path"}
            assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}, path


def test_every_reference_leads_somewhere():
    document = description()

    def walk(node):
        if isinstance(node, dict):
            if "$ref" in node:
                target = document
                for part in node["$ref"].removeprefix("#/").split("/"):
                    target = target[part]
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)
    assert document["openapi"] == "3.1.0"


def test_the_schemas_are_schemas_and_refuse_what_is_wrong():
    document = description()
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    error = {**document, "$ref": "#/components/schemas/Error"}
    jsonschema.validate({"error": "x"}, error)
    for wrong in ({}, {"error": 1}, {"error": "x", "more": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, error)
    assert set(document["components"]["schemas"]["Clip"]["properties"]["dropped"]["propertyNames"]["enum"]) == set(
        DROP_REASONS
    )


def test_bounds_that_are_described_are_those_that_are_held(client, base):
    for path, item in description()["paths"].items():
        for parameter in item.get("get", {"parameters": []})["parameters"]:
            for key, beyond in (("minimum", -1), ("maximum", 1)):
                if key not in parameter["schema"]:
                    continue
                at = parameter["schema"][key]
                url = path.replace("/api/runs/{id}", base)
                run = base.rpartition("/")[2]
                needed = {"/api/group": {"ids": run}, "/api/statistics": {"group": [f"one:{run}", f"other:{run}"]}}
                more = needed.get(path, {})
                inside = client.get(url, params={**more, parameter["name"]: at})
                assert inside.status_code in (200, 404), (url, parameter["name"], at)
                outside = client.get(url, params={**more, parameter["name"]: at + beyond})
                assert outside.status_code == 400, (url, parameter["name"], at + beyond)
