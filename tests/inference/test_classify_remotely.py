"""`pneumonia classify --url`: the same lines as with a bundle, from a server."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from pneumonia.cli import main

if TYPE_CHECKING:
    from tests.stand_in import Reply, StandIn

    Start = Callable[..., StandIn]

Command = Callable[..., Any]

NOT_FOUND = {"error": {"code": "not_found", "message": "There is nothing here."}, "request_id": "abc123"}

WHAT_IT_LOADS = """
import sys
from pneumonia.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*{"onnxruntime", "pneumonia.inference.engine", "torch", "gradio"} & set(sys.modules), file=sys.stderr)
"""


@pytest.fixture
def classify(capsys: pytest.CaptureFixture[str]) -> Command:
    """`pneumonia classify ...` in this process."""

    def run(*words: object) -> "subprocess.CompletedProcess[str]":
        with pytest.raises(SystemExit) as ended:
            main(["classify", *map(str, words)])
        said = capsys.readouterr()
        return subprocess.CompletedProcess(words, int(ended.value.code or 0), said.out, said.err)

    return run


@pytest.fixture
def films(tmp_path: Path, draw_film: Callable[..., Image.Image]) -> list[Path]:
    """Good files and bad ones, two of them with the same name."""
    paths = [tmp_path / name / "film.png" for name in "abc"]
    for seed, path in enumerate(paths):
        path.parent.mkdir()
        draw_film(seed, "NORMAL", 100 + 20 * seed, 80).save(path)
    cut, notes = tmp_path / "cut.png", tmp_path / "notes.jpeg"
    cut.write_bytes(paths[0].read_bytes()[:200])
    notes.write_bytes(b"These are notes.")
    return [paths[0], cut, paths[1], tmp_path / "nowhere.png", notes, paths[2]]


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_server_says_line_for_line_what_its_bundle_says(
    classify: Command, bundle_dir: Path, server: str, films: list[Path], form: list[str]
) -> None:
    here = classify(*films, *form, "--bundle", bundle_dir)
    there = classify(*films, *form, "--url", server)
    assert (there.returncode, there.stderr) == (here.returncode, here.stderr) == (1, "")
    if not form:
        assert there.stdout == here.stdout
        return
    for mine, its in zip(
        map(json.loads, here.stdout.splitlines()), map(json.loads, there.stdout.splitlines()), strict=True
    ):
        if "error" not in mine:
            # The server's engine runs other batches, which round otherwise.
            assert its.pop("probability") == pytest.approx(mine.pop("probability"), abs=1e-5)
            assert its.pop("probabilities") == pytest.approx(mine.pop("probabilities"), abs=1e-5)
            assert its.pop("input_check")["passed"] == mine.pop("input_check")["passed"]
        assert its == mine


def test_a_folder_of_good_films_ends_with_0_in_order(classify: Command, server: str, tree: Path) -> None:
    result = classify(tree / "test", "--json", "--url", server)
    assert result.returncode == 0
    paths = [json.loads(line)["path"] for line in result.stdout.splitlines()]
    assert paths == [str(path) for path in sorted((tree / "test").rglob("*.jpeg"))]


def test_heatmaps_are_those_of_the_films(classify: Command, server: str, films: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "heatmaps"
    result = classify(*films, "--json", "--heatmaps", folder, "--url", server)
    good = [line for line in map(json.loads, result.stdout.splitlines()) if "error" not in line]
    assert len(good) == 3
    assert sorted(Path(line["heatmap_path"]) for line in good) == sorted(folder.iterdir())
    for line in good:
        with Image.open(line["path"]) as film, Image.open(line["heatmap_path"]) as heatmap:
            assert (heatmap.format, heatmap.size) == ("PNG", film.size)


def test_neither_engine_nor_torch_is_loaded(server: str, films: list[Path]) -> None:
    words = [sys.executable, "-c", WHAT_IT_LOADS, "classify", str(films[0]), "--url", server]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_a_server_that_is_down_is_told_in_one_line(
    classify: Command, films: list[Path], free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pneumonia.client.retries.random.random", lambda: 0.0)  # no wait between the attempts
    result = classify(films[0], films[2], "--url", f"http://127.0.0.1:{free_port}")
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"pneumonia: error: No server can be reached at http://127.0.0.1:{free_port}")


@pytest.mark.parametrize(
    ("status", "content", "told"),
    [
        (200, b"<html>Welcome</html>", "check the address"),
        (404, b"Not Found", "check the address"),
        (404, NOT_FOUND, "There is nothing here. (HTTP 404, request abc123)"),
    ],
)
def test_another_server_is_told_in_one_line(
    classify: Command,
    films: list[Path],
    stand_in: "Start",
    reply: "type[Reply]",
    status: int,
    content: object,
    told: str,
) -> None:
    result = classify(films[0], films[2], "--url", stand_in(reply(status, content)).url)
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert told in line


def test_an_error_of_one_film_has_its_own_line(
    classify: Command, films: list[Path], stand_in: "Start", reply: "type[Reply]", refusal: Callable[..., object]
) -> None:
    failing = stand_in(reply(500, refusal("internal_error", "The server failed.")))
    result = classify(films[0], films[2], "--url", failing.url)
    assert (result.returncode, result.stderr) == (1, "")
    assert result.stdout.splitlines() == [
        f"{path}: error: The server failed. (HTTP 500, request abc123)" for path in (films[0], films[2])
    ]


def start(url: str, *paths: Path) -> "subprocess.Popen[bytes]":
    words = [sys.executable, "-m", "pneumonia", "classify", *map(str, paths), "--url", url]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_reader_that_goes_away_ends_it_without_a_trace(server: str, tree: Path) -> None:
    process = start(server, *[tree] * 5)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as said:
        assert said.read() == b""
    assert process.wait(timeout=120) == 141


def test_ctrl_c_does_not_wait_for_a_server_that_hangs(films: list[Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = start(f"http://127.0.0.1:{silent.getsockname()[1]}", films[0], films[2])
        connection, _ = silent.accept()
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=20)
        connection.close()
    assert (process.returncode, out, said) == (130, b"", b"")


# ---- the key


@pytest.fixture
def locked(stand_in: "Start", reply: "type[Reply]", refusal: Callable[..., object]) -> "StandIn":
    """A server that takes no key."""
    return stand_in(reply(401, refusal("unauthorized", "A key is missing or wrong.")))


def test_the_key_of_a_file_goes_before_that_of_the_environment(
    classify: Command,
    films: list[Path],
    tmp_path: Path,
    locked: "StandIn",
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PNEUMONIA_API_KEY", "of-the-environment\n")
    (tmp_path / "key").write_text("of-the-file\n")
    for words, told in [(["--api-key-file", tmp_path / "key"], "of-the-file"), ([], "of-the-environment")]:
        result = classify(films[0], "--url", locked.url, *words)
        assert {asked.headers["x-api-key"] for asked in locked.asked} == {told}
        assert (result.returncode, result.stdout) == (1, "")
        (line,) = result.stderr.splitlines()
        assert "refuses the key" in line
        assert told not in line
        locked.asked.clear()


def test_a_server_that_asks_for_a_key_is_told_in_one_line(
    classify: Command, films: list[Path], locked: "StandIn", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PNEUMONIA_API_KEY", raising=False)
    result = classify(films[0], films[2], "--url", locked.url)
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert "asks for a key" in line
    assert "--api-key-file" in line
    assert all("x-api-key" not in asked.headers for asked in locked.asked)


@pytest.mark.parametrize("content", [None, b"", b" \n", b"two words", b"a\nb", b"\xff\xfe"])
def test_a_file_without_a_key_is_told_in_one_line(
    classify: Command, films: list[Path], tmp_path: Path, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    result = classify(films[0], "--url", "http://127.0.0.1:1", "--api-key-file", tmp_path / "key")
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert "key" in line
    assert "two words" not in line


# ---- the command line


@pytest.mark.parametrize(
    "words",
    [
        ["--url", "http://127.0.0.1:1", "--bundle", "x"],
        ["--url", "http://127.0.0.1:1", "--registry", "best"],
        ["--api-key-file", "key"],
    ],
)
def test_options_that_do_not_go_together_end_with_2(classify: Command, words: list[str]) -> None:
    assert classify("film.png", *words).returncode == 2


def test_what_is_no_address_is_told_in_one_line(classify: Command) -> None:
    result = classify("film.png", "--url", "me:geheim@127.0.0.1")
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "is no address" in line
    assert "geheim" not in line


def test_without_its_library_it_says_how_to_get_it() -> None:
    code = "import sys; sys.modules['httpx'] = None\nfrom pneumonia.cli import main\nmain(sys.argv[1:])"
    words = [sys.executable, "-c", code, "classify", "film.png", "--url", "http://127.0.0.1:1"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "pneumonia: error: `pneumonia.client` needs httpx, which is not installed: pip install 'pneumonia[client]'\n"
    )
