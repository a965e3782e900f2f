"""Messages between processes arrive whole, in order, and with the sockets that were sent along."""

import os
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumonia.serving.channel import Channel, Unpacker, packed, pair

MESSAGES = st.lists(st.one_of(st.binary(max_size=300), st.text(max_size=50), st.tuples(st.integers(), st.none())))


@given(MESSAGES, st.data())
def test_messages_arrive_as_they_were_sent_however_they_are_cut(messages: list[object], data: st.DataObject) -> None:
    content = b"".join(map(packed, messages))
    cuts = data.draw(st.lists(st.integers(0, len(content))))
    unpacker, arrived = Unpacker(), []
    for start, end in pairwise([0, *sorted(cuts), len(content)]):
        arrived += list(unpacker.feed(content[start:end]))
    assert arrived == messages


def test_a_socket_goes_along_with_its_message() -> None:
    here, there = map(Channel, pair())
    passed = [pair() for _ in range(3)]
    for number, (_, end) in enumerate(passed):
        assert here.send(("plain", number))
        assert here.send(("peer", number), end)
        end.close()
    arrived: list[object] = []
    while len(arrived) < 6:
        for message, end in there.receive():
            arrived.append(message)
            if end is not None:
                passed[message[1]][0].sendall(str(message[1]).encode())
                assert end.recv(10) == str(message[1]).encode()
                end.close()
    assert arrived == [(kind, number) for number in range(3) for kind in ("plain", "peer")]
    for kept, _ in passed:
        kept.close()
    here.close()
    there.close()


def test_the_end_of_one_side_is_told_to_the_other() -> None:
    here, there = map(Channel, pair())
    if (child := os.fork()) == 0:
        here.close()
        os.kill(os.getpid(), 9)
    there.close()
    with pytest.raises(EOFError):
        here.receive()
    assert not here.send("into the void")
    os.waitpid(child, 0)
    here.close()
