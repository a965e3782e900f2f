"""Whether and when a call is made again: exponential backoff with full jitter, and what the server asks for.

Full jitter is a delay drawn evenly from 0 to the exponential's bound (Brooker, "Exponential Backoff And Jitter", AWS
Architecture Blog, 2015): clients that failed together do not come again together.
"""

import logging
import random
import time
from dataclasses import dataclass

from pneumonia.client.answers import INTERRUPTED, NO_ANSWER, UNREACHABLE
from pneumonia.errors import ApiError

# A prediction changes nothing on the server: to ask twice is as good as once. 4xx other than 429 stay what they are.
RETRIED_STATUSES = frozenset({429, 503, 504})
RETRIED_CODES = frozenset({UNREACHABLE, NO_ANSWER, INTERRUPTED})
_LARGEST_EXPONENT = 60

_log = logging.getLogger("pneumonia.client")


@dataclass(frozen=True)
class Retries:
    """How often and how long a call is made again.

    Args:
        times: retries after the first attempt, at most. Those that the server asks for with Retry-After are not
            counted against it: they end with `total`.
        base: seconds, the bound of the first delay; each further one is twice as large.
        longest: seconds, the bound that no delay exceeds unless Retry-After names more.
        total: seconds after the first attempt's begin within which the last one has to begin. A call hence ends after
            `total` and one timeout at the latest.

    Raises `ValueError` for anything below 0.
    """

    times: int = 4
    base: float = 0.25
    longest: float = 8.0
    total: float = 60.0

    def __post_init__(self) -> None:
        if not min(self.times, self.base, self.longest, self.total) >= 0:
            raise ValueError("times, base, longest and total of retries are 0 or more")


DEFAULT_RETRIES = Retries()
NO_RETRIES = Retries(times=0, total=0)


def can_pass(error: ApiError) -> bool:
    """Whether the same call can succeed later."""
    return error.status in RETRIED_STATUSES or (error.status is None and error.code in RETRIED_CODES)


def delay(retries: Retries, made: int, error: ApiError, elapsed: float, jitter: float) -> float | None:
    """Seconds to wait after `error`; None when it is to be raised.

    `made` retries were made before, `elapsed` seconds have gone by, and `jitter`, in [0, 1], is the share of the
    backoff's bound that is waited. Retry-After is waited in full, and the jitter beyond it.

    >>> busy = ApiError("Busy.", "unavailable", 503, retry_after=2.0)
    >>> delay(Retries(base=0.5), made=1, error=busy, elapsed=3.0, jitter=0.5)
    2.5
    >>> delay(Retries(total=5.0), made=1, error=busy, elapsed=3.5, jitter=0.5) is None
    True
    """
    if not can_pass(error) or (made >= retries.times and error.retry_after is None):
        return None
    bound = min(retries.longest, retries.base * 2.0 ** min(made, _LARGEST_EXPONENT))
    seconds = (error.retry_after or 0.0) + jitter * bound
    return None if elapsed + seconds > retries.total else seconds


class Attempts:
    """The attempts of one call: how many there were, and since when."""

    def __init__(self, retries: Retries) -> None:
        self._retries, self._began = retries, time.monotonic()
        self._made, self._waited = 0, 0.0

    def pause(self, error: ApiError) -> float:
        """Seconds to wait before the next attempt. Raises `error` when there is to be none."""
        elapsed = max(time.monotonic() - self._began, self._waited)
        seconds = delay(self._retries, self._made, error, elapsed, random.random())  # noqa: S311 (no secret)
        if seconds is None:
            raise error
        self._made += 1
        self._waited += seconds
        _log.info("Retry %d in %.2f s after %s, request %s", self._made, seconds, error.code, error.request_id)
        return seconds
