"""What becomes of uploads when the worker that has them ends: the test holds the workers' ends of the sockets."""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from queue import Empty

import pytest
from starlette.exceptions import HTTPException

from pneumonia.serving.channel import RECEIVED_BYTES, Channel, Unpacker, packed, pair
from pneumonia.serving.router import Router, Ticket
from pneumonia.serving.vitals import State, Vitals
from pneumonia.serving.worker import Mailbox

WORKERS = 3
Scenario = Callable[[Router, "list[WorkerEnd]"], Awaitable[None]]


class WorkerEnd:
    """A worker's end of its connection to the router, and its slot."""

    def __init__(self, end: socket.socket, slot: int, vitals: Vitals) -> None:
        self.end, self.slot, self.vitals = end, slot, vitals
        self.unpacker, self.uids = Unpacker(), list[int]()
        end.setblocking(False)

    def begin(self, *uids: int) -> None:
        """Say that it is at work on these."""
        for uid in uids:
            self.vitals.begin(self.slot, uid)

    def received(self) -> list[int]:
        """The uids of all uploads so far."""
        try:
            while data := self.end.recv(RECEIVED_BYTES):
                self.uids += [message[1] for message in self.unpacker.feed(data) if message[0] == "put"]
        except BlockingIOError:
            pass
        return self.uids

    def say(self, *message: object) -> None:
        self.end.sendall(packed(message))


def played(scenario: Scenario) -> None:
    async def play() -> None:
        parent, child = map(Channel, pair())
        vitals = Vitals(slots=WORKERS, processes=1, largest_batch=4)
        vitals.report(State.READY, WORKERS)
        router, ends = Router(0, vitals, child), []
        async with router.running():
            for number in range(WORKERS):
                vitals.beat(number)
                mine, theirs = pair()
                parent.send(("worker", number, number), theirs)
                theirs.close()
                ends.append(WorkerEnd(mine, number, vitals))
            parent.send(("route", 1, {}, list(range(WORKERS))))
            await asyncio.wait_for(scenario(router, ends), 30)
        for end in ends:
            end.end.close()
        parent.close()
        child.close()

    asyncio.run(play())


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.01)


async def all_at_one(router: Router, ends: list[WorkerEnd], count: int) -> tuple[list[Ticket], WorkerEnd]:
    """Uploads of which each worker gets as many as the others, and one worker; returns those that it has, in order."""
    tickets = [router.submit(number) for number in range(count * WORKERS)]
    await until(lambda: sum(len(end.received()) for end in ends) == len(tickets))
    by_uid = {ticket.uid: ticket for ticket in tickets}
    assert {len(end.uids) for end in ends} == {count}
    return [by_uid[uid] for uid in ends[0].uids], ends[0]


def status_of(ticket: Ticket) -> int | None:
    error = ticket.answer.exception() if ticket.answer.done() else None
    return error.status_code if isinstance(error, HTTPException) else None


def test_what_waited_for_a_worker_that_ends_goes_to_others() -> None:
    async def scenario(router: Router, ends: list[WorkerEnd]) -> None:
        tickets, worker = await all_at_one(router, ends, 2)
        worker.end.close()
        await until(lambda: sum(len(end.received()) for end in ends[1:]) == 6)
        assert not any(ticket.answer.done() for ticket in tickets)

    played(scenario)


def test_a_film_that_was_alone_with_a_worker_that_ends_is_answered_500() -> None:
    async def scenario(router: Router, ends: list[WorkerEnd]) -> None:
        (alone, behind), worker = await all_at_one(router, ends, 2)
        worker.begin(alone.uid)
        worker.end.close()
        await until(alone.answer.done)
        assert (status_of(alone), behind.answer.done()) == (500, False)

    played(scenario)


@pytest.mark.parametrize("others", [0, 1], ids=["both came this way", "the other came by another HTTP process"])
def test_films_of_a_batch_get_a_second_chance_and_no_third(others: int) -> None:
    async def scenario(router: Router, ends: list[WorkerEnd]) -> None:
        tickets, worker = await all_at_one(router, ends, 2 - others)
        worker.begin(*range(1, 1 + others), *(ticket.uid for ticket in tickets))
        worker.end.close()
        await until(lambda: all(any(ticket.uid in end.received() for end in ends[1:]) for ticket in tickets))
        second = next(end for end in ends[1:] if tickets[0].uid in end.uids)
        second.begin(3, tickets[0].uid)
        second.end.close()
        await until(tickets[0].answer.done)
        assert status_of(tickets[0]) == 500
        third = next(end for end in ends[1:] if end is not second)
        for ticket in tickets[1:]:
            await until(lambda uid=ticket.uid: uid in third.received())  # type: ignore[misc]
            third.say("answer", ticket.uid, "fine")
            assert await ticket.answer == "fine"

    played(scenario)


def test_what_nobody_waits_for_any_more_is_not_tried_again() -> None:
    async def scenario(router: Router, ends: list[WorkerEnd]) -> None:
        tickets, worker = await all_at_one(router, ends, 2)
        worker.begin(*(ticket.uid for ticket in tickets))
        router.give_up(tickets[0])
        assert not tickets[0].answer.done()
        worker.end.close()
        await until(lambda: any(tickets[1].uid in end.received() for end in ends[1:]))
        assert tickets[0].answer.cancelled()
        assert not any(tickets[0].uid in end.received() for end in ends[1:])

    played(scenario)


def test_what_may_have_ended_a_worker_is_a_batch_of_its_own() -> None:
    mine, theirs = pair()
    parent, child = map(Channel, pair())
    mailbox = Mailbox(child, 0, Vitals(slots=1, processes=1, largest_batch=4))
    parent.send(("peer", 0), theirs)
    for uid, tried in ((1, False), (2, False), (3, True), (4, True), (5, False)):
        mine.sendall(packed(("put", uid, 0.0, None, tried)))
    batches = []
    while sum(map(len, batches)) < 5:
        batch = [mailbox.get(timeout=30)[1]]
        with contextlib.suppress(Empty):
            while True:
                batch.append(mailbox.get_nowait()[1])
        batches.append(batch)
    assert batches == [[1, 2], [3], [4], [5]]


def test_lone_uploads_stay_with_one_worker_and_two_at_once_do_not() -> None:
    async def scenario(router: Router, ends: list[WorkerEnd]) -> None:
        for count in (1, 2, 3):
            ticket = router.submit(count)
            while sum(len(end.received()) for end in ends) < count:
                await asyncio.sleep(0.01)
            next(end for end in ends if ticket.uid in end.uids).say("answer", ticket.uid, "done")
            await until(ticket.answer.done)
        assert sorted(len(end.uids) for end in ends) == [*[0] * (WORKERS - 1), 3]
        router.submit("one")
        router.submit("other")
        await until(lambda: sum(len(end.received()) for end in ends) == 5)
        assert sum(len(end.uids) > 0 for end in ends) == 2

    played(scenario)
