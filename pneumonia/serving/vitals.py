"""What the server's processes know of each other: shared memory in which each cell has one writer, and no lock."""

import ctypes
import enum
import time
from multiprocessing.sharedctypes import RawArray


class State(enum.IntEnum):
    """Of the server as a whole."""

    STARTING = 0
    READY = 1
    REPLACING = 2  # no worker is left, the first replacement is on its way
    FAILING = 3  # replacements do not start


class Event(enum.IntEnum):
    """What the parent counts."""

    WORKER_KILLED = 0
    WORKER_HUNG = 1
    WORKER_FAILED = 2
    HTTP_ENDED = 3
    RELOADED = 4
    REFUSED = 5


class Vitals:
    """Signs of life of each process, by its slot; load of each worker; the server's state; what happened to it.

    It has to be made before the processes that speak HTTP are forked, and can be handed to one that is spawned. Times
    are of the system's monotonic clock, which all processes share.

    Args:
        slots: workers that there can be at a time.
        processes: that speak HTTP.
        largest_batch: uploads that a worker is at work on at a time, at most.
    """

    def __init__(self, slots: int, processes: int, largest_batch: int) -> None:
        self.slots, self._processes, self._largest_batch = slots, processes, largest_batch
        self.seats = slots + processes
        self._seen = RawArray(ctypes.c_double, self.seats)
        self._at_work = RawArray(ctypes.c_int64, self.seats)
        self._begun = RawArray(ctypes.c_int64, slots * largest_batch)
        self._given = RawArray(ctypes.c_int64, slots * processes)
        self._state = RawArray(ctypes.c_int64, [State.STARTING, 0])
        self._events = RawArray(ctypes.c_int64, len(Event))

    def slot_of_http(self, process: int) -> int:
        """Where an HTTP process gives its signs of life."""
        return self.slots + process

    def beat(self, slot: int) -> None:
        """A process says that it goes on."""
        self._seen[slot] = time.monotonic()

    def begin(self, slot: int, uid: int) -> None:
        """A worker says that it is at work on one more upload of its batch; `uid` is not 0."""
        self._begun[slot * self._largest_batch + self._at_work[slot]] = uid
        self._at_work[slot] += 1
        self.beat(slot)

    def end_batch(self, slot: int) -> None:
        """A worker says that it is at work on none."""
        first = slot * self._largest_batch
        self._begun[first : first + self._largest_batch] = [0] * self._largest_batch
        self._at_work[slot] = 0

    def silent(self, slot: int) -> float:
        """Seconds since a process has said so."""
        return time.monotonic() - float(self._seen[slot])

    def clear(self, slot: int) -> None:
        """Make a slot ready for the next process. What was sent to a worker, those who sent it count back.

        They may still have to look at what it had begun with: that stays until the next one waits for work.
        """
        self._at_work[slot] = 0
        self.beat(slot)

    def give(self, slot: int, process: int, uploads: int) -> None:
        """An HTTP process says that it has sent a worker so many uploads; less than 0, that it has them no more."""
        self._given[slot * self._processes + process] += uploads

    def load(self, slot: int) -> int:
        """Uploads that a worker was sent, by all HTTP processes, and has not answered."""
        first = slot * self._processes
        return sum(self._given[first : first + self._processes])

    def forget_process(self, process: int) -> None:
        """What an HTTP process that ended had sent is nobody's any more."""
        for slot in range(self.slots):
            self._given[slot * self._processes + process] = 0

    def batch_of(self, slot: int) -> list[int]:
        """Uids of the uploads that a worker is at work on, or was when it ended."""
        first = slot * self._largest_batch
        return [uid for uid in self._begun[first : first + self._largest_batch] if uid]

    @property
    def at_work(self) -> int:
        """Uploads that workers are at work on."""
        return sum(self._at_work[:])

    @property
    def state(self) -> State:
        """Of the server."""
        return State(self._state[0])

    @property
    def workers_ready(self) -> int:
        """How many workers can predict."""
        return int(self._state[1])

    def report(self, state: State, workers_ready: int) -> None:
        """The parent says how the server is."""
        self._state[0], self._state[1] = int(state), workers_ready

    def count(self, event: Event) -> None:
        """The parent counts what happened."""
        self._events[event] += 1

    def counted(self, event: Event) -> int:
        """How often it has happened."""
        return int(self._events[event])
