"""The LitAPI: five verbs from an upload to an answer. It runs in the server's worker processes, without torch."""

import base64
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import litserve as ls
from starlette.responses import JSONResponse

from pneumonia.bundle import load_bundle
from pneumonia.errors import ImageError
from pneumonia.images import Limits, Radiograph
from pneumonia.inference.engines.registry import AUTO
from pneumonia.inference.prediction import Prediction
from pneumonia.inference.predictor import Predictor
from pneumonia.serving.errors import error_body, image_error_status
from pneumonia.serving.loop import AdaptiveBatchLoop


@dataclass(frozen=True)
class Upload:
    """One request as it travels to a worker. Its bytes are kept out of `repr`, and so out of any log."""

    data: bytes = field(repr=False)
    heatmap: bool
    request_id: str


@dataclass(frozen=True)
class Decoded:
    """An upload and its radiograph, or why there is none."""

    upload: Upload
    radiograph: Radiograph | ImageError


@dataclass(frozen=True)
class Answered:
    """An upload and what is said of it."""

    upload: Upload
    answer: Prediction | ImageError


class RadiographAPI(ls.LitAPI):
    """Predictions of a bundle.

    Args:
        bundle: its directory.
        limits: on uploads.
        max_batch_size: radiographs in one run of the engine, at most.
        engine: its name.
    """

    def __init__(self, bundle: Path, limits: Limits, max_batch_size: int = 16, engine: str = AUTO) -> None:
        super().__init__(max_batch_size=max_batch_size, loop=AdaptiveBatchLoop())
        self.bundle_directory, self.limits, self.engine = bundle, limits, engine
        self.progress: Callable[[], None] = _nothing  # called before each film: a batch may take long, one film not

    def setup(self, device: str) -> None:
        """Load the bundle in a worker, and run it once so that the first request finds it warm."""
        del device
        bundle = load_bundle(self.bundle_directory)
        self.predictor = Predictor(bundle, threads=1, limits=self.limits, engine=self.engine)
        import numpy as np

        blank = Radiograph(np.zeros((bundle.input_size, bundle.input_size), dtype=np.uint8), 1, 1, "warm-up")
        self.predictor.predict([blank])

    def decode_request(self, request: Upload) -> Decoded:
        """Bytes to radiograph. An error is carried along: it must not fail the others of its batch."""
        from pneumonia.serving.metrics import DECODING

        self.progress()
        with DECODING.time():
            try:
                return Decoded(request, self.predictor.read(request.data))
            except ImageError as error:
                return Decoded(request, error)

    def batch(self, inputs: Sequence[Decoded]) -> Sequence[Decoded]:
        """As they are: the predictor stacks what could be decoded."""
        return inputs

    def predict(self, x: Sequence[Decoded]) -> list[Answered]:
        """One run of the engine for all radiographs of the batch."""
        from pneumonia.serving.metrics import BATCH, INFERENCE

        self.progress()
        readable = [item for item in x if isinstance(item.radiograph, Radiograph)]
        began = time.perf_counter()
        predictions = iter(
            self.predictor.predict(
                [item.radiograph for item in readable if isinstance(item.radiograph, Radiograph)],
                [item.upload.heatmap for item in readable],
            )
        )
        if readable:
            INFERENCE.observe(time.perf_counter() - began)
            BATCH.observe(len(readable))
        return [
            Answered(item.upload, item.radiograph if isinstance(item.radiograph, ImageError) else next(predictions))
            for item in x
        ]

    def unbatch(self, output: list[Answered]) -> list[Answered]:
        """As they are."""
        return output

    def encode_response(self, output: Answered) -> JSONResponse:
        """The contract's JSON."""
        from pneumonia.serving.metrics import PREDICTIONS, REFUSALS

        answer, request_id = output.answer, output.upload.request_id
        if isinstance(answer, ImageError):
            return JSONResponse(error_body(answer.code, str(answer), request_id), image_error_status(answer))
        PREDICTIONS.labels(answer.prediction).inc()
        if not answer.input_check.passed:
            REFUSALS.inc()
        content: dict[str, Any] = {**answer.to_dict(), "request_id": request_id}
        if answer.heatmap is not None:
            content["heatmap"] = base64.b64encode(answer.heatmap).decode("ascii")
        return JSONResponse(content)


def _nothing() -> None:
    """Where nobody watches."""
