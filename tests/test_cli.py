"""The command line itself: its list of commands, its exit codes, and what it says when something is missing."""

import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pneumonia import DISCLAIMER, __version__
from pneumonia.cli import COMMANDS, main

Command = Callable[..., "subprocess.CompletedProcess[str]"]

HEAVY = {"numpy", "torch", "PIL", "pydicom", "onnxruntime", "matplotlib", "lightning", "litserve", "gradio", "asyncio"}
LOADED = """
import sys
from pneumonia.cli import main
try:
    main(sys.argv[1:])
finally:
    print(*sys.modules, file=sys.stderr)
"""
WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None  # as if it were not installed
from pneumonia.cli import main
main(sys.argv[2:])
"""


def run(code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-c", code, *arguments]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)


def code_of(arguments: list[str]) -> object:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_lists_every_command_in_a_line_and_what_it_is_not_for(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of([flag]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, command in COMMANDS.items():
        assert [line for line in lines if line.split() == [name, *command.help.split()]]
    assert DISCLAIMER in lines


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_and_version_load_nothing_heavy(flag: str) -> None:
    done = run(LOADED, flag)
    assert done.returncode == 0
    loaded = set(done.stderr.split())
    assert not loaded & HEAVY
    assert {name for name in loaded if name.startswith("pneumonia.")} == {"pneumonia.cli", "pneumonia.errors"}


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(["--version"]) == 0
    assert capsys.readouterr().out == f"pneumonia {__version__}\n"


def test_without_a_command_the_help_is_shown_and_the_exit_code_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of([]) == 2
    assert "usage: pneumonia COMMAND" in capsys.readouterr().out


@pytest.mark.parametrize("word", ["nonsense", "", "--nonsense", "FIT", "data.fetch"])
def test_a_command_that_does_not_exist_is_named_and_the_exit_code_is_2(
    word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of([word]) == 2
    assert (
        capsys.readouterr().err == f"pneumonia: error: there is no command {word!r}; `pneumonia --help` lists them.\n"
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_exists(name: str) -> None:
    module, _, function = COMMANDS[name].function.partition(":")
    assert callable(getattr(importlib.import_module(module), function))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_of_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of([name, "--help"]) == 0
    assert re.match(rf"usage: pneumonia (\[options\] )?{name} ", capsys.readouterr().out)


@pytest.mark.parametrize("name", ["data", "evaluate", "classify", "registry", "serve", "keys", "demo"])
def test_commands_that_do_not_train_load_no_torch_for_their_help(name: str) -> None:
    done = run(LOADED, name, "--help")
    assert done.returncode == 0
    assert not {"torch", "lightning", "torchvision"} & set(done.stderr.split())


def test_an_option_that_does_not_exist_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(["classify", "--nonsense", "film.png"]) == 2
    assert "--nonsense" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["classify", "--bundle", "nowhere", "film.png"],
        ["data", "stats", "--data", "nowhere"],
        ["registry", "--root", "nowhere", "pull", "best", "--output", "x"],
        ["export", "--checkpoint", "nowhere.ckpt", "--output", "x"],
        ["fit", "--data.root=nowhere", "--trainer.default_root_dir={tmp}"],
    ],
    ids=lambda words: words[0],
)
def test_an_error_is_explained_in_a_message_and_ends_with_1(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    network = ["--model.network=pneumonia.models.SmallResNet"] if words[0] == "fit" else []
    assert code_of([*(word.format(tmp=tmp_path) for word in words), *network]) == 1
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("pneumonia: error: ")
    assert "nowhere" in error.splitlines()[-1]
    assert "Traceback" not in error


def test_a_file_that_can_not_be_read_ends_with_1_after_the_others(
    bundle_dir: Path, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no film")
    good = str(next((tree / "test" / "NORMAL").iterdir()))
    assert code_of(["classify", "--bundle", str(bundle_dir), str(tmp_path / "bad.png"), good]) == 1
    bad_line, good_line = capsys.readouterr().out.splitlines()
    assert "error" in bad_line
    assert good_line.startswith(good)


@pytest.mark.parametrize(
    ("module", "extra", "words"),
    [
        ("torch", "train", ["fit", "--config=x.yaml"]),
        ("torch", "train", ["export", "--checkpoint", "x.ckpt", "--output", "x"]),
        ("gradio", "demo", ["demo"]),
    ],
)
def test_a_missing_library_is_named_with_the_extra_that_installs_it(module: str, extra: str, words: list[str]) -> None:
    done = run(WITHOUT, module, *words)
    assert done.returncode == 1
    assert done.stderr == (
        f"pneumonia: error: `{words[0]}` needs {module}, which is not installed: pip install 'pneumonia[{extra}]'\n"
    )


def test_serving_without_its_library_says_so(bundle_dir: Path, free_port: int) -> None:
    done = run(WITHOUT, "litserve", "serve", "--bundle", str(bundle_dir), "--port", str(free_port))
    assert done.returncode == 1
    assert done.stderr.endswith("`serve` needs litserve, which is not installed: pip install 'pneumonia[serve]'\n")


def test_a_module_of_the_package_itself_that_is_missing_is_a_bug_and_shown_as_one() -> None:
    done = run(WITHOUT, "pneumonia.registry.resolve", "serve")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_python_m_is_the_command(command: Command) -> None:
    done = command("--version")
    assert (done.returncode, done.stdout) == (0, f"pneumonia {__version__}\n")


def test_a_reader_that_hangs_up_is_no_error(tree: Path, bundle_dir: Path) -> None:
    files = [str(path) for path in (tree / "test").rglob("*.jpeg")] * 20
    words = [sys.executable, "-m", "pneumonia", "classify", "--bundle", str(bundle_dir), *files]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 141
    assert "Traceback" not in error
