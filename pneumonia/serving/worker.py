"""A worker process: LitServe's loop around the LitAPI, fed by the HTTP processes over sockets of its own."""

import os
import selectors
import signal
import socket
import time
from dataclasses import dataclass, field
from queue import Empty
from typing import Any

from litserve.callbacks import CallbackRunner
from litserve.loops.base import _SENTINEL_VALUE
from litserve.utils import LitAPIStatus
from starlette.exceptions import HTTPException

from pneumonia.errors import PneumoniaError
from pneumonia.serving.api import RadiographAPI
from pneumonia.serving.channel import RECEIVED_BYTES, Channel, Unpacker, deliver, packed
from pneumonia.serving.logs import LogOptions, log_to_stdout
from pneumonia.serving.vitals import Vitals

BEAT_SECONDS = 0.5
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def work(api: RadiographAPI, slot: int, vitals: Vitals, parent: socket.socket, log: LogOptions) -> None:
    """Set up, say so, and answer until the parent says that it is enough, or is gone.

    Signals that a terminal or a supervisor sends to every process are left to the parent.
    """
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    os.environ["LITSERVE_WORKER_ID"] = str(slot)
    log_to_stdout(log)
    mailbox = Mailbox(Channel(parent), slot, vitals)
    try:
        api.setup("cpu")
    except (PneumoniaError, OSError, MemoryError) as error:
        mailbox.parent.send(("failed", str(error)))
        return
    api.progress = mailbox.beat
    mailbox.beat()
    mailbox.parent.send(("ready",))
    api.loop(api, "cpu", slot, mailbox, mailbox, {}, CallbackRunner())


@dataclass
class _Peer:
    """An HTTP process."""

    number: int
    channel: socket.socket
    unpacker: Unpacker = field(default_factory=Unpacker)


class Mailbox:
    """Queue and transport, for LitServe's loop: what the HTTP processes sent, in order, and the way back to them.

    The worker itself receives, before each batch. What is sent while it is at work waits in the sockets and in the HTTP
    processes: a thread that took it meanwhile would have to wake the worker, and wait for its interpreter.
    """

    def __init__(self, parent: Channel, slot: int, vitals: Vitals) -> None:
        self.parent, self._slot, self._vitals = parent, slot, vitals
        self._peers: dict[int, _Peer] = {}
        # By uid, in the order of their arrival; the last says whether a worker that was at work on it has ended.
        self._waiting: dict[int, tuple[int, float, Any, bool]] = {}
        self._retired = False
        self._in_batch, self._alone = False, False
        self._selector = selectors.DefaultSelector()
        self._selector.register(parent, selectors.EVENT_READ)

    def beat(self) -> None:
        """Say that the worker goes on."""
        self._vitals.beat(self._slot)

    def get(self, timeout: float) -> tuple[Any, ...]:
        """The first upload of the next batch. Raises `Empty` when there is none for so many seconds."""
        self._in_batch, until = False, time.monotonic() + timeout
        self._vitals.end_batch(self._slot)
        self.beat()
        self._receive(0)
        while not self._has_news() and (left := until - time.monotonic()) > 0:
            self._receive(min(BEAT_SECONDS, left))
            self.beat()
        return self.get_nowait()

    def get_nowait(self) -> tuple[Any, ...]:
        """One more upload of the batch, or that it is enough. Raises `Empty` when there is neither.

        One that may have ended a worker is a batch of its own: it is not to take others with it again.
        """
        if self._retired and not self._peers and not self._waiting:
            return tuple(_SENTINEL_VALUE)
        if not self._waiting:
            raise Empty
        uid, (number, since, payload, tried) = next(iter(self._waiting.items()))
        if self._in_batch and (tried or self._alone):
            raise Empty
        del self._waiting[uid]
        self._in_batch, self._alone = True, tried
        self._vitals.begin(self._slot, uid)
        return number, uid, since, payload

    def send(self, item: Any, consumer_id: int) -> None:
        """Send an answer. Of an error only its status goes along: what it says may be of the upload."""
        uid, (data, status, *_) = item
        if status == LitAPIStatus.OK:
            self._answer(consumer_id, ("answer", uid, data))
        else:
            self._answer(consumer_id, ("error", uid, data.status_code if isinstance(data, HTTPException) else 500))

    def _receive(self, timeout: float) -> None:
        """Wait for so many seconds, at most, until something has been sent, and take all that has been."""
        ready = self._selector.select(timeout)
        while ready:
            for key, _ in ready:
                if key.data is None:
                    self._receive_from_parent()
                else:
                    self._receive_from(key.data)
            ready = self._selector.select(0)

    def _receive_from_parent(self) -> None:
        try:
            messages = self.parent.receive()
        except EOFError:
            self._selector.unregister(self.parent)
            messages = [(("retire",), None)]
        for (kind, *details), channel in messages:
            if kind == "peer" and channel is not None:
                peer = _Peer(details[0], channel)
                self._peers[peer.number] = peer
                self._selector.register(channel, selectors.EVENT_READ, peer)
            elif kind == "retire":
                self._retired = True

    def _receive_from(self, peer: _Peer) -> None:
        try:
            data = peer.channel.recv(RECEIVED_BYTES)
        except ConnectionError:
            data = b""
        if not data:
            self._forget(peer)
            return
        for kind, uid, *details in peer.unpacker.feed(data):
            if kind == "put":
                self._waiting[uid] = (peer.number, *details)
            else:
                self._waiting.pop(uid, None)

    def _forget(self, peer: _Peer) -> None:
        """Nobody waits for what an HTTP process sent that is gone."""
        self._selector.unregister(peer.channel)
        del self._peers[peer.number]
        for uid in [uid for uid, item in self._waiting.items() if item[0] == peer.number]:
            del self._waiting[uid]
        peer.channel.close()

    def _answer(self, number: int, message: object) -> None:
        if (peer := self._peers.get(number)) is not None:
            deliver(peer.channel, packed(message))

    def _has_news(self) -> bool:
        return bool(self._waiting) or (self._retired and not self._peers)
