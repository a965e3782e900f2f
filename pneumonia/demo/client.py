"""The HTTP calls that the page makes: each answers a value, or the problem in plain words; none raises."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import httpx

from pneumonia.client import Cards, Client, Retries, Validation
from pneumonia.client.calls import DEFAULT_TIMEOUT
from pneumonia.client.retries import NO_RETRIES
from pneumonia.demo import problems
from pneumonia.demo.problems import Problem
from pneumonia.demo.traffic import Traffic, read_traffic
from pneumonia.errors import ApiError, ConfigError, ImageError
from pneumonia.inference.prediction import Prediction

_Value = TypeVar("_Value")

# Of one visitor's many films, under way at a time: the server has room for others.
_FILMS_AT_A_TIME = 4
# Many films can wait for their turn where one visitor would not.
_PATIENT = Retries(times=4, total=20.0)


class ApiClient:
    """The API at `url`, with at most `timeout` seconds of silence for an answer. One client serves many threads.

    `api_key` is sent to this server only; `audience` is that of `Client`. Raises `ConfigError` for a key or an audience
    that can't be sent.
    """

    def __init__(
        self, url: str, api_key: str | None = None, timeout: float = DEFAULT_TIMEOUT, audience: str | None = None
    ) -> None:
        self._with_key = api_key is not None
        # A connection that is kept would be found dead after the API has restarted.
        kept: dict[str, Any] = {
            "timeout": timeout,
            "audience": audience,
            "limits": httpx.Limits(max_keepalive_connections=0),
        }
        # The visitor sees what is wrong at once, and decides whether to try again.
        self._client = Client(url, api_key, retries=NO_RETRIES, **kept)
        self._patient = Client(url, api_key, retries=_PATIENT, timeout=timeout, audience=audience)
        self._url, self._kept = url, kept

    def model_info(self) -> dict[str, Any] | Problem:
        """What `GET /model/info` says of the model, once the server is ready to predict."""
        health = self._or_problem(self._client.health)
        if isinstance(health, Problem):
            return health
        return problems.STARTING if health == "starting" else self._or_problem(self._client.model_info)

    def predict(self, film: bytes) -> Prediction | Problem:
        """The prediction for the bytes of a file, with its heatmap as PNG bytes. The file's name is not sent."""
        return self._or_problem(lambda: self._client.predict(film, heatmap=True))

    def predict_many(self, films: Iterable[bytes]) -> Iterator[Prediction | Problem]:
        """As `predict`, in the order of the films and without heatmaps; they are taken as they are needed."""
        for answer in self._patient.predict_many(films, concurrency=_FILMS_AT_A_TIME):
            yield answer if isinstance(answer, Prediction) else _problem_of(answer, self._with_key)

    def cards(self) -> Cards | Problem:
        """The model card and the data card."""
        return self._or_problem(self._client.model_card)

    def validation(self) -> Validation | Problem:
        """What the model answered for films held out of its training."""
        try:
            return self._client.validation()
        except ApiError as error:
            return problems.NO_VALIDATION if error.status == 404 else problems.of_api(error, self._with_key)

    def traffic(self, visitors_key: str | None) -> Traffic | Problem:
        """What the server counts. It is asked with the visitor's own key, if any, never with the page's."""
        try:
            with Client(self._url, visitors_key, retries=NO_RETRIES, **self._kept) as client:
                return read_traffic(client.metrics())
        except ApiError as error:
            return problems.of_api(error, visitors_key is not None)
        except ConfigError:  # the key is none that could be sent
            return problems.WRONG_KEY
        except ValueError:
            return problems.STRANGER

    def close(self) -> None:
        """Close what is open."""
        self._client.close()
        self._patient.close()

    def _or_problem(self, ask: Callable[[], _Value]) -> _Value | Problem:
        try:
            return ask()
        except (ImageError, ApiError) as error:
            return _problem_of(error, self._with_key)


def _problem_of(error: ImageError | ApiError, with_key: bool) -> Problem:
    return problems.of_image(error) if isinstance(error, ImageError) else problems.of_api(error, with_key)
