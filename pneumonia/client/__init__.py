"""A client of the HTTP API, sync and async, that tries again when that can help.

>>> from pathlib import Path
>>> from pneumonia.client import Client
>>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
...     print(client.predict(Path("film.jpeg")).prediction)
PNEUMONIA
"""

from pneumonia.errors import MissingLibraryError

try:
    import httpx as _httpx  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingLibraryError(
        f"`pneumonia.client` needs {error.name}, which is not installed: pip install 'pneumonia[client]'"
    ) from error

from pneumonia.client.asynchronous import AsyncClient
from pneumonia.client.descriptions import Cards, Validation
from pneumonia.client.retries import DEFAULT_RETRIES, Retries
from pneumonia.client.synchronous import Client
from pneumonia.inference.prediction import Answer

__all__ = ["DEFAULT_RETRIES", "Answer", "AsyncClient", "Cards", "Client", "Retries", "Validation"]
