"""Messages between the server's own processes, over socket pairs: a length, then a pickle; sockets can go along.

A socket pair belongs to two processes alone. There is no lock that one of them could take to its grave, and when one
ends, however it ends, the system tells the other at once. Only the parent hands them out, so that nobody else can send
a pickle.
"""

import contextlib
import pickle
import socket
import struct
from collections import deque
from collections.abc import Iterator
from typing import Any

RECEIVED_BYTES = 256 * 2**10
# A film of full size fits, where the system allows as much: it is sent at once, while the worker is at work on another.
_BUFFER_BYTES = 2**20
_LENGTH = struct.Struct("!Q")
# A process whose other end has been full for this long does not run any more: nobody waits for it.
_SEND_SECONDS = 5


def packed(message: object) -> bytes:
    """A message as it travels."""
    content = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return _LENGTH.pack(len(content)) + content


class Unpacker:
    """Bytes as they arrive to messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """Messages that are complete with these bytes."""
        self._buffer += data
        while len(self._buffer) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._buffer)
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            content = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield pickle.loads(content)  # noqa: S301 (of a process of this server)


def pair() -> tuple[socket.socket, socket.socket]:
    """Two ends that give up sending, with an `OSError`, where nobody has read for some seconds."""
    ends = socket.socketpair()
    for end in ends:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", _SEND_SECONDS, 0))
    return ends


def deliver(end: socket.socket, data: bytes, passed: socket.socket | None = None) -> bool:
    """Send bytes, and a socket with them; false where the other end is gone or does not read.

    Half of them may be sent by then: nothing can follow, and the connection is ended.
    """
    try:
        sent = socket.send_fds(end, [data], [passed.fileno()]) if passed else 0
        end.sendall(data[sent:])
    except OSError:
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
        return False
    return True


class Channel:
    """One end of a pair between the parent and one of its processes, along which sockets can be sent. It blocks."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._unpacker = Unpacker()
        self._descriptors: deque[int] = deque()

    def fileno(self) -> int:
        """For selectors."""
        return self.socket.fileno()

    def send(self, message: object, passed: socket.socket | None = None) -> bool:
        """Send a message, and a socket with it; false where the other end is gone or does not read."""
        return deliver(self.socket, packed((message, passed is not None)), passed)

    def receive(self) -> list[tuple[Any, socket.socket | None]]:
        """What has arrived, each message with the socket that came along. Raises `EOFError` at the end."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self.socket, RECEIVED_BYTES, 8)
        except OSError as error:
            raise EOFError from error
        if not data:
            raise EOFError
        self._descriptors.extend(descriptors)
        return [
            (message, socket.socket(fileno=self._descriptors.popleft()) if with_socket else None)
            for message, with_socket in self._unpacker.feed(data)
        ]

    def close(self) -> None:
        """Close this end."""
        self.socket.close()
