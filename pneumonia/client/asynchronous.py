"""The client for asyncio: `AsyncClient`, whose methods are those of `Client`."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
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


class AsyncClient:
    """The API at `url`, for one event loop. Arguments and errors are those of `Client`; `sleep` is a coroutine's.

    A call that is cancelled is broken off at once, whether it is under way or waits to be made again.
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
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        **httpx_options: Any,
    ) -> None:
        self._http = httpx.AsyncClient(**connection(url, api_key, timeout, audience), **httpx_options)
        self._address, self._retries, self._sleep = shown_address(url), retries, sleep
        self._limits = Limits(max_bytes=max_bytes)

    async def predict(self, film: bytes | Path, heatmap: bool = False, *, request_id: str | None = None) -> Prediction:
        """As `Client.predict`."""
        data = await asyncio.to_thread(read_bytes, film, self._limits)
        return await self._ask(predict_call(data, heatmap, request_id))

    async def predict_many(
        self, films: Iterable[bytes | Path], heatmap: bool = False, *, concurrency: int = 8
    ) -> AsyncGenerator[Answer, None]:
        """As `Client.predict_many`; what is under way when the generator is closed is broken off."""
        if concurrency < 1:
            raise ValueError("concurrency is 1 or more")
        turn, left = asyncio.Semaphore(concurrency), iter(films)

        def start(film: bytes | Path) -> asyncio.Task[Answer]:
            return asyncio.create_task(self._answer(film, heatmap, turn))

        under_way: deque[asyncio.Task[Answer]] = deque()
        try:
            # As many again wait for their turn, so that one slow film does not hold the others up.
            under_way.extend(map(start, islice(left, 2 * concurrency)))
            while under_way:
                answer = await under_way[0]
                under_way.popleft()
                under_way.extend(map(start, islice(left, 1)))
                yield answer
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def model_info(self) -> dict[str, Any]:
        """As `Client.model_info`."""
        return await self._ask(model_info_call())

    async def model_card(self) -> Cards:
        """As `Client.model_card`."""
        return await self._ask(model_card_call())

    async def validation(self) -> Validation:
        """As `Client.validation`."""
        return await self._ask(validation_call())

    async def metrics(self) -> str:
        """As `Client.metrics`."""
        return await self._ask(metrics_call())

    async def health(self) -> Health:
        """As `Client.health`."""
        return await self._ask(health_call())

    async def close(self) -> None:
        """Close what is open."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _answer(self, film: bytes | Path, heatmap: bool, turn: asyncio.Semaphore) -> Answer:
        async with turn:
            try:
                return await self.predict(film, heatmap)
            except (ImageError, ApiError) as error:
                return error

    async def _ask(self, call: Call[_Value]) -> _Value:
        attempts = Attempts(self._retries)
        while True:
            try:
                return call.read(await self._send(call))
            except ApiError as error:
                seconds = attempts.pause(error)
            await self._sleep(seconds)

    async def _send(self, call: Call[Any]) -> httpx.Response:
        try:
            return await self._http.request(call.method, call.path, **call.options())
        except httpx.HTTPError as error:
            raise lost(error, self._address, call.request_id) from error
