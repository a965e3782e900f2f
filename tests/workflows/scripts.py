"""What the tests of workflows share: the checkout, its scripts as modules, and an environment for its tools."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

PROJECT = Path(__file__).parents[2]
WORKFLOWS = sorted((PROJECT / ".github" / "workflows").glob("*.yml"))


def script(path: str) -> ModuleType:
    """A script of `.ci` or `.github`, as a module."""
    specification = importlib.util.spec_from_file_location(Path(path).stem, PROJECT / path)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    sys.modules[module.__name__] = module
    specification.loader.exec_module(module)
    return module


def read(path: Path) -> dict[str, Any]:
    content: dict[Any, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {"on" if key is True else key: value for key, value in content.items()}  # YAML 1.1 takes `on` for true


def environment() -> dict[str, str]:
    """This process's, with the tools of its Python on the PATH and no git repository but that of the folder."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return {**kept, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}
