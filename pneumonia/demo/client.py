"""The HTTP calls that the page makes: each answers a value, or the problem in plain words; none raises."""

from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from pneumonia.client import Client
from pneumonia.client.calls import DEFAULT_TIMEOUT
from pneumonia.client.retries import NO_RETRIES
from pneumonia.demo import problems
from pneumonia.demo.problems import Problem
from pneumonia.errors import ApiError, ImageError
from pneumonia.inference.prediction import Prediction

_Value = TypeVar("_Value")


class ApiClient:
    """The API at `url`, with at most `timeout` seconds of silence for an answer. One client serves many threads.

    `api_key` is sent to this server only. Raises `ConfigError` for a key that can't be sent.
    """

    def __init__(self, url: str, api_key: str | None = None, timeout: float = DEFAULT_TIMEOUT) -> None:
        self._with_key = api_key is not None
        self._client = Client(
            url,
            api_key,
            timeout=timeout,
            # The visitor sees what is wrong at once, and decides whether to try again.
            retries=NO_RETRIES,
            # A connection that is kept would be found dead after the API has restarted.
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def model_info(self) -> dict[str, Any] | Problem:
        """What `GET /model/info` says of the model, once the server is ready to predict."""
        health = self._or_problem(self._client.health)
        if isinstance(health, Problem):
            return health
        return problems.STARTING if health == "starting" else self._or_problem(self._client.model_info)

    def predict(self, film: bytes) -> Prediction | Problem:
        """The prediction for the bytes of a file, with its heatmap as PNG bytes. The file's name is not sent."""
        return self._or_problem(lambda: self._client.predict(film, heatmap=True))

    def close(self) -> None:
        """Close what is open."""
        self._client.close()

    def _or_problem(self, ask: Callable[[], _Value]) -> _Value | Problem:
        try:
            return ask()
        except ImageError as error:
            return problems.of_image(error)
        except ApiError as error:
            return problems.of_api(error, self._with_key)
