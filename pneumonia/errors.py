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
