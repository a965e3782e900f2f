"""Addresses: which are read, what they may carry, and what of them is shown."""

import pytest

from pneumonia.data.web import shown, split_checksum
from pneumonia.errors import DataError


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://host/a.zip", "s3://bucket/a.zip", "http://", "https:///a.zip", "http://[::1"]
)
def test_an_address_that_is_not_of_the_web_is_refused(url: str) -> None:
    with pytest.raises(DataError, match=r"not read|not valid"):
        split_checksum(url)


def test_secrets_of_an_address_are_in_no_message() -> None:
    assert shown("https://user:secret@host/a.zip?token=secret#secret") == "https://host/a.zip"
    with pytest.raises(DataError) as refused:
        split_checksum("https://user:secret@host/a.zip")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("end", ["#md5=00", "#sha256=12", f"#sha256={'g' * 64}", "#part"])
def test_an_end_of_an_address_that_is_no_checksum_is_refused(end: str) -> None:
    with pytest.raises(DataError, match="64 hex"):
        split_checksum(f"https://host/a.zip{end}")


def test_two_checksums_that_differ_are_refused() -> None:
    with pytest.raises(DataError, match="different SHA-256"):
        split_checksum(f"https://host/a.zip#sha256={'0' * 64}", "1" * 64)
