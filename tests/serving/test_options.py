"""Every limit of `pneumonia serve` is a flag and an environment variable, and is documented with its default."""

import re
from pathlib import Path

import pytest

from pneumonia.errors import ConfigError
from pneumonia.images import DEFAULT_LIMITS
from pneumonia.serving.options import parse
from pneumonia.serving.server import ServerOptions

LIMITS = {
    "max_bytes": DEFAULT_LIMITS.max_bytes,
    "max_pixels": DEFAULT_LIMITS.max_pixels,
    "max_concurrent": 256,
    "max_queue": 128,
    "max_bytes_in_flight": 512 * 2**20,
    "timeout": 30,
}
DOCUMENT = Path(__file__).parents[2] / "docs" / "http.md"


def flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    return "PNEUMONIA_" + name.upper()


@pytest.mark.parametrize(("name", "default"), LIMITS.items())
def test_a_limit_has_a_default(name: str, default: float) -> None:
    assert getattr(parse([]), name) == default


@pytest.mark.parametrize("name", sorted(set(LIMITS) - {"max_bytes", "max_pixels"}))
def test_a_server_that_is_built_without_the_command_has_the_same(name: str) -> None:
    assert getattr(ServerOptions(1, DEFAULT_LIMITS), name) == LIMITS[name]


@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_may_be_set_by_the_environment_and_the_flag_wins(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable(name), "17")
    assert getattr(parse([]), name) == 17
    assert getattr(parse([flag(name), "18"]), name) == 18


@pytest.mark.parametrize("text", ["0", "-1", "many", "nan", "inf", "1e400"])
@pytest.mark.parametrize("name", LIMITS)
def test_a_limit_that_is_none_is_refused_by_its_names(
    name: str, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable(name), text)
    with pytest.raises(SystemExit) as ended:
        parse([])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert flag(name) in error
    assert variable(name) in error


@pytest.mark.parametrize(("name", "default"), LIMITS.items())
def test_a_limit_is_documented_with_its_default(name: str, default: int) -> None:
    row = re.search(rf"^\| `{flag(name)}` \| `{variable(name)}` \| ([0-9,]+)", DOCUMENT.read_text(), re.MULTILINE)
    assert row is not None
    assert int(row[1].replace(",", "")) == default


def test_no_page_may_call_unless_it_is_named() -> None:
    assert parse([]).cors_origin == []
    words = ["--cors-origin", "https://ward.example", "--cors-origin", "HTTP://localhost:3000"]
    assert parse(words).cors_origin == ["https://ward.example", "http://localhost:3000"]


def test_origins_may_be_said_by_the_environment_and_the_flag_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PNEUMONIA_CORS_ORIGINS", "https://a.example, https://b.example:8443,")
    assert parse([]).cors_origin == ["https://a.example", "https://b.example:8443"]
    assert parse(["--cors-origin", "*"]).cors_origin == ["*"]


@pytest.mark.parametrize("origin", ["ward.example", "https://", "https://a.example/", "null", "https://*.example"])
def test_what_is_no_origin_is_refused(origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit):
        parse(["--cors-origin", origin])
    monkeypatch.setenv("PNEUMONIA_CORS_ORIGINS", origin)
    with pytest.raises(ConfigError, match="PNEUMONIA_CORS_ORIGINS"):
        parse([])


def test_beside_keys_the_page_needs_one_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PNEUMONIA_API_KEYS", "keys")
    assert parse([]).api_keys == Path("keys")
    with pytest.raises(ConfigError, match="--demo"):
        parse(["--demo"])
    monkeypatch.setenv("PNEUMONIA_API_KEY", "the page's own")
    assert parse(["--demo"]).demo
