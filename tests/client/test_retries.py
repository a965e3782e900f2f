"""When a call is made again: a law for any policy and error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pneumonia.client.retries import RETRIED_CODES, RETRIED_STATUSES, Attempts, Retries, can_pass, delay
from pneumonia.errors import ApiError

seconds = st.floats(0, 1e6)
policies = st.builds(Retries, times=st.integers(0, 5000), base=seconds, longest=seconds, total=seconds)
shares = st.floats(0, 1)
busy = st.builds(
    ApiError,
    st.just("Busy."),
    st.just("unavailable"),
    st.sampled_from(sorted(RETRIED_STATUSES)),
    st.just("abc"),
    st.none() | seconds,
)
lost = st.builds(ApiError, st.just("Gone."), st.sampled_from(sorted(RETRIED_CODES)))


@given(policies, st.integers(0, 5000), busy | lost, seconds, shares)
def test_a_delay_lies_between_what_the_server_asks_for_and_the_bound_of_the_backoff(
    retries: Retries, made: int, error: ApiError, elapsed: float, jitter: float
) -> None:
    wait = delay(retries, made, error, elapsed, jitter)
    if wait is None:
        return
    asked = error.retry_after or 0.0
    assert asked <= wait <= asked + retries.longest
    assert made >= 60 or wait <= asked + retries.base * 2**made
    assert elapsed + wait <= retries.total
    assert made < retries.times or error.retry_after is not None


@given(st.integers(0, 5000), shares)
def test_the_bound_doubles_until_it_is_the_longest(made: int, jitter: float) -> None:
    error, retries = ApiError("Gone.", "unreachable"), Retries(times=10_000, base=0.25, longest=8.0, total=1e9)
    assert delay(retries, made, error, 0.0, jitter) == pytest.approx(jitter * min(8.0, 0.25 * 2.0 ** min(made, 9)))


@given(policies, st.integers(0, 10), st.integers(400, 599).filter(lambda status: status not in RETRIED_STATUSES))
def test_no_other_status_is_asked_again_whatever_it_says(retries: Retries, made: int, status: int) -> None:
    assert delay(retries, made, ApiError("No.", "x", status, retry_after=0.0), 0.0, 0.0) is None


@given(policies, busy | lost, st.data())
def test_a_call_that_always_fails_ends_within_the_total(retries: Retries, error: ApiError, data: st.DataObject) -> None:
    elapsed, made = 0.0, 0
    while made < 30:
        wait = delay(retries, made, error, elapsed, data.draw(shares))
        if wait is None:
            break
        made, elapsed = made + 1, elapsed + wait
    assert elapsed <= retries.total
    assert made <= retries.times or error.retry_after is not None


def test_a_server_that_asks_for_it_is_asked_more_often_than_one_that_does_not() -> None:
    retries = Retries(times=2, base=0.0, total=60.0)
    assert delay(retries, 2, ApiError("Busy.", "unavailable", 503), 0.0, 0.0) is None
    assert delay(retries, 2, ApiError("Busy.", "unavailable", 503, retry_after=1.0), 0.0, 0.0) == 1.0


def test_time_that_was_waited_counts_even_if_no_clock_saw_it() -> None:
    attempts, error = Attempts(Retries(total=10.0)), ApiError("Busy.", "unavailable", 503, retry_after=3.0)
    first = attempts.pause(error)
    assert 3.0 <= first <= 3.25
    with pytest.raises(ApiError) as raised:
        list(map(attempts.pause, [error] * 3))
    assert raised.value is error


@pytest.mark.parametrize("options", [{"times": -1}, {"base": -0.1}, {"longest": -1.0}, {"total": -1.0}])
def test_a_policy_below_zero_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="0 or more"):
        Retries(**options)  # type: ignore[arg-type]


def test_what_is_no_answer_of_the_api_does_not_pass() -> None:
    assert not can_pass(ApiError("Another server.", "unexpected_answer"))
    assert can_pass(ApiError("A proxy.", "unexpected_answer", 503))
