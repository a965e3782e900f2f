"""Both clients behind one face, so that a test holds for either."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from pneumonia.client import AsyncClient, Client


@dataclass
class Face:
    """Calls one method of a new client, and says how long it would have slept."""

    asynchronous: bool
    slept: list[float] = field(default_factory=list)

    def __call__(
        self, url: str, method: str, *arguments: Any, client: dict[str, Any] | None = None, **named: Any
    ) -> Any:
        if self.asynchronous:
            return asyncio.run(self._later(url, method, arguments, client or {}, named))
        with Client(url, sleep=self.slept.append, **(client or {})) as made:
            value = getattr(made, method)(*arguments, **named)
            return list(value) if method == "predict_many" else value

    async def _later(
        self, url: str, method: str, arguments: tuple[Any, ...], client: dict[str, Any], named: dict[str, Any]
    ) -> Any:
        async def sleep(seconds: float) -> None:
            self.slept.append(seconds)

        async with AsyncClient(url, sleep=sleep, **client) as made:
            value = getattr(made, method)(*arguments, **named)
            return [item async for item in value] if method == "predict_many" else await value


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Face:
    """Either client: `ask(url, "predict", film)`."""
    return Face(request.param == "async")
