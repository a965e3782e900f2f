"""`pneumonia classify --url`: the predictions of a server. Nothing is decoded and no bundle is loaded here."""

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import aclosing
from pathlib import Path

from pneumonia.client import Answer, AsyncClient
from pneumonia.client.answers import UNEXPECTED_ANSWER
from pneumonia.errors import ApiError, ConfigError
from pneumonia.inference.command import API_KEY_VARIABLE

# What is wrong with one film's request, and nothing to stop for: the next one can succeed.
_OF_ONE_FILM = frozenset({400, 413, 422, 500})
_LONGEST_KEY = 4096


def api_key(file: Path | None) -> str | None:
    """The key in the file, else in `PNEUMONIA_API_KEY`, else None. Raises `ConfigError` for a file without one."""
    if file is None:
        return os.environ.get(API_KEY_VARIABLE, "").strip() or None
    try:
        with file.open(encoding="utf-8") as content:
            key = content.read(_LONGEST_KEY).strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"The key can't be read from {file}; check its path, rights and content.") from error
    if not key:
        raise ConfigError(f"There is no key in {file}.")
    return key


def classify_remotely(
    url: str,
    key: str | None,
    paths: Sequence[Path],
    heatmaps: bool,
    show: Callable[[Answer], None],
    audience: str | None = None,
) -> None:
    """`show` the answer for each path, in their order; `audience` is that of `Client`.

    Raises `ApiError` when the server can't be reached, is too busy, or is another than the API, and `ConfigError` when
    it refuses the key: the films that are left would fare no better.
    """
    asyncio.run(_classify(AsyncClient(url, key, audience=audience), key, paths, heatmaps, show))


async def _classify(
    connected: AsyncClient, key: str | None, paths: Sequence[Path], heatmaps: bool, show: Callable[[Answer], None]
) -> None:
    async with connected as client, aclosing(client.predict_many(paths, heatmaps)) as answers:
        async for answer in answers:
            if isinstance(answer, ApiError):
                _stop_unless_of_one_film(answer, key)
            show(answer)


def _stop_unless_of_one_film(error: ApiError, key: str | None) -> None:
    if error.status in (401, 403):
        refused = "asks for a key" if key is None else "refuses the key"
        raise ConfigError(f"The server {refused}: give its key by --api-key-file or {API_KEY_VARIABLE}.") from error
    if error.status not in _OF_ONE_FILM or (error.code == UNEXPECTED_ANSWER and error.status != 413):
        raise error
