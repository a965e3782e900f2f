"""Decode one JPEG or JPEG-LS frame with GDCM, in a process of its own: damaged bytes make GDCM abort or hang.

Run as a script: transfer syntax, width, height and bits as arguments, the frame on standard input; the values, one
or two bytes each in this machine's order, on standard output. It imports nothing of this package.
"""

import contextlib
import sys

_MAX_MEMORY = 4 * 2**30


def main() -> None:
    """Decode standard input to standard output; ends with another code than 0 when that is not possible."""
    # A core dump would hold the patient's film.
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
    syntax, *numbers = sys.argv[1:]
    sys.stdout.buffer.write(decode(sys.stdin.buffer.read(), syntax, *map(int, numbers)))


def decode(frame: bytes, syntax: str, width: int, height: int, bits: int) -> bytes:
    """One frame of one gray component to its values; raises `ValueError` when GDCM has none to give."""
    import gdcm

    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(frame)
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((width, height, 1))
    image.SetDataElement(element)
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2))
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(syntax)))
    image.SetPixelFormat(gdcm.PixelFormat(1, 8 if bits <= 8 else 16, bits, bits - 1, 0))
    values = image.GetBuffer()
    if values is None:
        raise ValueError("GDCM can't decode the frame")
    # The binding hands bytes out as text, with what is no UTF-8 escaped.
    return str(values).encode("utf-8", "surrogateescape")


if __name__ == "__main__":
    main()
