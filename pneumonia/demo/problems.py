"""What can go wrong between film and answer: for each problem one sentence that says what, one what to do."""

from dataclasses import dataclass

from pneumonia.client import answers
from pneumonia.demo.strings import Strings
from pneumonia.errors import ApiError, DamagedImageError, ImageError, ImageTooLargeError, UnsupportedImageError


@dataclass(frozen=True)
class Problem:
    """A problem by its key among the strings.

    `retry` when the same request can succeed later; `detail` is what the decoder said, in English; `seconds` to wait,
    and `request_id` under which the server's log knows of it, where they are known.
    """

    key: str
    retry: bool = True
    detail: str = ""
    seconds: float | None = None
    request_id: str = ""

    def what(self, say: Strings) -> str:
        """What went wrong."""
        return say(f"problem.{self.key}.what")

    def advice(self, say: Strings) -> str:
        """What to do; code stands between backticks."""
        seconds = "" if self.seconds is None else f"{self.seconds:.0f}"
        reference = f" {say('problem.reference', number=self.request_id)}" if self.request_id else ""
        return say(f"problem.{self.key}.advice", seconds=seconds) + reference


DOWN = Problem("down")
STARTING = Problem("starting")
SLOW = Problem("slow")
INTERRUPTED = Problem("interrupted")
STRANGER = Problem("stranger")
LOCKED = Problem("locked")
WRONG_KEY = Problem("wrong_key")
UNREADABLE = Problem("unreadable", retry=False)
FORGOTTEN = Problem("forgotten", retry=False)
NO_VALIDATION = Problem("no_validation", retry=False)
MONITOR_LOCKED = Problem("monitor_locked", retry=False)

_LOST = {answers.UNREACHABLE: DOWN, answers.NO_ANSWER: SLOW, answers.INTERRUPTED: INTERRUPTED}

_OF_IMAGE: dict[type[ImageError], str] = {
    DamagedImageError: "damaged",
    ImageTooLargeError: "too_large",
    UnsupportedImageError: "unsupported",
}


def of_image(error: ImageError) -> Problem:
    """The problem with a file that is not decoded."""
    key = next((key for kind, key in _OF_IMAGE.items() if isinstance(error, kind)), "unsupported")
    return Problem(key, retry=False, detail=str(error))


def of_api(error: ApiError, with_key: bool = False) -> Problem:
    """The problem that the client of the API met; `with_key` when it had a key to send."""
    if error.code in _LOST:
        return _LOST[error.code]
    if error.status == 413:
        return Problem("too_large_for_server", retry=False)
    if error.status in (429, 503):
        return Problem("overloaded_for", seconds=error.retry_after) if error.retry_after else Problem("overloaded")
    if error.status == 504:
        return SLOW
    if error.status in (401, 403):
        return WRONG_KEY if with_key else LOCKED
    if error.status is None or error.status in (404, 405) or error.code == answers.UNEXPECTED_ANSWER:
        return STRANGER
    if error.status >= 500:
        return Problem("failed", request_id=error.request_id)
    return Problem("refused", retry=False, request_id=error.request_id)
