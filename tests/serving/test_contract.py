"""What a real server answers when all is well, and the id that every answer carries."""

import base64
import io
import json
import re
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from pneumonia.bundle import load_bundle, write_bundle
from pneumonia.images import DEFAULT_LIMITS
from pneumonia.serving.schema import ModelInfoBody, PredictionBody
from pneumonia.serving.server import ServerOptions, build_server

Draw = Callable[..., Image.Image]

GENERATED_ID = re.compile(r"[0-9a-f]{32}")


def encoded(image: Image.Image, name: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=name, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def post(url: str, data: bytes, **options: object) -> httpx.Response:
    return httpx.post(f"{url}/predict", files={"file": ("film", data)}, timeout=60, **options)  # type: ignore[arg-type]


def test_health_is_ok_when_every_worker_can_predict(server: str) -> None:
    response = httpx.get(f"{server}/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_model_info_tells_what_bundle_is_loaded(server: str, bundle_dir: Path) -> None:
    answer = httpx.get(f"{server}/model/info").json()
    described = json.loads(json.dumps(load_bundle(bundle_dir).describe()))
    assert {name: answer[name] for name in described} == described
    assert set(answer) == set(ModelInfoBody.model_fields)
    ModelInfoBody.model_validate(answer, strict=True)
    assert answer["provenance"]["reproducibility"]["reasons"]  # of films that are not those of data.dvc, at least


def test_the_cards_of_the_bundle_are_given_as_markdown(server: str, bundle_dir: Path) -> None:
    answer = httpx.get(f"{server}/model/card").json()
    assert answer == {
        "model_card": (bundle_dir / "MODEL_CARD.md").read_text(encoding="utf-8"),
        "data_card": (bundle_dir / "DATA_CARD.md").read_text(encoding="utf-8"),
    }


def test_the_bundles_answers_for_held_out_films_are_given_without_films_or_patients(
    server: str, bundle_dir: Path
) -> None:
    answer = httpx.get(f"{server}/model/validation").json()
    bundle = load_bundle(bundle_dir)
    held_out = bundle.held_out()
    assert held_out is not None
    assert set(answer) == {"labels", "probabilities", "model"}
    assert answer["labels"] == held_out.labels.tolist()
    assert answer["probabilities"] == pytest.approx(held_out.probabilities, abs=1e-6)
    assert answer["model"] == bundle.label


def test_a_bundle_without_them_is_a_documented_404(bundle_dir: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(bundle_dir, tmp_path / "bundle")
    (directory / "validation.npz").unlink()
    bundle = load_bundle(bundle_dir)
    write_bundle(replace(bundle, directory=directory))
    server = build_server(load_bundle(directory), None, ServerOptions(workers=1, limits=DEFAULT_LIMITS))
    answer = TestClient(server.app, raise_server_exceptions=False).get("/model/validation")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_a_prediction_has_the_fields_and_types_of_the_contract(server: str, film: bytes) -> None:
    response = post(server, film)
    assert response.status_code == 200
    assert set(response.json()) == set(PredictionBody.model_fields) - {"heatmap"}
    answer = PredictionBody.model_validate(response.json(), strict=True)
    info = httpx.get(f"{server}/model/info").json()
    assert answer.prediction == info["classes"][answer.class_index]
    assert (answer.class_index > 0) == (answer.probability >= answer.threshold)
    assert answer.threshold == info["operating_point"]["threshold"]
    assert answer.model == f"{info['name']}:{info['version']}"
    assert answer.request_id == response.headers["x-request-id"]
    assert answer.input_check.passed
    assert answer.abstained == (answer.prediction_set != [answer.prediction])


@pytest.mark.parametrize("size", [(96, 80), (333, 101), (64, 190)])
def test_the_heatmap_is_a_gray_png_of_the_films_own_size(server: str, draw_film: Draw, size: tuple[int, int]) -> None:
    answer = post(server, encoded(draw_film(1, "PNEUMONIA", *size)), params={"heatmap": "true"}).json()
    assert set(answer) == set(PredictionBody.model_fields)
    with Image.open(io.BytesIO(base64.b64decode(answer["heatmap"], validate=True))) as heatmap:
        assert (heatmap.format, heatmap.mode, heatmap.size) == ("PNG", "L", size)


def test_a_turned_films_heatmap_lies_over_the_film_as_it_is_shown(server: str, draw_film: Draw) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    answer = post(server, encoded(draw_film(1, "NORMAL", 120, 80), "JPEG", exif=exif), params={"heatmap": "1"}).json()
    with Image.open(io.BytesIO(base64.b64decode(answer["heatmap"]))) as heatmap:
        assert heatmap.size == (80, 120)


def test_a_blank_film_is_answered_with_the_reason_not_to_use_the_answer(server: str) -> None:
    answer = post(server, encoded(Image.new("L", (200, 200), 128))).json()
    assert answer["abstained"] is True
    assert answer["input_check"]["passed"] is False
    assert answer["input_check"]["reasons"]


@pytest.mark.parametrize("name", ["a", "visit-7.film_2", "A" * 64])
def test_a_clients_request_id_is_given_back(server: str, film: bytes, name: str) -> None:
    response = post(server, film, headers={"X-Request-ID": name})
    assert (response.headers["x-request-id"], response.json()["request_id"]) == (name, name)


def test_a_request_without_an_id_is_given_one_of_its_own(server: str, film: bytes) -> None:
    names = [post(server, film).json()["request_id"] for _ in range(2)]
    assert all(GENERATED_ID.fullmatch(name) for name in names)
    assert names[0] != names[1]


HOSTILE_IDS = {
    "long": b"a" * 65,
    "10 kB": b"a" * 10_000,
    "markup": b"<script>",
    "space": b"two words",
    "newline, escaped": b"a%0d%0aevil: yes",
    "vertical tab": b"a\x0bevil",
    "not ASCII": "Müller".encode(),
    "quote": b'a"b',
    "empty": b"",
}


@pytest.mark.parametrize("value", HOSTILE_IDS.values(), ids=HOSTILE_IDS.keys())
def test_a_hostile_request_id_is_not_given_back(server: str, value: bytes) -> None:
    answer = raw(
        server, b"GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Request-ID: " + value + b"\r\n\r\n"
    )
    assert not value or value not in answer
    assert b"evil" not in answer


@pytest.mark.parametrize("split", [b"a\r\n evil: yes", b"a\nevil: yes", b"a\revil: yes", b"a\0evil"])
def test_a_request_id_over_several_lines_adds_no_header_to_the_answer(server: str, split: bytes) -> None:
    answer = raw(
        server, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Request-ID: " + split + b"\r\n\r\n"
    )
    assert b"evil" not in answer


def raw(url: str, request: bytes) -> bytes:
    address = urlsplit(url)
    with socket.create_connection((address.hostname, address.port), timeout=20) as connection:
        connection.sendall(request)
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
    assert parts
    return b"".join(parts)


@pytest.mark.parametrize("path", ["/health", "/model/info", "/metrics", "/nowhere"])
def test_no_answer_is_kept_or_guessed_at(server: str, path: str) -> None:
    headers = httpx.get(f"{server}{path}").headers
    assert (headers["cache-control"], headers["x-content-type-options"]) == ("no-store", "nosniff")


def test_files_beyond_the_first_are_not_mixed_up_with_it(server: str, film: bytes, draw_film: Draw) -> None:
    alone = post(server, film).json()["probability"]
    many = [("file", ("a", encoded(draw_film(5, "NORMAL")))), ("file", ("b", film))]
    response = httpx.post(f"{server}/predict", files=many, timeout=60)
    assert response.json()["probability"] == pytest.approx(alone, abs=1e-6)
