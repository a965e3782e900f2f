"""Where the time of a request goes: each stage alone, and what the processes of a server under load take.

Stages are timed in this process, one film at a time on one thread, with the functions that the server calls; those that
run on batches also on one as large as a worker finds under load. A real server then says how much CPU time each of its
processes takes for a request, and by its own metrics how long requests, decoding and the engine took.
"""

import asyncio
import os
import pickle
import re
import statistics
import time
import urllib.request
from collections.abc import AsyncGenerator, Callable, Sequence
from pathlib import Path
from typing import Any

import httptools
import numpy as np
from PIL import Image
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartParser
from starlette.responses import JSONResponse

from benchmarks.load_generator import multipart, run_load
from benchmarks.server_process import RunningServer, pneumonia_serve, serve
from pneumonia.bundle import load_bundle
from pneumonia.evaluation.operating_point import decide
from pneumonia.images import DEFAULT_LIMITS, Radiograph
from pneumonia.inference.input_check import check_inputs
from pneumonia.inference.predictor import Predictor
from pneumonia.polyglots import refuse_polyglot
from pneumonia.raster import decode_raster, raster_size

_REPEATS = 5
_CHUNK = 2**16  # bytes that an event loop hands on at a time
_HISTOGRAM = re.compile(r"^pneumonia_(\w+?)_(sum|count)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
_PREDICT_ROUTE = re.compile(r'^pneumonia_request_seconds_(sum|count)\{route="/predict"\} (\S+)$', re.MULTILINE)


def profile(bundle: Path, films: dict[str, Sequence[bytes]], clients: int, seconds: float) -> dict[str, Any]:
    """Of each kind of films: milliseconds of each stage, and of a server with one client and with many."""
    predictor = Predictor(load_bundle(bundle), threads=1)
    batch = max(1, clients // len(os.sched_getaffinity(0)))
    stages = {kind: _stages(predictor, each, batch) for kind, each in films.items()}
    with serve(pneumonia_serve(bundle)) as server:
        loads = {
            kind: {str(count): _under_load(server, each, count, seconds) for count in (1, clients)}
            for kind, each in films.items()
        }
    return {"bundle": predictor.bundle.label, "batch": batch, "stages_ms": stages, "server": loads}


def _stages(predictor: Predictor, films: Sequence[bytes], batch: int) -> dict[str, float]:
    size, limits = predictor.bundle.input_size, DEFAULT_LIMITS
    requests = [multipart(film) for film in films]
    grays = [decode_raster(film, limits, size)[0] for film in films]
    radiographs = [predictor.read(film) for film in films]
    batches = [[radiographs[(start + k) % len(films)] for k in range(batch)] for start in range(0, len(films), batch)]
    singles = [[radiograph] for radiograph in radiographs]
    predictions = [predictor.predict(single)[0] for single in singles]
    answers = [JSONResponse({**each.to_dict(), "request_id": "0" * 32}) for each in predictions]
    engine, whole = (_of_engine(predictor), predictor.predict)
    check = _of_check(predictor, [*singles, *batches])
    logits = [predictor.engine.run(radiograph.pixels[None]).logits for radiograph in radiographs]
    header = _time(lambda film: raster_size(film, limits), films)
    hidden = _time(refuse_polyglot, films)
    decoded = _time(lambda film: decode_raster(film, limits, size), films)
    return {
        "HTTP": _time(_parse_http, requests),
        "form": _time(lambda request: asyncio.run(_parse_form(request)), requests),
        "pickled for the worker, and back": _time(_pickled, films) + _time(_pickled, answers),
        "header": header - hidden,
        "hidden content": hidden,
        "pixels": decoded - header,
        "resize": _time(lambda gray: _resize(gray, size), grays),
        "engine": _time(engine, singles),
        "engine, a film of a batch": _time(engine, batches) / batch,
        "input check": _time(check, singles),
        "input check, a film of a batch": _time(check, batches) / batch,
        "decision": _time(lambda each: decide(each, predictor.bundle.operating_point), logits),
        "all of predict": _time(whole, singles),
        "all of predict, a film of a batch": _time(whole, batches) / batch,
        "JSON": _time(lambda each: JSONResponse({**each.to_dict(), "request_id": "0" * 32}), predictions),
    }


def _time(step: Callable[[Any], object], items: Sequence[Any]) -> float:
    """Milliseconds an item: the mean over the items, the median over the repeats, after a warm-up."""
    for item in items:
        step(item)
    rounds = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        for item in items:
            step(item)
        rounds.append(1000 * (time.perf_counter() - began) / len(items))
    return statistics.median(rounds)


def _of_engine(predictor: Predictor) -> Callable[[list[Radiograph]], object]:
    return lambda batch: predictor.engine.run(np.stack([radiograph.pixels for radiograph in batch]))


def _of_check(predictor: Predictor, batches: Sequence[list[Radiograph]]) -> Callable[[list[Radiograph]], object]:
    embeddings = {
        id(batch): predictor.engine.run(np.stack([radiograph.pixels for radiograph in batch])).embedding
        for batch in batches
    }
    return lambda batch: check_inputs(batch, embeddings[id(batch)], predictor.typicality)


def _pickled(item: object) -> object:
    return pickle.loads(pickle.dumps(item))  # noqa: S301 (our own)


def _resize(gray: Image.Image, size: int) -> object:
    return np.array(gray.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3.0), dtype=np.uint8)


class _Head:
    """What httptools tells of a request."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.pieces: list[bytes] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.pieces.append(body)


def _parse_http(request: bytes) -> _Head:
    head = _Head()
    parser = httptools.HttpRequestParser(head)
    for start in range(0, len(request), _CHUNK):
        parser.feed_data(request[start : start + _CHUNK])
    return head


async def _parse_form(request: bytes) -> None:
    head, _, body = request.partition(b"\r\n\r\n")
    kind = re.search(rb"Content-Type: ([^\r]+)", head)
    assert kind is not None

    async def stream() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(body), _CHUNK):
            yield body[start : start + _CHUNK]

    form = await MultiPartParser(Headers({"content-type": kind[1].decode()}), stream()).parse()
    file = form["file"]
    assert not isinstance(file, str)
    await file.read()


def _under_load(server: RunningServer, films: Sequence[bytes], clients: int, seconds: float) -> dict[str, Any]:
    requests = [multipart(film) for film in films]
    run_load(server.port, requests, clients, seconds=1.0)
    cpu, said = server.cpu_by_role(), _metrics(server.port)
    load = run_load(server.port, requests, clients, seconds=seconds)
    answered = len(load.latencies)
    since = {name: value - said.get(name, 0.0) for name, value in _metrics(server.port).items()}
    taken = {role: 1000 * (value - cpu.get(role, 0.0)) / answered for role, value in server.cpu_by_role().items()}
    return {
        "rate": load.rate,
        "latency_ms": 1000 * statistics.fmean(load.latencies),
        "cpu_ms": {**taken, "clients": 1000 * load.cpu / answered},
        "inside_ms": 1000 * since["predict_seconds_sum"] / since["predict_seconds_count"],
        "decode_ms": 1000 * since["decode_seconds_sum"] / since["decode_seconds_count"],
        "inference_ms": 1000 * since["inference_seconds_sum"] / since["inference_seconds_count"],
        "batch": since["batch_size_sum"] / since["batch_size_count"],
    }


def _metrics(port: int) -> dict[str, float]:
    """The sums and counts of `/metrics`."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    found = {f"{name}_{kind}": float(value) for name, kind, value in _HISTOGRAM.findall(text)}
    return found | {f"predict_seconds_{kind}": float(value) for kind, value in _PREDICT_ROUTE.findall(text)}
