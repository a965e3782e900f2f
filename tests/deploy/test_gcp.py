"""deploy/gcp: what the scripts would do, do again, and refuse; the real gcloud parses each of their commands."""

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from deploy.gcp.render import render
from deploy.sizing import measured
from tests.deploy.conftest import GCP, PROJECT, shown

if TYPE_CHECKING:
    from tests.deploy.conftest import Check, Cloud

SCRIPTS = [
    ("setup.sh",),
    ("serve.sh",),
    ("train.sh",),
    ("build.sh",),
    ("build.sh", "now", "v1.2"),
    ("monitoring.sh",),
    ("vm.sh", "create", "sync", "train", "log", "fetch", "stop", "delete"),
]
EVERYTHING = {
    "API_INVOKERS": "user:jane@example.org,group:ward@example.org",
    "PAGE_INVOKERS": "allUsers",
    "ALERT_EMAIL": "jane@example.org",
    "TRAIN_ACCELERATOR": "NVIDIA_TESLA_T4",
    "WANDB": "yes",
    "BUILD_REGISTRY": "wandb://entity/registry",
    "BUILD_BUNDLE": "reference:best",
    "BUILD_REPOSITORY": "projects/p/locations/europe-west4/connections/github/repositories/pneumonia",
}
NOTHING = {"API_KEYS": "no"}


def of(commands: list[list[str]], *words: str) -> list[list[str]]:
    return [command for command in commands if command[: len(words)] == list(words)]


def flags(command: list[str]) -> dict[str, str]:
    return dict(word[2:].partition("=")[::2] for word in command if word.startswith("--"))


@pytest.mark.slow
@pytest.mark.parametrize("settings", [EVERYTHING, NOTHING], ids=["everything", "nothing"])
def test_a_dry_run_calls_nothing_and_gcloud_understands_what_it_shows(
    cloud: "Cloud", google: "Check", settings: dict[str, str]
) -> None:
    commands = []
    for script, *words in SCRIPTS:
        ran = cloud.run(script, "--dry-run", *words, **settings)
        assert ran.returncode == 0, ran.stderr
        assert shown(ran.stdout), script
        commands += shown(ran.stdout) + shown(ran.stderr)
    assert cloud.calls() == []
    assert google(commands, []) == []


def test_gcloud_does_refuse_what_it_does_not_know(google: "Check") -> None:
    wrong = google(
        [
            ["gcloud", "run", "deploy", "x", "--image=x", "--concurency=1"],
            ["gcloud", "run", "deploy", "x", "--image=x", "--concurrency=many"],
            ["gcloud", "run", "services", "update", "x", "--image=x", "--region=europe-west4"],
            ["curl", "--request", "PUT", "https://monitoring.googleapis.com/v3/projects/p/services/s"],
            ["curl", "--request", "POST", "https://monitoring.googleapis.com/v3/projects/p/services?serviceName=s"],
            ["curl", "--request", "POST", "https://monitoring.googleapis.com/v3/projects/p/services?serviceId=s"],
        ],
        [
            ("monitoring", "v3", "AlertPolicy", {"displayName": "x", "conditions": [{"condition": {}}]}),
            ("monitoring", "v3", "AlertPolicy", {"combiner": "XOR"}),
            ("monitoring", "v3", "AlertPolicy", {"displayName": 1}),
            ("monitoring", "v3", "AlertPolicy", {"displayName": "x", "combiner": "OR"}),
        ],
    )
    assert [line.split(":")[0] for line in wrong] == [
        "run deploy x --image=x --concurency=1",
        "run deploy x --image=x --concurrency=many",
        "AlertPolicy.conditions",
        "AlertPolicy",
        "AlertPolicy",
        "PUT https",
        "https",
    ]


@pytest.mark.slow
def test_a_second_run_makes_nothing_anew(cloud: "Cloud", google: "Check") -> None:
    scripts = [("setup.sh",), ("serve.sh",), ("train.sh",), ("build.sh",), ("monitoring.sh",), ("vm.sh", "create")]
    commands = []
    for _ in range(2):
        for script, *words in scripts:
            ran = cloud.run(script, *words, **EVERYTHING)
            assert ran.returncode == 0, (script, ran.stderr)
        commands.append(cloud.calls())
    makes = [
        [call for call in calls if {"create", "POST"} & set(call) or call[1:4] == ["secrets", "versions", "add"]]
        for calls in commands
    ]
    assert len(makes[0]) > 25
    assert makes[1] == []
    changes = {"update", "PATCH"}
    assert sum(bool(changes & set(call)) for call in commands[1]) == 4 + 1 + 3 + 8 + 1 + 1 + 1
    assert google(commands[0] + commands[1], []) == []


def test_the_token_is_in_no_list_of_processes(cloud: "Cloud") -> None:
    assert cloud.run("monitoring.sh").returncode == 0
    calls = [call for call in cloud.calls() if call[0] == "curl"]
    assert calls
    for call in calls:
        assert call[-1] == "Authorization: Bearer the-token\n"  # from the pipe
        assert not any("the-token" in word for word in call[:-1])


def test_what_fails_stops_the_script(cloud: "Cloud") -> None:
    (cloud.folder / "exits").write_text(json.dumps({"gcloud": 1}))
    for script, *words in SCRIPTS[:-1]:
        assert cloud.run(script, *words, **EVERYTHING).returncode != 0, script


# ---- settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PROJECT", "$(touch owned)"),
        ("BUCKET", "name; rm -rf /"),
        ("REGION", "europe"),
        ("IMAGE_TAG", "a b"),
        ("API_INVOKERS", "jane@example.org"),
        ("API_KEYS", "maybe"),
        ("AVAILABILITY_GOAL", "1.5"),
        ("TRAIN_CONFIG", "../../etc/passwd"),
        ("TRAIN_CONFIG", "nothere"),
        ("ZONE", "us-central1-a"),
        ("BUILD_BUNDLE", "reference:best"),
        ("API_MIN_INSTANCES", "9"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_name_before_anything_is_done(
    cloud: "Cloud", name: str, value: str
) -> None:
    ran = cloud.run("setup.sh", **{name: value})
    assert ran.returncode == 1
    assert name in ran.stderr
    assert cloud.calls() == []
    assert not (cloud.folder / "owned").exists()


def test_all_that_is_wrong_is_said_at_once(cloud: "Cloud") -> None:
    path = cloud.settings(PROJECT="", REGION="x")
    path.write_text(path.read_text().replace("BUCKET=", "BUKET=") + "PROJECT=again-here\nnonsense\n")
    ran = cloud.command(["bash", str(GCP / "setup.sh"), "--settings", str(path)])
    assert ran.returncode == 1
    for word in ("PROJECT can't be ''", "REGION can't be 'x'", "BUKET is no setting", "BUCKET is missing", "set twice"):
        assert word in ran.stderr
    assert "is not NAME=value" in ran.stderr


def test_every_setting_is_in_the_example_and_has_a_rule() -> None:
    names = re.findall(r"^([A-Z_]+)=", (GCP / "settings.example.env").read_text(), re.M)
    assert sorted(names) == sorted(re.findall(r"^  \[([A-Z_]+)\]=", (GCP / "lib.sh").read_text(), re.M))


@pytest.mark.parametrize("words", [["--nonsense"], ["--settings"], ["--settings", "/nowhere"]])
def test_a_wrong_option_is_refused(cloud: "Cloud", words: list[str]) -> None:
    ran = cloud.command(["bash", str(GCP / "setup.sh"), *words])
    assert (ran.returncode, cloud.calls()) == (1, [])
    assert ran.stderr


def test_a_value_stays_inside_of_its_string() -> None:
    filled = render('{"script": "${SCRIPT}", "n": ${N}}', {"SCRIPT": 'echo "$HOME"\n\\', "N": "3", "+a": "b"})
    assert filled == {"script": 'echo "$HOME"\n\\', "n": 3, "a": "b"}
    with pytest.raises(KeyError):
        render('"${MISSING}"', {})


# ---- who may do what


def test_each_account_may_do_what_it_is_for_and_no_more(cloud: "Cloud") -> None:
    roles: dict[str, set[tuple[str, str]]] = {}
    for script in ("setup.sh", "serve.sh", "build.sh"):
        assert cloud.run(script).returncode == 0
        for call in cloud.calls():
            verb = "add-iam-policy-binding"
            if verb in call:
                given = flags(call)
                member = given["member"].removeprefix("serviceAccount:").partition("@")[0]
                on = call[call.index(verb) - 1] + " " + call[call.index(verb) + 1]
                roles.setdefault(member, set()).add((on, given["role"].removeprefix("roles/")))
    accounts = "@your-project.iam.gserviceaccount.com"
    assert roles == {
        "pneumonia-api": {("secrets pneumonia-api-keys", "secretmanager.secretAccessor")},
        "pneumonia-page": {
            ("secrets pneumonia-page-key", "secretmanager.secretAccessor"),
            ("services pneumonia-api", "run.invoker"),
        },
        "pneumonia-train": {
            ("secrets pneumonia-wandb", "secretmanager.secretAccessor"),
            ("buckets gs://your-project-pneumonia", "storage.objectUser"),
            ("projects your-project", "logging.logWriter"),
        },
        "pneumonia-build": {
            ("secrets pneumonia-wandb", "secretmanager.secretAccessor"),
            ("repositories pneumonia", "artifactregistry.writer"),
            ("projects your-project", "logging.logWriter"),
            ("services pneumonia-api", "run.developer"),
            ("services pneumonia-page", "run.developer"),
            (f"service-accounts pneumonia-api{accounts}", "iam.serviceAccountUser"),
            (f"service-accounts pneumonia-page{accounts}", "iam.serviceAccountUser"),
        },
        "service-123456789012": {("services pneumonia-api", "run.invoker")},
    }


def test_nobody_from_outside_may_call_unless_the_settings_say_so(cloud: "Cloud") -> None:
    assert cloud.run("serve.sh").returncode == 0
    calls = cloud.calls()
    assert all("--no-allow-unauthenticated" in call for call in of(calls, "gcloud", "run", "deploy"))
    assert not any("allUsers" in word for call in calls for word in call)
    assert cloud.run("serve.sh", "page", PAGE_INVOKERS="allUsers").returncode == 0
    opened = [call for call in cloud.calls() if "--member=allUsers" in call]
    assert [call[4] for call in opened] == ["pneumonia-page"]


# ---- Cloud Run


def test_the_api_has_the_sizes_that_were_measured_and_a_command_that_it_knows(
    cloud: "Cloud", monkeypatch: pytest.MonkeyPatch
) -> None:
    from pneumonia.serving.options import parse

    assert cloud.run("serve.sh", "api").returncode == 0
    (deploy,) = of(cloud.calls(), "gcloud", "run", "deploy")
    given, sizes = flags(deploy), measured()
    assert (given["cpu"], given["memory"]) == (str(sizes.cpu), f"{sizes.memory_mib}Mi")
    assert given["concurrency"] == str(sizes.concurrency)
    # Workers that stand still for lack of a processor would look as if they hung.
    assert "no-cpu-throttling" in given
    for pair in given["set-env-vars"].split(","):
        monkeypatch.setenv(*pair.split("=", 1))
    command, *words = given["args"].split(",")
    options = parse(words)
    assert (command, options.host, str(options.bundle), options.port) == (
        "serve",
        "0.0.0.0",
        "/bundle",
        int(given["port"]),
    )
    assert (options.workers, options.log_format, options.timeout) == (sizes.workers, "json", 30)
    assert (options.max_bytes, options.max_pixels) == (sizes.max_bytes, sizes.max_pixels)
    assert options.max_bytes_in_flight == sizes.max_bytes_in_flight
    assert str(options.api_keys) == "/etc/pneumonia/keys"
    assert given["set-secrets"].startswith("/etc/pneumonia/keys=")
    assert int(given["timeout"]) > options.timeout


def test_the_page_asks_the_api_where_it_will_be(cloud: "Cloud") -> None:
    from pneumonia.demo.options import parse

    assert cloud.run("serve.sh", "page").returncode == 0
    (deploy,) = of(cloud.calls(), "gcloud", "run", "deploy")
    url = "https://pneumonia-api-123456789012.europe-west4.run.app"
    command, *words = flags(deploy)["args"].split(",")
    options = parse(words)
    assert (command, options.host, options.url) == ("demo", "0.0.0.0", url)
    assert options.port == int(flags(deploy)["port"])


def test_without_keys_nothing_is_taken_from_secrets(cloud: "Cloud") -> None:
    assert cloud.run("serve.sh", API_KEYS="no").returncode == 0
    for deploy in of(cloud.calls(), "gcloud", "run", "deploy"):
        assert "--clear-secrets" in deploy
        assert not any("KEY" in word for word in deploy)


# ---- files


def rendered(cloud: "Cloud", name: str) -> Any:
    return json.loads((cloud.rendered / name).read_text(encoding="utf-8"))


def test_files_are_what_googles_interfaces_take(cloud: "Cloud", google: "Check") -> None:
    for script in ("train.sh", "monitoring.sh"):
        assert cloud.run(script, **EVERYTHING).returncode == 0
    kinds = {
        "job.json": ("aiplatform", "v1", "GoogleCloudAiplatformV1CustomJobSpec"),
        "monitoring/dashboard.json": ("monitoring", "v1", "Dashboard"),
        "monitoring/service.json": ("monitoring", "v3", "Service"),
        "monitoring/objectives/*.json": ("monitoring", "v3", "ServiceLevelObjective"),
        "monitoring/policies/*.json": ("monitoring", "v3", "AlertPolicy"),
        "monitoring/metrics/*.json": ("logging", "v2", "LogMetric"),
    }
    messages = [
        (*kind, json.loads(path.read_text(encoding="utf-8")))
        for pattern, kind in kinds.items()
        for path in sorted(cloud.rendered.glob(pattern))
    ]
    assert len(messages) == 1 + 1 + 1 + 2 + 8 + 4
    build = yaml.safe_load((GCP / "cloudbuild.yaml").read_text(encoding="utf-8"))
    messages += [
        ("cloudbuild", "v1", "Build", build),
        ("storage", "v1", "Bucket", {"lifecycle": json.loads((GCP / "bucket-lifecycle.json").read_text())}),
    ]
    assert google([], messages) == []


def test_a_job_trains_in_our_image_as_its_own_account(cloud: "Cloud") -> None:
    assert cloud.run("train.sh", "mine", **EVERYTHING).returncode == 0
    job = rendered(cloud, "job.json")
    (pool,) = job["workerPoolSpecs"]
    assert pool["machineSpec"]["acceleratorType"] == "NVIDIA_TESLA_T4"
    assert pool["containerSpec"]["args"] == [(GCP / "train_and_keep.sh").read_text().rstrip("\n")]
    assert pool["containerSpec"]["imageUri"].endswith("/pneumonia/train:latest")
    variables = {each["name"]: each["value"] for each in pool["containerSpec"]["env"]}
    assert variables["KEEP"] == "/gcs/your-project-pneumonia/runs/mine"
    assert job["serviceAccount"] == "pneumonia-train@your-project.iam.gserviceaccount.com"
    assert job["scheduling"]["timeout"] == "14400s"


def test_alerts_and_dashboard_speak_of_metrics_and_objectives_that_there_are(cloud: "Cloud") -> None:
    assert cloud.run("monitoring.sh", **EVERYTHING).returncode == 0
    text = "".join(
        path.read_text()
        for path in [*cloud.rendered.glob("monitoring/policies/*.json"), cloud.rendered / "monitoring/dashboard.json"]
    )
    metrics = {json.loads(path.read_text())["name"] for path in cloud.rendered.glob("monitoring/metrics/*.json")}
    assert set(re.findall(r"logging\.googleapis\.com/user/(\w+)", text)) == metrics
    objectives = {path.stem for path in cloud.rendered.glob("monitoring/objectives/*.json")}
    assert set(re.findall(r"serviceLevelObjectives/(\w+)", text)) == objectives
    latency = rendered(cloud, "monitoring/objectives/latency.json")["serviceLevelIndicator"]["basicSli"]["latency"]
    assert float(latency["threshold"].rstrip("s")) * 1000 == measured().latency_ms
    assert '"42"' not in text
    assert 'check_id=\\"42\\"' in text  # the uptime check that was made just before


def test_builds_are_of_the_dockerfiles_with_arguments_that_they_take() -> None:
    build = yaml.safe_load((GCP / "cloudbuild.yaml").read_text(encoding="utf-8"))
    steps = [step for step in build["steps"] if step["args"][0] == "build"]
    assert len(steps) == 3
    for step in steps:
        file = next(word.partition("=")[2] for word in step["args"] if word.startswith("--file="))
        if not (PROJECT / file).exists():
            pytest.skip(f"there is no {file}")
        declared = set(re.findall(r"^ARG (\w+)", (PROJECT / file).read_text(), re.M))
        assert {word.split("=")[1] for word in step["args"] if word.startswith("--build-arg=")} <= declared
    assert not any("WANDB" in word and word.startswith("--build-arg") for step in steps for word in step["args"])
