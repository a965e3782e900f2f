"""Archives and folders as lists of files: what is read, and what hostile or damaged ones are refused for."""

import gzip
import io
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from pneumonia.data.archives import ArchiveLimits, open_source
from pneumonia.errors import DataError

CONTENT = {"chest_xray/train/NORMAL/a.jpeg": b"first" * 1000, "chest_xray/test/PNEUMONIA/b.jpeg": b"second"}
TAR_SUFFIXES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


def read(path: Path, **limits: int) -> dict[str, bytes]:
    with open_source(path, ArchiveLimits(**limits)) as files:
        content = {}
        for file in files:
            with file.open() as reader:
                content[file.name] = reader.read()
            assert len(content[file.name]) == file.size
        return content


def write_zip(path: Path, content: dict[str, bytes] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in (content or CONTENT).items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, mode: str = "w", content: dict[str, bytes] | None = None, **changes: object) -> Path:
    """A tar of files; `changes` are set on each member, which is how hostile ones are made."""
    with tarfile.open(path, mode) as archive:
        for name, data in (content or CONTENT).items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            for key, value in changes.items():
                setattr(member, key, value)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_a_zip_is_read(tmp_path: Path) -> None:
    assert read(write_zip(tmp_path / "data.zip")) == CONTENT


@pytest.mark.parametrize("suffix", TAR_SUFFIXES)
def test_every_kind_of_tar_is_read(tmp_path: Path, suffix: str) -> None:
    assert read(write_tar(tmp_path / f"data{suffix}", TAR_SUFFIXES[suffix])) == CONTENT


def test_the_kind_is_told_by_the_bytes_and_not_by_the_name(tmp_path: Path) -> None:
    assert read(write_tar(tmp_path / "data.zip", "w:gz")) == CONTENT
    assert read(write_zip(tmp_path / "data.tar")) == CONTENT


def test_folders_in_archives_are_no_files(tmp_path: Path) -> None:
    folder = tmp_path / "chest_xray"
    (folder / "train").mkdir(parents=True)
    (folder / "train" / "a.jpeg").write_bytes(b"a")
    for kind in ("zip", "gztar"):
        path = Path(shutil.make_archive(str(tmp_path / kind), kind, tmp_path, "chest_xray"))
        assert read(path) == {"chest_xray/train/a.jpeg": b"a"}


def test_backslashes_of_a_zip_made_on_windows_separate_folders(tmp_path: Path) -> None:
    assert read(write_zip(tmp_path / "data.zip", {"train\\NORMAL\\a.jpeg": b"a"})) == {"train/NORMAL/a.jpeg": b"a"}


def test_a_folder_is_read_without_hidden_files_and_macosx(tmp_path: Path) -> None:
    for name in ("b/x.jpeg", "a/y.jpeg", "a/.hidden.jpeg", ".git/z.jpeg", "__MACOSX/a/y.jpeg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert list(read(tmp_path)) == ["a/y.jpeg", "b/x.jpeg"]


def test_links_in_a_folder_are_followed_once_and_loops_left(tmp_path: Path) -> None:
    (tmp_path / "store").write_bytes(b"x-ray")
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.jpeg").symlink_to(tmp_path / "store")
    (source / "loop").symlink_to(source)
    assert read(source) == {"a.jpeg": b"x-ray"}


def test_a_broken_link_in_a_folder_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "a.jpeg").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"No such file.*a\.jpeg"):
        read(tmp_path)


def test_a_source_that_is_not_there_is_an_error_that_lists_what_may_be_given(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"give a folder, an archive .*mendeley"):
        read(tmp_path / "missing")


ESCAPES = [
    "/etc/a.jpeg",
    "../a.jpeg",
    "train/../../a.jpeg",
    "..\\a.jpeg",
    "C:\\a.jpeg",
    "C:a.jpeg",
    "\\\\host\\share\\a",
]


@pytest.mark.parametrize("name", ESCAPES)
def test_a_zip_with_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="leads out"):
        read(write_zip(tmp_path / "data.zip", {**CONTENT, name: b"x"}))


@pytest.mark.parametrize("name", ESCAPES)
def test_a_tar_with_a_name_that_leads_out_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="leads out"):
        read(write_tar(tmp_path / "data.tar", content={**CONTENT, name: b"x"}))


def test_a_zip_with_a_nul_in_a_name_is_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", {"train/a.jpegX.exe": b"x"})
    path.write_bytes(path.read_bytes().replace(b"a.jpegX", b"a.jpeg\0"))
    with pytest.raises(DataError):
        read(path)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"Z"]
)
def test_a_tar_with_anything_but_files_and_folders_is_refused(tmp_path: Path, kind: bytes) -> None:
    path = write_tar(tmp_path / "data.tar", content={"train/a.jpeg": b""}, type=kind, linkname="/etc/passwd")
    with pytest.raises(DataError, match="link or a device"):
        read(path)


@pytest.mark.parametrize("kind", [0o120000, 0o020000, 0o010000])
def test_a_zip_with_anything_but_files_and_folders_is_refused(tmp_path: Path, kind: int) -> None:
    entry = zipfile.ZipInfo("train/NORMAL/a.jpeg")
    entry.create_system, entry.external_attr = 3, (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "data.zip", "w") as archive:
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(DataError, match="link or a device"):
        read(tmp_path / "data.zip")


def test_an_encrypted_zip_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", {"a.jpeg": b"x"})
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flag in the file's header, and in the directory
    data[data.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"encrypted: unpack it with its password"):
        read(path)


def test_a_compression_that_is_not_read_is_an_error(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "data.zip", {"a.jpeg": b"x"})
    data = bytearray(path.read_bytes())
    data[8] = data[data.index(b"PK\x01\x02") + 10] = 9  # Deflate64
    path.write_bytes(data)
    with pytest.raises(DataError, match="no whole"):
        read(path)


@pytest.mark.parametrize("suffix", [".zip", *TAR_SUFFIXES])
def test_an_archive_cut_anywhere_is_an_error_and_never_silently_short(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data{suffix}"
    write_zip(path) if suffix == ".zip" else write_tar(path, TAR_SUFFIXES[suffix])
    data = path.read_bytes()
    # The blocks of zeros at the end of a plain tar are padding but for the first.
    content_end = len(data.rstrip(b"\0")) if suffix == ".tar" else len(data) - 1
    for end in {1, 5, 300, 512, 512 + 5120, content_end // 2, content_end - 1, content_end}:
        if end <= content_end:
            path.write_bytes(data[:end])
            with pytest.raises(DataError, match="no whole"):
                read(path)


@pytest.mark.parametrize("suffix", [".zip", ".tgz", ".tar.bz2", ".tar.xz"])
def test_a_changed_byte_in_compressed_data_is_an_error(tmp_path: Path, suffix: str) -> None:
    path, noise = tmp_path / f"data{suffix}", {"a.jpeg": bytes(range(256)) * 40}
    write_zip(path, noise) if suffix == ".zip" else write_tar(path, TAR_SUFFIXES[suffix], noise)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(DataError):
        read(path)


def test_a_damaged_header_in_a_plain_tar_is_an_error_and_not_the_end(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "data.tar")
    data = bytearray(path.read_bytes())
    data[512 + 5120 + 10] ^= 0xFF  # in the name of the second file
    path.write_bytes(data)
    with pytest.raises(DataError, match="no proper end"):
        read(path)


def test_a_tar_behind_the_end_of_a_tar_is_an_error(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "data.tar")
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(DataError, match="follows its end"):
        read(path)


@pytest.mark.parametrize(
    "content", [b"", b"<!DOCTYPE html>", b"PK\x03\x04 and no more", b"\x1f\x8b\x08", b"BZh9", b"\xfd7zXZ\0"]
)
def test_bytes_that_are_no_archive_are_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "data.zip").write_bytes(content)
    with pytest.raises(DataError, match="no whole"):
        read(tmp_path / "data.zip")


@pytest.mark.parametrize("limits", [{"max_files": 1}, {"max_bytes": 5005}])
def test_an_archive_past_the_limits_is_refused(tmp_path: Path, limits: dict[str, int]) -> None:
    for path in (write_zip(tmp_path / "data.zip"), write_tar(tmp_path / "data.tgz", "w:gz")):
        with pytest.raises(DataError, match="unpacks to more than"):
            read(path, **limits)


def test_a_tar_that_claims_huge_files_is_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    member = tarfile.TarInfo("a.jpeg")
    member.size = 10**15
    (tmp_path / "bomb.tgz").write_bytes(gzip.compress(member.tobuf() + bytes(10**6)))
    with pytest.raises(DataError, match="unpacks to more than"):
        read(tmp_path / "bomb.tgz")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE])
def test_a_tar_header_that_would_fill_the_memory_is_refused(tmp_path: Path, kind: bytes) -> None:
    member = tarfile.TarInfo("x")
    member.type, member.size = kind, 2**32
    (tmp_path / "bomb.tgz").write_bytes(gzip.compress(member.tobuf() + bytes(10**6)))
    with pytest.raises(DataError, match="header is too large"):
        read(tmp_path / "bomb.tgz")


def test_a_negative_size_in_a_tar_ends_with_an_error_and_not_in_a_loop(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "data.tar", content={"a.jpeg": b"", "b.jpeg": b""})
    data = bytearray(path.read_bytes())
    data[512 + 124 : 512 + 136] = (-1024).to_bytes(12, "big", signed=True)
    data[512 + 148 : 512 + 156] = b"        "
    data[512 + 148 : 512 + 156] = b"%06o\0 " % sum(data[512:1024])
    path.write_bytes(data)
    with pytest.raises(DataError, match="no whole"):
        read(path)


def test_a_negative_size_in_a_pax_header_ends_with_an_error(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "data.tar", content={"a.jpeg": b""}, pax_headers={"size": "-3072"})
    with pytest.raises(DataError, match="no whole"):
        read(path)


def test_a_folder_that_can_not_be_written_is_told_apart_from_damage(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match=r"Copying from .* failed: No such file"),
        open_source(write_zip(tmp_path / "z")),
    ):
        (tmp_path / "missing" / "copy").write_bytes(b"")
