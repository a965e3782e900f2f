"""Places that several processes share."""

import multiprocessing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumonia.serving.admission import Places


def test_no_more_places_are_taken_than_there_are() -> None:
    places = Places(3, processes=2)
    assert [places.take(number % 2) for number in range(5)] == [True, True, True, False, False]
    assert places.full
    places.free(1)
    assert not places.full
    assert places.take(0)


def test_an_amount_is_taken_whole_or_not_at_all() -> None:
    places = Places(10, processes=1)
    assert places.take(0, 7)
    assert not places.take(0, 4)
    assert places.taken == 7
    assert places.take(0, 3)


def test_what_is_there_anyhow_is_counted_beyond_the_limit() -> None:
    places = Places(1, processes=1)
    places.add(0, 5)
    assert (places.taken, places.take(0)) == (5, False)


def test_what_a_process_held_that_has_ended_is_given_back() -> None:
    places = Places(5, processes=2)
    places.add(0, 3)
    places.add(1, 1)
    places.forget(0)
    assert places.taken == 1


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5), st.booleans())))
def test_the_limit_holds_and_nothing_is_lost(steps: list[tuple[int, int, bool]]) -> None:
    places, held = Places(9, processes=4), []
    for process, amount, take in steps:
        if take and places.take(process, amount):
            held.append((process, amount))
        elif not take and held:
            places.free(*held.pop())
        assert places.taken == sum(amount for _, amount in held) <= 9


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="LitServe forks only here")
def test_processes_that_are_forked_count_together() -> None:
    places = Places(10_000, processes=3)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=lambda own=own: [places.take(own) for _ in range(1000)]) for own in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(30)
    assert places.taken == 3000
