"""What can go wrong between film and answer, in plain words: one sentence that says what, one what to do."""

from dataclasses import dataclass

from pneumonia.client import answers
from pneumonia.errors import ApiError, DamagedImageError, ImageError, ImageTooLargeError, UnsupportedImageError

_ANOTHER = "Choose a file that holds one grayscale chest film; most viewers can export a single image."
_AGAIN = "Export the film again from where it came, and choose the new file."
_SMALLER = "Export the film at a smaller size, or ask whoever runs the server to raise its limits."

_ADVICE_OF_ERROR: dict[type[ImageError], str] = {
    DamagedImageError: _AGAIN,
    ImageTooLargeError: _SMALLER,
    UnsupportedImageError: _ANOTHER,
}


@dataclass(frozen=True)
class Problem:
    """`what` went wrong, and the `advice` on what to do; `retry` when the same request can succeed later."""

    what: str
    advice: str
    retry: bool = True


DOWN = Problem(
    "The model can't be reached: its server is not running, or not at this address.",
    "Start it with `pneumonia serve`, or ask whoever runs it; then choose Try again.",
)
STARTING = Problem("The model is still starting.", "That takes a few seconds. Then choose Try again.")
SLOW = Problem(
    "The model did not answer in time.",
    "Its server may be busy. Wait a moment, then choose Try again.",
)
INTERRUPTED = Problem("The model's server broke off while it answered.", "Wait a moment, then choose Try again.")
STRANGER = Problem(
    "Something answers at the model's address, but not as the model's server does.",
    "Whoever runs this page should check the address it was started with (`--url`).",
)
LOCKED = Problem(
    "The model's server asks for a key, and this page has none.",
    "Ask whoever runs the server for one that this page may use.",
)
UNREADABLE = Problem(
    "The file can't be read.",
    "Choose it again. If it lies on a network drive or a disc, copy it to this computer first.",
    retry=False,
)
FORGOTTEN = Problem("The film is no longer kept: it was chosen a while ago.", "Choose it again.", retry=False)

_LOST = {answers.UNREACHABLE: DOWN, answers.NO_ANSWER: SLOW, answers.INTERRUPTED: INTERRUPTED}


def of_image(error: ImageError) -> Problem:
    """The problem with a file that is not decoded."""
    advice = next((advice for kind, advice in _ADVICE_OF_ERROR.items() if isinstance(error, kind)), _ANOTHER)
    return Problem(str(error), advice, retry=False)


def of_api(error: ApiError) -> Problem:
    """The problem that the client of the API met."""
    if error.code in _LOST:
        return _LOST[error.code]
    if error.status == 413:
        return Problem("The file is larger than the model's server accepts.", _SMALLER, retry=False)
    if error.status in (429, 503):
        wait = f"about {error.retry_after:.0f} seconds" if error.retry_after else "a moment"
        return Problem("The model has more films to read than it can take.", f"Wait {wait}, then choose Try again.")
    if error.status == 504:
        return SLOW
    if error.status in (401, 403):
        return LOCKED
    if error.status is None or error.status in (404, 405) or error.code == answers.UNEXPECTED_ANSWER:
        return STRANGER
    reference = f" Its administrator finds the reason under the number {error.request_id}." if error.request_id else ""
    if error.status >= 500:
        return Problem("The model's server failed on this film.", f"Choose Try again.{reference}")
    return Problem("The model's server refused the request.", f"Choose the film again.{reference}", retry=False)
