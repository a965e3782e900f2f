"""The description of the API that clients are generated from."""

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.openapi.models import OpenAPI
from pydantic import BaseModel

from pneumonia.bundle import load_bundle
from pneumonia.evaluation.operating_point import OperatingPoint
from pneumonia.images import DEFAULT_LIMITS
from pneumonia.inference.input_check import InputCheck
from pneumonia.inference.prediction import Prediction
from pneumonia.serving.errors import CODE_OF_STATUS, STATUS_OF_IMAGE_ERROR
from pneumonia.serving.schema import InputCheckBody, OperatingPointBody, PredictionBody
from pneumonia.serving.server import ROUTES, ServerOptions, build_server


@pytest.fixture(scope="module")
def openapi(bundle_dir: Path) -> dict[str, Any]:
    server = build_server(load_bundle(bundle_dir), None, ServerOptions(workers=1, limits=DEFAULT_LIMITS))
    document: dict[str, Any] = server.app.openapi()
    return document


def test_it_is_valid_and_served(server: str, openapi: dict[str, Any]) -> None:
    OpenAPI.model_validate(openapi)
    assert httpx.get(f"{server}/openapi.json").json() == json.loads(json.dumps(openapi))


def test_it_lists_the_routes_that_are_counted(openapi: dict[str, Any]) -> None:
    assert set(openapi["paths"]) == ROUTES


def test_every_operation_has_an_id_of_its_own_a_summary_and_a_description(openapi: dict[str, Any]) -> None:
    operations = [operation for path in openapi["paths"].values() for operation in path.values()]
    assert {operation["operationId"] for operation in operations} == {
        "predict",
        "health",
        "live",
        "model_info",
        "model_card",
        "model_validation",
        "metrics",
    }
    assert all(operation["summary"] and operation["description"] for operation in operations)


def test_every_reference_in_it_resolves(openapi: dict[str, Any]) -> None:
    names = {reference.removeprefix("#/components/schemas/") for reference in references(openapi)}
    assert names <= set(openapi["components"]["schemas"])


def test_predict_takes_a_file_and_may_be_asked_for_a_heatmap(openapi: dict[str, Any]) -> None:
    predict = openapi["paths"]["/predict"]["post"]
    form = predict["requestBody"]["content"]["multipart/form-data"]["schema"]
    body = openapi["components"]["schemas"][form["$ref"].rpartition("/")[2]]
    assert body["required"] == ["file"]
    assert body["properties"]["file"]["description"]
    (heatmap,) = predict["parameters"]
    assert (heatmap["name"], heatmap["in"], heatmap["required"]) == ("heatmap", "query", False)
    assert heatmap["schema"]["type"] == "boolean"


@pytest.mark.parametrize("status", [400, 401, 408, 413, 415, 422, 500, 503, 504])
def test_predict_tells_of_each_error(openapi: dict[str, Any], status: int) -> None:
    response = openapi["paths"]["/predict"]["post"]["responses"][str(status)]
    assert response["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/ErrorBody"}
    codes = {
        CODE_OF_STATUS.get(status),
        *(kind.code for kind, its in STATUS_OF_IMAGE_ERROR.items() if its == status),
    }
    assert all(f"`{code}`" in response["description"] for code in codes - {None})


def test_a_prediction_is_described_field_by_field(openapi: dict[str, Any]) -> None:
    response = openapi["paths"]["/predict"]["post"]["responses"]["200"]
    assert response["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/PredictionBody"}
    body = openapi["components"]["schemas"]["PredictionBody"]
    assert set(body["properties"]) - set(body["required"]) == {"heatmap"}


@pytest.mark.parametrize(
    ("body", "kind", "added"),
    [
        (PredictionBody, Prediction, {"request_id"}),
        (InputCheckBody, InputCheck, set()),
        (OperatingPointBody, OperatingPoint, set()),
    ],
)
def test_what_is_described_has_the_fields_of_what_is_answered(
    body: type[BaseModel], kind: type[Any], added: set[str]
) -> None:
    assert set(body.model_fields) == {field.name for field in fields(kind)} | added


def references(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "$ref")
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from references(item)
