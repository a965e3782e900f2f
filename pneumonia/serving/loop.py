"""Batching that adapts to load: a lone request runs at once, a queue is taken as a batch."""

from queue import Empty, Queue
from typing import Any

from litserve import LitAPI
from litserve.loops.base import collate_requests
from litserve.loops.simple_loops import BatchedLoop
from litserve.transport.base import MessageTransport


class AdaptiveBatchLoop(BatchedLoop):
    """LitServe's batched loop, which sleeps until a request comes instead of asking a thousand times a second.

    Whatever else waits in the queue by then, up to the API's `max_batch_size`, runs with it.
    """

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
