"""The local registry: versions and aliases that stay right with many at work, and rules for what becomes best."""

import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pneumonia.bundle import GRAPH, load_bundle, write_bundle
from pneumonia.errors import BundleError, PneumoniaError, RegistryError
from pneumonia.registry.command import main
from pneumonia.registry.local import LocalRegistry
from tests.registry.conftest import push_tested

Make = Callable[..., Path]

PUSH = """
import sys
from pathlib import Path
from pneumonia.registry.local import LocalRegistry
registry, times = LocalRegistry(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
input()
for _ in range(times):
    registry.push(Path(sys.argv[3]), ["candidate"])
"""
PROMOTE = PUSH.replace('push(Path(sys.argv[3]), ["candidate"])', "promote(sys.argv[3])")


def start_pushing(root: Path, directory: Path, times: int) -> "subprocess.Popen[str]":
    return start(PUSH, root, times, directory)


def start(code: str, *arguments: object) -> "subprocess.Popen[str]":
    words = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(list(map(str, words)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def let_go(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("\n")
    process.stdin.flush()


def close(process: "subprocess.Popen[str]") -> None:
    process.communicate()


def holders(registry: LocalRegistry, alias: str) -> list[str]:
    return [entry.reference for entry in registry.list() if alias in entry.aliases]


def test_versions_of_a_name_are_counted_and_kept(registry: LocalRegistry, make: Make) -> None:
    pushed = [registry.push(make(name), []) for name in ("cnn", "cnn", "other", "cnn")]
    assert [entry.reference for entry in pushed] == ["cnn:v1", "cnn:v2", "other:v1", "cnn:v3"]
    assert registry.list() == pushed


def test_what_is_pulled_is_what_was_pushed(registry: LocalRegistry, make: Make) -> None:
    directory = make(wrong=3)
    entry = registry.push(directory, ["candidate"])
    for reference in ("cnn:v1", "cnn:candidate", "candidate"):
        pulled = registry.pull(reference)
        assert {path.name: path.read_bytes() for path in pulled.iterdir()} == {
            path.name: path.read_bytes() for path in directory.iterdir()
        }
    assert entry.bundle_version == load_bundle(directory).version


def test_what_was_pushed_stays_when_its_source_is_gone(registry: LocalRegistry, make: Make) -> None:
    directory = make()
    registry.push(directory, [])
    shutil.rmtree(directory)
    assert load_bundle(registry.pull("cnn:v1"))


def test_an_alias_moves_to_what_was_pushed_last_whatever_its_name(registry: LocalRegistry, make: Make) -> None:
    registry.push(make("cnn"), ["candidate", "today", "candidate"])
    assert registry.list()[0].aliases == ["candidate", "today"]
    registry.push(make("other"), ["candidate"])
    assert holders(registry, "candidate") == ["other:v1"]
    assert holders(registry, "today") == ["cnn:v1"]
    assert registry.find("candidate").name == "other"


@pytest.mark.parametrize(
    "reference", ["nothing", "cnn:v2", "cnn:best", "other:v1", "v1", "", ":", "cnn:", ":v1", "cnn"]
)
def test_a_reference_to_nothing_is_an_error_that_lists_what_there_is(
    registry: LocalRegistry, make: Make, reference: str
) -> None:
    registry.push(make(), ["candidate"])
    with pytest.raises(RegistryError, match=r"There is no .*cnn:v1 \['candidate'\]"):
        registry.pull(reference)


def test_an_empty_registry_says_so(registry: LocalRegistry) -> None:
    assert registry.list() == []
    with pytest.raises(RegistryError, match="it is empty"):
        registry.pull("best")
    assert not registry.root.exists()


@pytest.mark.parametrize("alias", ["", "v1", "v12", "a b", "../up", "a/b", "a:b", ".hidden", "-x", "a\n", "ä"])
def test_an_alias_that_would_be_mistaken_for_something_else_is_refused(
    registry: LocalRegistry, make: Make, alias: str
) -> None:
    with pytest.raises(RegistryError, match="is no name for a bundle or alias"):
        registry.push(make(), [alias])
    assert registry.list() == []


@pytest.mark.parametrize("name", ["../up", "v3", "a/b", ""])
def test_a_bundle_whose_name_leads_elsewhere_is_refused(
    registry: LocalRegistry, bundle_dir: Path, tmp_path: Path, name: str
) -> None:
    directory = Path(shutil.copytree(bundle_dir, tmp_path / "bundle"))
    write_bundle(replace(load_bundle(bundle_dir), directory=directory, name=name))
    with pytest.raises(RegistryError, match="is no name for a bundle or alias"):
        registry.push(directory, [])


def test_a_damaged_bundle_is_not_pushed(registry: LocalRegistry, make: Make) -> None:
    directory = make()
    with (directory / GRAPH).open("ab") as graph:
        graph.write(b"\0")
    with pytest.raises(BundleError, match="SHA-256"):
        registry.push(directory, ["candidate"])
    assert registry.list() == []


def test_an_entry_that_was_damaged_since_is_neither_pulled_nor_promoted(registry: LocalRegistry, make: Make) -> None:
    push_tested(registry, make(), "candidate")
    with (registry.pull("candidate") / GRAPH).open("ab") as graph:
        graph.write(b"\0")
    for use in (registry.pull, registry.promote):
        with pytest.raises(RegistryError, match=r" in .* is damaged"):
            use("candidate")
    assert not holders(registry, "best")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"entries": 1}', b'{"entries": [{"name": "cnn"}]}', b"\xff"])
def test_a_damaged_index_is_an_error_and_is_not_written_over(
    registry: LocalRegistry, make: Make, content: bytes
) -> None:
    registry.push(make(), [])
    index = registry.root / "registry.json"
    index.write_bytes(content)
    with pytest.raises(RegistryError, match=r"registry\.json can't be read"):
        registry.push(make(), [])
    assert index.read_bytes() == content


def test_the_first_real_bundle_may_become_best(registry: LocalRegistry, make: Make) -> None:
    push_tested(registry, make(wrong=100), "candidate")
    assert registry.promote("candidate").aliases == ["candidate", "best"]
    assert holders(registry, "best") == ["cnn:v1"]


@pytest.mark.parametrize("synthetic", [True, False])
def test_nothing_becomes_best_without_being_promoted(registry: LocalRegistry, make: Make, synthetic: bool) -> None:
    with pytest.raises(RegistryError, match="'best' is given by `pneumonia registry promote`"):
        registry.push(make(synthetic=synthetic), ["candidate", "best"])
    assert registry.list() == []


def test_who_did_what_when_and_why_is_kept(registry: LocalRegistry, make: Make) -> None:
    push_tested(registry, make(), "candidate")
    registry.promote("candidate", reason="first of its kind")
    push_tested(registry, make("other"))
    registry.alias("other:v1", "ward", reason="trial")
    registry.unalias("ward", reason="trial is over")
    history = registry.history()
    assert [(event.action, event.reference, event.alias, event.previous, event.reason) for event in history] == [
        ("push", "cnn:v1", "candidate", "", ""),
        ("promote", "cnn:v1", "best", "", "first of its kind"),
        ("push", "other:v1", "", "", ""),
        ("alias", "other:v1", "ward", "", "trial"),
        ("unalias", "other:v1", "ward", "other:v1", "trial is over"),
    ]
    assert all(event.when and event.who and not event.forced for event in history)
    assert holders(registry, "ward") == []


def test_best_is_neither_given_nor_taken_like_another_alias(registry: LocalRegistry, make: Make) -> None:
    push_tested(registry, make(), "candidate")
    registry.promote("candidate")
    for change in (lambda: registry.alias("cnn:v1", "best"), lambda: registry.unalias("best")):
        with pytest.raises(RegistryError, match="'best' is given by"):
            change()
    with pytest.raises(RegistryError, match="There is no 'ward'"):
        registry.unalias("ward")
    assert holders(registry, "best") == ["cnn:v1"]


def test_best_goes_back_step_by_step_to_what_held_it(registry: LocalRegistry, make: Make) -> None:
    for name in ("one", "two", "three"):
        push_tested(registry, make(name))
        registry.promote(f"{name}:v1")
    for name in ("two", "one"):
        assert registry.rollback(reason="it misled").reference == f"{name}:v1"
        assert holders(registry, "best") == [f"{name}:v1"]
    with pytest.raises(RegistryError, match="nothing held 'best' before"):
        registry.rollback()
    assert holders(registry, "best") == ["one:v1"]
    registry.promote("three:v1")
    assert registry.rollback().reference == "one:v1"
    assert [event.reason for event in registry.history() if event.action == "rollback"] == ["it misled"] * 2 + [""]


def test_best_does_not_go_back_to_what_was_damaged(registry: LocalRegistry, make: Make) -> None:
    for name in ("one", "two"):
        push_tested(registry, make(name))
        registry.promote(f"{name}:v1")
    with (registry.root / "one" / "v1" / GRAPH).open("ab") as graph:
        graph.write(b"\0")
    with pytest.raises(RegistryError, match=r"one:v1 in .* is damaged"):
        registry.rollback()
    assert holders(registry, "best") == ["two:v1"]


def test_a_registry_without_history_is_read_and_goes_on(registry: LocalRegistry, make: Make) -> None:
    push_tested(registry, make())
    registry.promote("cnn:v1")
    index = registry.root / "registry.json"
    [entry] = json.loads(index.read_text())["entries"]
    del entry["metadata"]  # as it was written before there was any
    index.write_text(json.dumps({"entries": [entry]}))
    push_tested(registry, make("other"))
    registry.promote("other:v1")
    assert registry.rollback().reference == "cnn:v1"


def test_what_is_noted_of_an_entry_stays_with_it(registry: LocalRegistry, make: Make) -> None:
    registry.push(make(), ["candidate"])
    registry.annotate("candidate", {"staged": {"passed": True}, "note": "one"})
    registry.annotate("cnn:v1", {"note": "two"})
    assert registry.find("candidate").metadata == {"staged": {"passed": True}, "note": "two"}
    registry.push(make(), ["candidate"])
    assert registry.find("candidate").metadata == {}


def test_a_version_is_not_given_again_when_it_was_removed_by_hand(registry: LocalRegistry, make: Make) -> None:
    for _ in range(2):
        registry.push(make(), [])
    index = registry.root / "registry.json"
    content = json.loads(index.read_text())
    index.write_text(json.dumps({**content, "entries": content["entries"][:1]}))
    assert registry.push(make(), []).reference == "cnn:v3"


def test_an_entry_is_found_by_what_a_prediction_says_of_its_model(registry: LocalRegistry, make: Make) -> None:
    directory = make()
    for _ in range(2):
        registry.push(directory, [])
    version = load_bundle(directory).version
    assert registry.find(f"cnn:{version}").reference == registry.find(version).reference == "cnn:v2"
    with pytest.raises(RegistryError, match="There is no"):
        registry.find(f"other:{version}")


def test_pushing_from_many_processes_at_once_loses_nothing(registry: LocalRegistry, make: Make) -> None:
    processes = [start_pushing(registry.root, make(name), 5) for name in ("cnn", "cnn", "other")]
    for process in processes:
        let_go(process)
    for process in processes:
        close(process)
        assert process.returncode == 0
    assert Counter(entry.name for entry in registry.list()) == {"cnn": 10, "other": 5}
    assert len({entry.reference for entry in registry.list()}) == 15
    assert holders(registry, "candidate") == [registry.list()[-1].reference]
    for entry in registry.list():
        assert load_bundle(registry.pull(entry.reference)).name == entry.name


def test_promoting_and_pushing_at_once_loses_neither(registry: LocalRegistry, make: Make) -> None:
    push_tested(registry, make())
    process = start_pushing(registry.root, make(), 10)
    let_go(process)
    for _ in range(10):
        registry.promote("cnn:v1")
    close(process)
    assert len(registry.list()) == 11
    assert holders(registry, "best") == ["cnn:v1"]


def test_promoting_from_many_processes_at_once_records_every_step(registry: LocalRegistry, make: Make) -> None:
    for name in ("one", "two"):
        push_tested(registry, make(name))
    processes = [start(PROMOTE, registry.root, 6, f"{name}:v1") for name in ("one", "two", "one")]
    for process in processes:
        let_go(process)
    for process in processes:
        close(process)
        assert process.returncode == 0
    moves = [event for event in registry.history() if event.alias == "best"]
    assert [event.previous for event in moves] == ["", *(event.reference for event in moves[:-1])]
    assert holders(registry, "best") == [moves[-1].reference]
    assert len(registry.history()) == 2 + len(moves)


def test_a_push_that_is_killed_leaves_nothing_half(registry: LocalRegistry, make: Make) -> None:
    chance, directory = random.Random(0), make()
    for _ in range(5):
        before = registry.list()
        process = start_pushing(registry.root, directory, 10_000)
        let_go(process)
        time.sleep(chance.uniform(0.005, 0.1))
        process.kill()
        close(process)
        entries = registry.list()
        assert [entry.reference for entry in entries[: len(before)]] == [entry.reference for entry in before]
        for entry in entries:
            registry.pull(entry.reference)
        assert holders(registry, "candidate") == [entry.reference for entry in entries[-1:]]
    count = len(registry.list())
    assert registry.push(directory, []).version == f"v{count + 1}"


def test_the_command_pushes_lists_promotes_and_pulls(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, directory = ["--root", str(tmp_path / "registry")], make()
    main([*root, "push", str(directory), "--alias", "today", "--promote"])
    main([*root, "list"])
    main([*root, "promote", "today"])
    main([*root, "pull", "best", "--output", str(tmp_path / "pulled")])
    assert load_bundle(tmp_path / "pulled").version == load_bundle(directory).version
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "pushed cnn:v1 ['today']"
    promoted = lines.index("promoted cnn:v1 to best")
    assert lines[promoted + 1].split()[0] == "cnn:v1"
    assert lines[promoted + 1].endswith("today best")


def test_the_command_says_why_a_bundle_is_pushed_but_not_promoted(
    make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = ["--root", str(tmp_path / "registry")]
    assert main([*root, "push", str(make(synthetic=True)), "--promote"]) == 0
    assert "not promoted: " in capsys.readouterr().out
    assert len(LocalRegistry(tmp_path / "registry").list()) == 1


def test_the_command_does_not_pull_over_what_is_there(make: Make, tmp_path: Path) -> None:
    root = ["--root", str(tmp_path / "registry")]
    main([*root, "push", str(make())])
    (tmp_path / "there").mkdir()
    with pytest.raises(PneumoniaError, match="exists already"):
        main([*root, "pull", "candidate", "--output", str(tmp_path / "there")])


def test_the_index_is_json_that_people_can_read(registry: LocalRegistry, make: Make) -> None:
    registry.push(make(), ["candidate"])
    [entry] = json.loads((registry.root / "registry.json").read_text())["entries"]
    assert (entry["name"], entry["version"], entry["aliases"]) == ("cnn", "v1", ["candidate"])
