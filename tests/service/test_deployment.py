"""The deployment files: what they publish, which secrets they need, and that their commands exist."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
LOCK = ROOT / "requirements.lock"
INSTALLED = ("postgres", "dashboard", "cluster")  # the image's extras
PINNED = re.compile(r"^([a-z0-9-]+)==([^ ;]+)(.*(?:\n    .*)*)", re.M)


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
    assert set(shown) == {"--host", "--port", "--artifacts", "--allow-host"} and set(shown) <= options("dashboard")


@pytest.fixture(scope="module")
def manifests() -> dict[str, Any]:
    """Kubernetes' manifests by kind."""
    return {each["kind"]: each for each in yaml.safe_load_all((ROOT / "deploy/kuberay.yaml").read_text())}


def pods(manifests: dict[str, Any]) -> dict[str, Any]:
    """What runs: the pods of head, worker and dashboard."""
    cluster = manifests["RayCluster"]["spec"]
    templates = {"head": cluster["headGroupSpec"], "worker": cluster["workerGroupSpecs"][0]}
    templates["dashboard"] = manifests["Deployment"]["spec"]
    return {name: each["template"]["spec"] for name, each in templates.items()}


def test_the_kubernetes_manifest_takes_its_secret_from_the_cluster(manifests: dict[str, Any]) -> None:
    cluster = manifests["RayCluster"]
    assert cluster["apiVersion"] == "ray.io/v1"
    assert cluster["spec"]["headGroupSpec"]["serviceType"] == "ClusterIP"
    containers = {name: pod["containers"][0] for name, pod in pods(manifests).items()}
    assert len({container["image"] for container in containers.values()}) == 1
    given = [entry for container in containers.values() for entry in container["env"]]
    assert {entry["name"] for entry in given if "value" in entry} == {"RAY_USAGE_STATS_ENABLED"}
    for name in ("head", "dashboard"):
        [secret] = [entry for entry in containers[name]["env"] if entry["name"] == "NEBULA_TUNE_STORAGE"]
        assert secret["valueFrom"] == {"secretKeyRef": {"name": "nebula-tune", "key": "storage"}}
    assert containers["worker"]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_pods_run_as_the_images_user_whose_group_has_the_volume(manifests: dict[str, Any]) -> None:
    assert "useradd --create-home --uid 1000 tuner" in dockerfile()[-1]
    for name, pod in pods(manifests).items():
        user = pod["securityContext"]
        assert user == {"runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000}, name
        claims = [volume["persistentVolumeClaim"]["claimName"] for volume in pod.get("volumes", ())]
        assert claims == ([] if name == "worker" else [manifests["PersistentVolumeClaim"]["metadata"]["name"]])


def test_kubernetes_dashboard_listens_in_its_pod_alone_and_only_reads(manifests: dict[str, Any]) -> None:
    from tests.test_docs import options

    pod = pods(manifests)["dashboard"]
    [container] = pod["containers"]
    shown = {word for word in container["command"] if word.startswith("--")}
    assert shown == {"--port", "--artifacts"} and shown <= options("dashboard")
    assert container["volumeMounts"] == [{"name": "data", "mountPath": "/data", "readOnly": True}]
    # a volume of one node: the dashboard goes where the head is
    [rule] = pod["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    cluster = manifests["RayCluster"]["metadata"]["name"]
    assert rule["labelSelector"]["matchLabels"] == {"ray.io/cluster": cluster, "ray.io/node-type": "head"}


def test_what_probes_call_is_in_the_image(manifests: dict[str, Any]) -> None:
    """KubeRay's own call bash, grep (both in the base) and wget; ours are named in the manifest."""
    installed = re.findall(r"apt-get install -y --no-install-recommends ([a-z0-9 -]+)", dockerfile()[-1])
    assert installed == ["wget "]
    called = [
        probe["exec"]["command"][0]
        for pod in pods(manifests).values()
        for container in pod["containers"]
        for kind, probe in container.items()
        if kind.endswith("Probe")
    ]
    assert called == ["wget"]


def test_rays_usage_statistics_are_off_everywhere(services: dict[str, Any], manifests: dict[str, Any]) -> None:
    assert "RAY_USAGE_STATS_ENABLED=0" in dockerfile()[-1]
    for name, service in services.items():
        assert name == "postgres" or service["environment"]["RAY_USAGE_STATS_ENABLED"] == "0", name
    for name in ("head", "worker"):
        [container] = pods(manifests)[name]["containers"]
        assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in container["env"], name


def dockerfile() -> list[str]:
    """The image's stages."""
    return re.split(r"^(?=FROM )", (ROOT / "Dockerfile").read_text(), flags=re.M)[1:]


def test_the_image_is_built_in_one_stage_and_runs_as_a_user_in_another() -> None:
    build, final = dockerfile()
    assert build.startswith("FROM python:3.11-slim AS build\n") and final.startswith("FROM python:3.11-slim\n")
    assert "COPY --from=build /installed /usr/local\n" in final and "\nUSER tuner" in final and "pip" not in final
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", build, re.M)
    assert "requirements.lock" in copied
    for names in copied:
        assert all((ROOT / name).exists() for name in names.split())
    assert "--require-hashes --requirement requirements.lock" in build


def pins(text: str) -> dict[str, tuple[str, str]]:
    """Version of each package in a lock, and what else stands there of it."""
    return {name: (version, rest) for name, version, rest in PINNED.findall(text)}


def test_the_lock_satisfies_pyproject_and_has_a_hash_for_everything() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(each) for each in project["dependencies"]]
    for extra in [*INSTALLED, "pictures"]:  # which dashboard's names
        wanted += [Requirement(each) for each in project["optional-dependencies"][extra]]
    locked = pins(LOCK.read_text())
    assert len(re.findall(r"^\S", LOCK.read_text(), re.M)) == len(locked) > len(wanted)
    assert all("--hash=sha256:" in rest for _, rest in locked.values())
    for requirement in wanted:
        if requirement.name != project["name"]:
            version, _ = locked[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), f"{requirement} against {version}: make lock"
    assert f'rayVersion: "{locked["ray"][0]}"' in (ROOT / "deploy/kuberay.yaml").read_text()
    assert f"TORCH := torch=={locked['torch'][0]}\n" in (ROOT / "Makefile").read_text()


def test_the_image_for_a_cpu_leaves_out_cuda_and_nothing_else(tmp_path: Path) -> None:
    """The very commands of the Dockerfile, but for pip's."""
    shutil.copy(LOCK, tmp_path)
    [torch] = re.findall(r'"\$\((grep .*)\)"', dockerfile()[0])
    [filtered] = re.findall(r"&& (awk .* other\.lock) ", dockerfile()[0])
    version = subprocess.check_output(torch, shell=True, cwd=tmp_path, text=True).strip()
    subprocess.check_call(filtered, shell=True, cwd=tmp_path)
    everything, left = pins(LOCK.read_text()), pins((tmp_path / "other.lock").read_text())
    assert version == f"torch=={everything['torch'][0]}"
    gone = set(everything) - set(left)
    assert {"torch", "triton", "nvidia-cudnn-cu13"} <= gone and len(gone) < 25
    assert all(left[name] == everything[name] for name in left)
    assert all(name.startswith(("torch", "triton", "nvidia-", "cuda-")) for name in gone)
    needed = [Requirement(each) for each in metadata.requires("torch") or ()]  # of this machine's
    needed = [each for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    assert {canonicalize_name(each.name) for each in needed} - gone <= set(left)


def test_the_job_of_kubernetes_runs_on_the_cluster_of_the_other_manifest(manifests: dict[str, Any]) -> None:
    from tests.test_docs import options

    cluster = manifests["RayCluster"]
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
