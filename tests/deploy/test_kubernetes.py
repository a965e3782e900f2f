"""deploy/kubernetes: what kustomize makes of each overlay is valid, and what it promises."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

PROJECT = Path(__file__).parents[2]
OVERLAYS = ("local", "production")
# The oldest that knows `sleep` before an end without a feature gate, and the newest that there is a schema for.
VERSIONS = ("1.32", kubernetes_validate.latest_version())

pytestmark = pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl, which has kustomize, is not installed")

Resource = dict[str, Any]


@pytest.fixture(scope="module", params=OVERLAYS)
def resources(request: pytest.FixtureRequest) -> list[Resource]:
    made = subprocess.run(
        ["kubectl", "kustomize", PROJECT / "deploy" / "kubernetes" / "overlays" / request.param],
        check=True,
        capture_output=True,
        text=True,
    )
    assert made.stderr == ""  # where kustomize says what is deprecated
    return list(yaml.safe_load_all(made.stdout))


def of_kind(resources: list[Resource], kind: str) -> dict[str, Resource]:
    return {each["metadata"]["name"]: each for each in resources if each["kind"] == kind}


def pods(resources: list[Resource]) -> dict[str, Resource]:
    return {name: each["spec"]["template"] for name, each in of_kind(resources, "Deployment").items()}


def container(pod: Resource) -> Resource:
    (only,) = pod["spec"]["containers"]
    return only


@pytest.mark.parametrize("version", VERSIONS)
def test_every_resource_is_valid_and_has_no_field_that_kubernetes_does_not_know(
    resources: list[Resource], version: str
) -> None:
    for each in resources:
        kubernetes_validate.validate(each, version, strict=True)


def test_there_is_all_that_the_api_needs(resources: list[Resource]) -> None:
    kinds = ("Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy")
    for kind in (*kinds, "ServiceAccount"):
        assert "api" in of_kind(resources, kind), kind


def test_pods_run_as_nobody_in_particular_on_a_file_system_that_they_cannot_write(resources: list[Resource]) -> None:
    for pod in pods(resources).values():
        spec, inner = pod["spec"], container(pod)["securityContext"]
        assert spec["automountServiceAccountToken"] is False
        assert (spec["securityContext"]["runAsNonRoot"], spec["securityContext"]["runAsUser"]) == (True, 10001)
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert (inner["readOnlyRootFilesystem"], inner["allowPrivilegeEscalation"]) == (True, False)
        assert inner["capabilities"] == {"drop": ["ALL"]}
        assert [mount["mountPath"] for mount in container(pod)["volumeMounts"] if not mount.get("readOnly")] == ["/tmp"]


def test_probes_ask_for_readiness_and_for_life(resources: list[Resource]) -> None:
    api = container(pods(resources)["api"])
    paths = {name: api[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/health", "readiness": "/health", "liveness": "/health/live"}


def test_selectors_find_the_pods_that_they_are_for(resources: list[Resource]) -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(resources).items()}
    for name in ("api", "page"):
        selectors = [
            of_kind(resources, "Service")[name]["spec"]["selector"],
            of_kind(resources, "PodDisruptionBudget")[name]["spec"]["selector"]["matchLabels"],
            of_kind(resources, "NetworkPolicy")[name]["spec"]["podSelector"]["matchLabels"],
        ]
        for selector in selectors:
            assert [pod for pod in labels if selector.items() <= labels[pod].items()] == [name]
        ports = [port["name"] for port in container(pods(resources)[name])["ports"]]
        assert [port["targetPort"] for port in of_kind(resources, "Service")[name]["spec"]["ports"]] == ports
    target = of_kind(resources, "HorizontalPodAutoscaler")["api"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", "api")
    # Otherwise applying it again would undo what the autoscaler has decided.
    assert "replicas" not in of_kind(resources, "Deployment")["api"]["spec"]


def test_nobody_speaks_to_a_pod_unless_a_policy_says_so(resources: list[Resource]) -> None:
    policies = of_kind(resources, "NetworkPolicy")
    assert policies["nobody"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert "egress" not in policies["api"]["spec"]
    assert {"podSelector": {"matchLabels": pods(resources)["page"]["metadata"]["labels"]}} in (
        policies["api"]["spec"]["ingress"][0]["from"]
    )


def test_a_request_is_answered_before_a_pod_ends(resources: list[Resource]) -> None:
    pod = pods(resources)["api"]
    wait = container(pod)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["spec"]["terminationGracePeriodSeconds"] >= wait + 30 + 5


def test_the_commands_are_the_packages_own(resources: list[Resource]) -> None:
    from pneumonia.serving.options import parse

    arguments = container(pods(resources)["api"])["args"]
    environment = {each["name"]: each["value"] for each in container(pods(resources)["api"])["env"]}
    assert arguments[0] == "serve"
    options = parse(
        [argument.replace("$(PNEUMONIA_WORKERS)", environment["PNEUMONIA_WORKERS"]) for argument in arguments[1:]]
    )
    assert (options.host, options.port, str(options.bundle)) == ("0.0.0.0", 8000, "/bundle")
    assert options.workers == int(environment["PNEUMONIA_WORKERS"])


def test_the_page_asks_the_service_of_the_api(resources: list[Resource]) -> None:
    from pneumonia.demo.options import parse

    command, *words = container(pods(resources)["page"])["args"]
    options = parse(words)
    assert (command, options.host, options.url) == ("demo", "0.0.0.0", "http://api")
    assert [port["port"] for port in of_kind(resources, "Service")["api"]["spec"]["ports"]] == [80]
    assert [port["containerPort"] for port in container(pods(resources)["page"])["ports"]] == [options.port]


def test_keys_in_production_come_from_secrets(resources: list[Resource]) -> None:
    namespaces = of_kind(resources, "Namespace")
    if "pneumonia" not in namespaces:
        pytest.skip("of production alone")
    api, page = pods(resources)["api"], pods(resources)["page"]
    (keys,) = [volume["secret"] for volume in api["spec"]["volumes"] if "secret" in volume]
    assert (keys["secretName"], keys["defaultMode"] & 0o022) == ("api-keys", 0)
    (key,) = [each for each in container(page)["env"] if each["name"] == "PNEUMONIA_API_KEY"]
    assert key["valueFrom"] == {"secretKeyRef": {"name": "page-key", "key": "key"}}
