"""API keys: made, kept as hashes, found again, revoked; and what is no key."""

import multiprocessing
import re
import stat
from pathlib import Path

import pytest

from pneumonia.errors import ConfigError
from pneumonia.serving.keys import key_names, load_keys, new_key, revoke_key
from pneumonia.serving.keys_command import main


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "etc" / "keys"


def test_a_key_is_known_by_its_name_and_kept_as_its_hash(path: Path) -> None:
    key, other = new_key(path, "ward-7"), new_key(path, "study.2")
    assert re.fullmatch(r"pneu_[A-Za-z0-9_-]{43}", key)
    keys = load_keys(path)
    assert (keys.holder(key.encode()), keys.holder(other.encode())) == ("ward-7", "study.2")
    assert key not in path.read_text()
    assert key_names(path) == ["ward-7", "study.2"]


def test_only_its_owner_reads_the_file(path: Path) -> None:
    new_key(path, "one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    new_key(path, "two")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert {each.name for each in path.parent.iterdir()} <= {"keys", ".keys.lock"}


def test_a_key_that_is_revoked_is_not_known_any_more(path: Path) -> None:
    key, other = new_key(path, "one"), new_key(path, "two")
    revoke_key(path, "one")
    assert load_keys(path).holder(key.encode()) is None
    assert load_keys(path).holder(other.encode()) == "two"


@pytest.mark.parametrize(
    "change",
    [
        lambda key: b"",
        lambda key: key[:-1],
        lambda key: key + b"A",
        lambda key: key[:-1] + (b"A" if key[-1:] != b"A" else b"B"),
        lambda key: key.swapcase(),
        lambda key: key[5:],
        lambda key: key + b"\n",
        lambda key: b"pneu_" + b"A" * 43,
        lambda key: b"\xff" * 48,
    ],
)
def test_what_is_not_the_key_is_no_key(path: Path, change: object) -> None:
    key = new_key(path, "one").encode()
    assert load_keys(path).holder(change(key)) is None


def test_every_hash_is_compared_whichever_fits(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [new_key(path, f"key-{number}").encode() for number in range(5)]
    loaded, compared = load_keys(path), []
    monkeypatch.setattr("hmac.compare_digest", lambda *pair: compared.append(pair) or pair[0] == pair[1])
    for key in keys:
        compared.clear()
        assert loaded.holder(key)
        assert len(compared) == 5


def test_a_name_is_given_once(path: Path) -> None:
    new_key(path, "one")
    with pytest.raises(ConfigError, match="has a key 'one' already"):
        new_key(path, "one")


@pytest.mark.parametrize("name", ["", "a:b", "a b", "a\nb", "x" * 65, "ä"])
def test_a_name_is_fit_to_be_logged(path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="is no name for a key"):
        new_key(path, name)
    assert not path.exists()


def test_what_is_not_there_is_not_revoked(path: Path) -> None:
    new_key(path, "one")
    with pytest.raises(ConfigError, match="no key 'two'"):
        revoke_key(path, "two")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("", "holds no key"),
        ("# nothing\n\n", "holds no key"),
        ("one:sha256:00\n", "Line 1 "),
        ("one:" + "0" * 64, "Line 1 "),
        ("# a comment\none:md5:" + "0" * 64, "Line 2 "),
        (f"one:sha256:{'0' * 64}\none:sha256:{'1' * 64}\n", "Line 2 "),
        ("ä", "plain text"),
    ],
)
def test_a_file_that_can_not_be_meant_is_refused(path: Path, content: str, match: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(ConfigError, match=match) as caught:
        load_keys(path)
    assert "0" * 64 not in str(caught.value)


def test_a_file_that_is_missing_is_refused(path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        load_keys(path)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_refused(path: Path, mode: int) -> None:
    new_key(path, "one")
    path.chmod(mode)
    with pytest.raises(ConfigError, match="can be written by others"):
        load_keys(path)


def test_keys_that_are_made_at_once_are_all_kept(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    makers = [context.Process(target=new_key, args=(path, f"key-{number}")) for number in range(8)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(30)
    assert len(key_names(path)) == 8


class TestCommand:
    def test_it_prints_the_key_alone_and_once(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        main(["new", "one", "--file", str(path)])
        said = capsys.readouterr()
        key = said.out.strip()
        assert load_keys(path).holder(key.encode()) == "one"
        assert key not in said.err
        assert "only time" in said.err

    def test_it_lists_names_and_revokes(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for name in ("one", "two"):
            main(["new", name, "--file", str(path)])
        main(["revoke", "one", "--file", str(path)])
        capsys.readouterr()
        main(["list", "--file", str(path)])
        assert capsys.readouterr().out == "two\n"

    def test_the_file_may_be_said_by_the_environment(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PNEUMONIA_API_KEYS", str(path))
        main(["new", "one"])
        assert key_names(path) == ["one"]

    def test_without_a_file_it_asks_for_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("PNEUMONIA_API_KEYS", raising=False)
        with pytest.raises(ConfigError, match="--file"):
            main(["list"])
