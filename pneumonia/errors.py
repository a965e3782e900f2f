"""The package's own errors: each message says what was wrong, with which input, and what to do."""


class PneumoniaError(Exception):
    """Base of every error that a user's input or environment can cause; the command line prints it without a trace."""


class ImageError(PneumoniaError):
    """A file that is not decoded to a radiograph. `code` is stable and part of the HTTP contract."""

    code = "bad_image"


class DamagedImageError(ImageError):
    """Bytes that are no image, or an image whose data are truncated or inconsistent."""

    code = "damaged_image"


class UnsupportedImageError(ImageError):
    """An image of a format, or of a kind (several frames, colour DICOM), that is not read."""

    code = "unsupported_image"


class ImageTooLargeError(ImageError):
    """More bytes or pixels than the limits allow."""

    code = "image_too_large"


class DataError(PneumoniaError):
    """A data tree, manifest, cache or download that can't be used."""


class BundleError(PneumoniaError):
    """A bundle that is missing, incomplete, of another schema, or whose checksums do not hold."""


class RegistryError(PneumoniaError):
    """A registry entry that is not there, or a promotion that is refused."""


class ConfigError(PneumoniaError):
    """A setting, option or environment variable that can't be used."""


class MissingLibraryError(PneumoniaError, ImportError):
    """A library that an extra installs and that is not there; it is an `ImportError` too."""


class ApiError(PneumoniaError):
    """What a server of the API answered in place of what it was asked for, or that none answered.

    Args:
        message: for people: the server's own, where it sent one. No file name and nothing of an image is in it.
        code: for programs, one of docs/http.md: the contract's, or one of the client's own for what is no answer of
            the API: `unreachable`, `no_answer`, `interrupted`, `unexpected_answer`.
        status: of HTTP; None when nothing was answered.
        request_id: under which the server's log and metrics know the request; empty when there is none.
        retry_after: seconds, 0 or more, after which the server asks to come again; None when it does not.
    """

    def __init__(
        self,
        message: str,
        code: str = "error",
        status: int | None = None,
        request_id: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message, self.code, self.status = message, code, status
        self.request_id, self.retry_after = request_id, retry_after

    def __str__(self) -> str:
        """The message, and in brackets what its administrator finds the request by."""
        known = [f"HTTP {self.status}"] if self.status else []
        known += [f"request {self.request_id}"] if self.status and self.request_id else []
        return f"{self.message} ({', '.join(known)})" if known else self.message
