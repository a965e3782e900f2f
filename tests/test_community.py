"""What a newcomer meets beside the code: devcontainer, forms, owners, citation, and how files are written."""

import configparser
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from pneumonia import __version__

PROJECT = Path(__file__).parents[1]
MAKEFILE = (PROJECT / "Makefile").read_text(encoding="utf-8")
FORMS = sorted(path for path in (PROJECT / ".github" / "ISSUE_TEMPLATE").glob("*.yml") if path.stem != "config")


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.splitlines() if (path := PROJECT / name).is_file()]


class TestDevcontainer:
    SETTINGS = json.loads((PROJECT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8"))

    def test_it_makes_the_environment_that_the_makefile_makes(self) -> None:
        assert "DEV_ENV := $(VENV)/.dev" in MAKEFILE
        assert self.SETTINGS["postCreateCommand"].startswith("make .venv/.dev ")
        assert self.SETTINGS["containerEnv"]["PIP_CONSTRAINT"].endswith("/constraints.txt")
        assert self.SETTINGS["customizations"]["vscode"]["settings"]["python.defaultInterpreterPath"].endswith(
            "/.venv/bin/python"
        )

    def test_the_ports_of_api_and_page_are_forwarded(self) -> None:
        assert "PORT ?= 8000" in MAKEFILE
        assert self.SETTINGS["forwardPorts"] == [8000, 7860]

    def test_its_python_is_the_lowest_that_the_package_takes(self) -> None:
        lowest = re.search(r'requires-python = ">=(3\.\d+)', (PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
        assert lowest
        assert f":{lowest[1]}-" in self.SETTINGS["image"]


class TestCitation:
    CITATION = yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))

    def test_it_cites_this_version_under_this_license(self) -> None:
        assert self.CITATION["version"] == __version__
        assert self.CITATION["license"] == "Apache-2.0"
        assert "Apache License" in (PROJECT / "LICENSE").read_text(encoding="utf-8")

    def test_it_cites_the_data_that_the_readme_names(self) -> None:
        doi = next(entry["doi"] for entry in self.CITATION["references"] if entry["type"] == "data")
        assert doi in (PROJECT / "README.md").read_text(encoding="utf-8")


def test_owners_are_named_for_paths_that_exist() -> None:
    lines = (PROJECT / ".github" / "CODEOWNERS").read_text(encoding="utf-8").splitlines()
    rules = [line.split() for line in lines if line and not line.startswith("#")]
    assert rules[0][0] == "*"
    for path, *owners in rules:
        assert owners
        assert path == "*" or (PROJECT / path.strip("/")).exists(), path


@pytest.mark.parametrize("form", FORMS, ids=lambda path: path.stem)
def test_a_form_says_that_no_film_of_a_patient_belongs_into_it_where_one_might_be_put(form: Path) -> None:
    text = form.read_text(encoding="utf-8")
    assert form.stem == "proposal" or re.search(r"\b(no film of a patient|not\*{0,2} attach films of patients)", text)


def test_commands_that_the_guides_name_exist() -> None:
    for name in ("CONTRIBUTING.md", ".github/pull_request_template.md"):
        for words in re.findall(r"`?make ([a-z-]+(?: [a-z-]+)*)`", (PROJECT / name).read_text(encoding="utf-8")):
            for target in words.split():
                assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), f"{name}: make {target}"


class TestEditorConfig:
    def test_it_says_what_the_formatter_does(self) -> None:
        settings = configparser.ConfigParser()
        settings.read_string("[top]\n" + (PROJECT / ".editorconfig").read_text(encoding="utf-8"))
        ruff = re.search(
            r"^line-length = (\d+)", (PROJECT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
        )
        assert ruff
        assert settings["*"]["max_line_length"] == ruff[1]

    def test_every_text_file_is_written_that_way(self) -> None:
        wrong = []
        for path in tracked():
            content = path.read_bytes()
            if b"\x00" in content or not content or path.suffix in {".onnx", ".npz", ".png", ".svg"}:
                continue
            text = content.decode("utf-8")
            trailing = path.name != "dvc.lock" and re.search(r"[ \t]+$", text, re.MULTILINE)
            if "\r" in text or not text.endswith("\n") or trailing:
                wrong.append(path.relative_to(PROJECT))
            if path.suffix == ".py" and re.search(r"^ *\t", text, re.MULTILINE):
                wrong.append(path.relative_to(PROJECT))
        assert not wrong
