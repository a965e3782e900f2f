"""Batching that adapts to load: a lone request runs at once, a queue is taken as a batch."""

import logging
from queue import Empty, Queue
from typing import Any

from litserve import LitAPI
from litserve.loops.base import LoopResponseType, _StopLoopError, collate_requests
from litserve.loops.simple_loops import BatchedLoop
from litserve.transport.base import MessageTransport
from litserve.utils import LitAPIStatus
from starlette.exceptions import HTTPException

_log = logging.getLogger(__name__)


class AdaptiveBatchLoop(BatchedLoop):
    """LitServe's batched loop, which sleeps until a request comes instead of asking a thousand times a second.

    Whatever else waits in the queue by then, up to the API's `max_batch_size`, runs with it. A batch goes through the
    API's verbs and nothing else. LitServe's own loop has contexts, specs and callbacks, and to know whether a verb
    takes them it reads the signatures of all five at every request: 5% of a worker's time.
    """

    def run_batched_loop(
        self, lit_api: LitAPI, request_queue: "Queue[Any]", transport: MessageTransport, *others: Any
    ) -> None:
        """Answer until the queue says that it is enough."""
        del others
        while True:
            try:
                requests, late = self.get_batch_requests(lit_api, request_queue, transport)
            except _StopLoopError:
                return
            for consumer, uid in late:
                self._say(transport, consumer, uid, HTTPException(504))
            if requests:
                self._answer(lit_api, requests, transport)

    def _answer(self, lit_api: LitAPI, requests: list[Any], transport: MessageTransport) -> None:
        """Each request by its own answer; a batch that fails, as none should, by its error."""
        try:
            inputs = lit_api.batch([lit_api.decode_request(payload) for _, _, payload in requests])
            answers = [lit_api.encode_response(output) for output in lit_api.unbatch(lit_api.predict(inputs))]
        except Exception as error:
            _log.exception("A batch of %d failed.", len(requests))
            answers = [error] * len(requests)
        for (consumer, uid, _), answer in zip(requests, answers, strict=True):
            self._say(transport, consumer, uid, answer)

    def _say(self, transport: MessageTransport, consumer: int, uid: Any, answer: Any) -> None:
        status = LitAPIStatus.ERROR if isinstance(answer, Exception) else LitAPIStatus.OK
        self.put_response(transport, consumer, uid, answer, status, LoopResponseType.REGULAR)

    def get_batch_requests(
        self, lit_api: LitAPI, request_queue: "Queue[Any]", transport: MessageTransport
    ) -> tuple[list[Any], list[Any]]:
        """Wait for one request, then take those that wait behind it."""
        try:
            first = request_queue.get(timeout=1.0)
        except Empty:
            return [], []
        batches, timed_out = collate_requests(self, lit_api, _Prepended(first, request_queue), transport)
        return batches, timed_out


class _Prepended:
    """A queue with one item that was taken from it put back in front."""

    def __init__(self, first: Any, rest: "Queue[Any]") -> None:
        self._first: list[Any] = [first]
        self._rest = rest

    def get_nowait(self) -> Any:
        return self._first.pop() if self._first else self._rest.get_nowait()
