"""The HTTP calls that the page makes: each answers a value, or the problem in plain words; none raises."""

import base64
import binascii
from typing import Any

import httpx

from pneumonia.demo import problems
from pneumonia.demo.problems import Problem
from pneumonia.inference.input_check import InputCheck
from pneumonia.inference.prediction import Prediction

# The server gives a request up after 30 s; this is a little more, so that its own word is heard.
_SECONDS = 35.0
_SECONDS_TO_CONNECT = 3.0


class ApiClient:
    """The API at `url`, with at most `timeout` seconds of silence for an answer. One client serves many threads."""

    def __init__(self, url: str, timeout: float = _SECONDS) -> None:
        self._http = httpx.Client(
            base_url=url,
            timeout=httpx.Timeout(timeout, connect=min(timeout, _SECONDS_TO_CONNECT)),
            # A connection that is kept would be found dead after the API has restarted.
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def model_info(self) -> dict[str, Any] | Problem:
        """What `GET /model/info` says of the model, once the server is ready to predict."""
        health = self._call("GET", "/health")
        return health if isinstance(health, Problem) else self._call("GET", "/model/info")

    def predict(self, film: bytes) -> Prediction | Problem:
        """The prediction for the bytes of a file, with its heatmap as PNG bytes. The file's name is not sent."""
        answer = self._call("POST", "/predict", params={"heatmap": "true"}, files={"file": ("film", film)})
        return answer if isinstance(answer, Problem) else _prediction(answer)

    def close(self) -> None:
        """Close what is open."""
        self._http.close()

    def _call(self, method: str, path: str, **options: Any) -> dict[str, Any] | Problem:
        try:
            response = self._http.request(method, path, **options)
        except (httpx.ConnectError, httpx.ConnectTimeout):
            return problems.DOWN
        except httpx.TimeoutException:
            return problems.SLOW
        except httpx.TransportError:
            return problems.INTERRUPTED
        except httpx.HTTPError:
            return problems.STRANGER
        content = _content(response)
        if response.status_code == 200:
            return problems.STRANGER if content is None else content
        if response.status_code == 503 and content == {"status": "starting"}:
            return problems.STARTING
        return _problem(response, content or {})


def _content(response: httpx.Response) -> dict[str, Any] | None:
    try:
        content = response.json()
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _problem(response: httpx.Response, content: dict[str, Any]) -> Problem:
    error = content.get("error")
    error = error if isinstance(error, dict) else {}
    return problems.of_status(
        response.status_code,
        str(error.get("code", "")),
        str(error.get("message", "")),
        str(content.get("request_id", "")),
        response.headers.get("retry-after", ""),
    )


def _prediction(answer: dict[str, Any]) -> Prediction | Problem:
    try:
        checked = answer["input_check"]
        return Prediction(
            prediction=str(answer["prediction"]),
            class_index=int(answer["class_index"]),
            probability=float(answer["probability"]),
            threshold=float(answer["threshold"]),
            probabilities={str(name): float(value) for name, value in answer["probabilities"].items()},
            prediction_set=[str(name) for name in answer["prediction_set"]],
            coverage=float(answer["coverage"]),
            abstained=bool(answer["abstained"]),
            input_check=InputCheck(
                bool(checked["passed"]), [str(reason) for reason in checked["reasons"]], float(checked["score"])
            ),
            model=str(answer["model"]),
            heatmap=base64.b64decode(answer["heatmap"], validate=True) if answer.get("heatmap") else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError, binascii.Error):
        return problems.STRANGER
