"""The client for threads: `Client`. What it shares with the async one is in calls, answers and retries."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx

from pneumonia.client.answers import Health, lost
from pneumonia.client.calls import (
    DEFAULT_TIMEOUT,
    Call,
    connection,
    health_call,
    metrics_call,
    model_card_call,
    model_info_call,
    predict_call,
    shown_address,
    validation_call,
)
from pneumonia.client.descriptions import Cards, Validation
from pneumonia.client.retries import DEFAULT_RETRIES, Attempts, Retries
from pneumonia.errors import ApiError, ImageError
from pneumonia.images import DEFAULT_LIMITS, Limits, read_bytes
from pneumonia.inference.prediction import Answer, Prediction

_Value = TypeVar("_Value")


class Client:
    """The API at `url`. One client serves many threads; use it as a context manager, or `close` it.

    Args:
        url: of the server, or of a path under which it is; a user and password in it are sent as such.
        api_key: sent as X-API-Key, to this server only.
        timeout: seconds of silence after which an attempt is given up.
        retries: how often and how long a call that can succeed later is made again.
        max_bytes: of a file that is sent. The server has its own limits.
        audience: sends the identity token that Google Cloud's metadata server gives for it. Without, a service at
            https://*.run.app gets the token for its address where there is one.
        sleep: waits for some seconds; for tests.
        httpx_options: further ones of `httpx.Client`, such as `verify` or `proxy`.

    Every method raises `ApiError` when the server refuses or does not answer. Raises `ConfigError` for a URL or key
    that can't be used.
    """

    def __init__(
        self,
        url: str,
        api_key: str | None = None,
        *,
        timeout: float = DEFAULT_TIMEOUT,
        retries: Retries = DEFAULT_RETRIES,
        max_bytes: int = DEFAULT_LIMITS.max_bytes,
        audience: str | None = None,
        sleep: Callable[[float], object] | None = None,
        **httpx_options: Any,
    ) -> None:
        self._http = httpx.Client(**connection(url, api_key, timeout, audience), **httpx_options)
        self._address, self._retries, self._sleep = shown_address(url), retries, sleep
        self._limits = Limits(max_bytes=max_bytes)

    def predict(self, film: bytes | Path, heatmap: bool = False, *, request_id: str | None = None) -> Prediction:
        """The prediction for a film's bytes or file, with a heatmap as PNG bytes of the film's own size on demand.

        `request_id` is what the server's log will know the request by; without, it is a random one.

        Raises the `ImageError` that decoding the film here would raise, and `ApiError`.
        """
        return self._predict(film, heatmap, request_id, threading.Event())

    def predict_many(
        self, films: Iterable[bytes | Path], heatmap: bool = False, *, concurrency: int = 8
    ) -> Iterator[Answer]:
        """Answers in the order of the films, an `ImageError` or `ApiError` in the place of a film that has none.

        `concurrency` requests are under way at once. Films are taken from `films` as they are needed, and files are
        read when they are sent. What is under way when the iterator is closed is not tried again.
        """
        if concurrency < 1:
            raise ValueError("concurrency is 1 or more")
        stop, left = threading.Event(), iter(films)
        pool = ThreadPoolExecutor(concurrency, thread_name_prefix="pneumonia-client")

        def start(film: bytes | Path) -> Future[Answer]:
            return pool.submit(self._answer, film, heatmap, stop)

        try:
            # As many again wait for their turn, so that one slow film does not hold the others up.
            under_way = deque(map(start, islice(left, 2 * concurrency)))
            while under_way:
                answer = under_way.popleft().result()
                under_way.extend(map(start, islice(left, 1)))
                yield answer
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)

    def model_info(self) -> dict[str, Any]:
        """What `GET /model/info` says of the model: name, version, classes, operating point, metrics, provenance."""
        return self._ask(model_info_call(), threading.Event())

    def model_card(self) -> Cards:
        """What `GET /model/card` says: the model card and the data card, as Markdown."""
        return self._ask(model_card_call(), threading.Event())

    def validation(self) -> Validation:
        """What the bundle answered for films of patients held out of its training, from `GET /model/validation`."""
        return self._ask(validation_call(), threading.Event())

    def metrics(self) -> str:
        """What `GET /metrics` says, as Prometheus text."""
        return self._ask(metrics_call(), threading.Event())

    def health(self) -> Health:
        """`ok` once every worker of the server can predict, `starting` before."""
        return self._ask(health_call(), threading.Event())

    def close(self) -> None:
        """Close what is open."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _answer(self, film: bytes | Path, heatmap: bool, stop: threading.Event) -> Answer:
        try:
            return self._predict(film, heatmap, None, stop)
        except (ImageError, ApiError) as error:
            return error

    def _predict(self, film: bytes | Path, heatmap: bool, request_id: str | None, stop: threading.Event) -> Prediction:
        return self._ask(predict_call(read_bytes(film, self._limits), heatmap, request_id), stop)

    def _ask(self, call: Call[_Value], stop: threading.Event) -> _Value:
        attempts = Attempts(self._retries)
        while True:
            try:
                return call.read(self._send(call))
            except ApiError as error:
                seconds, last = attempts.pause(error), error
            (self._sleep or stop.wait)(seconds)
            if stop.is_set():
                raise last

    def _send(self, call: Call[Any]) -> httpx.Response:
        try:
            return self._http.request(call.method, call.path, **call.options())
        except httpx.HTTPError as error:
            raise lost(error, self._address, call.request_id) from error
