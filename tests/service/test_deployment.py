"""The deployment files: what they publish, which secrets they need, and that their commands exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


def test_nothing_is_published_but_the_dashboard_and_that_on_this_machine(services: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports == {"dashboard": ["127.0.0.1:8080:8080"]}
    assert not any("network_mode" in service or "privileged" in service for service in services.values())


def test_there_is_no_default_password() -> None:
    text = COMPOSE.read_text()
    used = re.findall(r"\$\{(\w*(?:PASSWORD|TOKEN)\w*)([^}]*)\}", text)
    assert {name for name, _ in used} == {"POSTGRES_PASSWORD", "RAY_AUTH_TOKEN"}
    assert all(rest.startswith(":?") for _, rest in used)
    assert not re.search(r"(?im)^\s*\w*(password|token): +(?!\$\{)", text)
    assert not re.search(r"://\w+:(?!\$\{)[^@\s]+@", text)


def test_services_wait_for_what_they_need_and_say_how_they_are(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if name != "coordinator":
            assert service["healthcheck"]["test"] and service["restart"] == "unless-stopped", name
        for other, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"} and "healthcheck" in services[other]
    volumes = yaml.safe_load(COMPOSE.read_text())["volumes"]
    for service in services.values():
        named = {mount.split(":")[0] for mount in service.get("volumes", ()) if mount[0].isalpha()}
        assert named <= set(volumes)


def test_workers_are_scalable_for_gpus_and_for_cpus(services: dict[str, Any]) -> None:
    assert services["gpu-worker"]["profiles"] == ["gpu"] and services["cpu-worker"]["profiles"] == ["cpu"]
    devices = services["gpu-worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices[0]["capabilities"] == ["gpu"]
    assert all("container_name" not in service for service in services.values())


def test_the_commands_have_only_options_there_are(services: dict[str, Any]) -> None:
    from tests.test_docs import options

    ran = re.findall(r"--[a-z-]+", services["coordinator"]["entrypoint"][2].split("nebula-tune run")[1])
    assert ran and set(ran) <= options("run")
    shown = re.findall(r"--[a-z-]+", services["dashboard"]["command"])
    assert shown and set(shown) <= options("dashboard")


def test_the_kubernetes_manifest_takes_its_secret_from_the_cluster() -> None:
    cluster, claim = yaml.safe_load_all((ROOT / "deploy/kuberay.yaml").read_text())
    assert (cluster["apiVersion"], cluster["kind"]) == ("ray.io/v1", "RayCluster")
    head = cluster["spec"]["headGroupSpec"]
    assert head["serviceType"] == "ClusterIP"
    container = head["template"]["spec"]["containers"][0]
    assert all("value" not in entry for entry in container["env"])
    worker = cluster["spec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]
    assert worker["image"] == container["image"] and worker["resources"]["limits"]["nvidia.com/gpu"] == "1"
    claims = [v["persistentVolumeClaim"]["claimName"] for v in head["template"]["spec"]["volumes"]]
    assert claims == [claim["metadata"]["name"]]


def test_the_job_of_kubernetes_runs_on_the_cluster_of_the_other_manifest() -> None:
    from tests.test_docs import options

    cluster, _ = yaml.safe_load_all((ROOT / "deploy/kuberay.yaml").read_text())
    (job,) = yaml.safe_load_all((ROOT / "deploy/rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    assert spec["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}
    refused = {"rayClusterSpec", "suspend", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished"}  # with a selector
    assert not refused & set(spec) and spec["backoffLimit"] == 0 and spec["submissionMode"] == "K8sJobMode"
    assert spec["entrypoint"].startswith("nebula-tune run ") and "--ray-address auto" in spec["entrypoint"]
    assert set(re.findall(r"--[a-z-]+", spec["entrypoint"])) <= options("run")
    assert all(isinstance(text, str) for text in spec["metadata"].values())
    mounted = {
        mount["mountPath"]
        for mount in cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    }
    places = {f"/{path.split('/')[1]}" for path in re.findall(r" (/\S+)", spec["entrypoint"])}
    assert places == mounted


def test_the_image_runs_as_a_user_and_holds_what_is_needed() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert "\nUSER tuner" in text
    for copied in re.findall(r"^COPY (.+) \S+$", text, re.M):
        assert all((ROOT / name).exists() for name in copied.split())
