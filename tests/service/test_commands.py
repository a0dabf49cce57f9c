"""The very commands of docker-compose.yml, and the page's Ray job, run on this machine. `make deployment-test`."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.service.postgres import BINARIES, Postgres, free_port
from tests.service.studies import ServiceStudy, assert_same, wait_for
from tests.study.tiny import TinyStudy

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow
TOKEN = "0123456789abcdef" * 4


class Machine:
    """Commands under one environment; ends every process that inherited it, however far it went into the background."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder, self.environment = folder, environment
        self._mark = f"NEBULA_TUNE_TEST_MACHINE={folder}"
        name, value = self._mark.split("=")
        path = f"{Path(sys.executable).parent}:{BINARIES}:{os.environ['PATH']}"
        self._all = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), name: value} | environment

    def start(self, arguments: list[str], **environment: str) -> subprocess.Popen[str]:
        self.log = self.folder / f"{time.monotonic_ns()}.log"
        environment = self._all | environment
        with self.log.open("w") as log:
            return subprocess.Popen(
                arguments, cwd=self.folder, env=environment, stdout=log, stderr=subprocess.STDOUT, text=True
            )

    def run(self, arguments: list[str], seconds: float = 240, **environment: str) -> str:
        """What a command says that must succeed."""
        process = self.start(arguments, **environment)
        process.wait(seconds)
        said = self.log.read_text()
        assert process.returncode == 0, said
        return said

    def succeeds(self, arguments: list[str], **environment: str) -> bool:
        return self.start(arguments, **environment).wait(60) == 0

    def end(self) -> None:
        for number in range(2):
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit() and int(entry.name) != os.getpid():
                    try:
                        if self._mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                            os.kill(int(entry.name), signal.SIGKILL)
                    except OSError:
                        continue
            time.sleep(number == 0)
        shutil.rmtree(self.environment["RAY_TMPDIR"], ignore_errors=True)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=TOKEN, RAY_TMPDIR=tempfile.mkdtemp(prefix="nt"))
    yield made
    made.end()


class Compose:
    """docker-compose.yml, its variables filled in, and its hosts, ports and folders replaced by this machine's."""

    def __init__(self, machine: Machine, postgres: Postgres) -> None:
        self.ports = {"6379": free_port(), "8080": free_port()}
        self._places = {
            "postgresql://nebula:secret@postgres/studies": postgres.url(),
            "ray-head:6379": f"127.0.0.1:{self.ports['6379']}",
            "/data": str(machine.folder),
        }
        self.services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]

    def filled(self, text: str) -> str:
        text = re.sub(r"\$\{POSTGRES_PASSWORD:\?[^}]*\}", "secret", text)
        text = re.sub(r"\$\{RAY_AUTH_TOKEN:\?[^}]*\}", TOKEN, text).replace("$$", "$")
        text = re.sub(r"\$\{\w+:-(\w+)\}", r"\1", text)  # what has a default
        for theirs, ours in self._places.items():
            text = text.replace(theirs, ours)
        return re.sub(r"\b(6379|8080)\b", lambda found: str(self.ports[found[0]]), text)

    def command(self, service: str, key: str = "command") -> list[str]:
        found = self.services[service][key]
        return shlex.split(self.filled(found)) if isinstance(found, str) else [self.filled(word) for word in found]

    def check(self, service: str) -> list[str]:
        kind, *words = self.services[service]["healthcheck"]["test"]
        assert kind == "CMD"
        return [self.filled(word) for word in words]

    def environment(self, service: str) -> dict[str, str]:
        ours = {"NEBULA_TUNE_CACHE"}  # the test's own
        return {k: self.filled(v) for k, v in self.services[service]["environment"].items() if k not in ours}


def test_every_service_of_the_compose_file_runs(
    machine: Machine, target: Path, undisturbed: TinyStudy, postgres: Postgres
) -> None:
    compose, study = Compose(machine, postgres), ServiceStudy(machine.folder, target, postgres.url())
    study.forget()

    def up(service: str) -> None:
        started = machine.start(compose.command(service), **compose.environment(service))
        wait_for(lambda: machine.succeeds(compose.check(service), **compose.environment(service)), 120)
        assert started.poll() is None

    assert machine.succeeds([*compose.check("postgres"), "-h", "127.0.0.1", "-p", str(postgres.port)])
    for service in ("ray-head", "cpu-worker", "dashboard"):
        up(service)
    assert compose.command("gpu-worker") == compose.command("cpu-worker")
    arguments = ["--target", str(target), "--study", "tiny.yaml", "--name", "tiny", "--out", str(study.nebula)]
    environment = compose.environment("coordinator")
    said = machine.run([*compose.command("coordinator", "entrypoint"), *arguments], **environment)
    assert "gap closed" in said and (machine.folder / "nebula-tune.log").exists()
    assert_same(study, undisturbed)
    again = machine.run(["nebula-tune", "status", "tiny", "--json"], **environment)
    assert '"state": "finished"' in again


def test_a_run_as_a_ray_job(machine: Machine, target: Path, undisturbed: TinyStudy) -> None:
    study = TinyStudy(machine.folder, target)
    head, server, agent = free_port(), free_port(), free_port()
    arguments = f"ray start --head --port={head} --dashboard-port={server} --num-cpus=2 --num-gpus=0 --block"
    arguments += f" --dashboard-agent-listen-port={agent}"
    machine.start(arguments.split(), NEBULA_TUNE_STORAGE=study.storage)
    page = (ROOT / "docs/service.md").read_text()
    shown = re.search(r"ray job submit.*?\n\n", page, re.DOTALL)
    assert shown
    written = shown[0].replace("\\\n", " ").split("\n")[0]
    written = written.replace("http://HEAD:8265", f"http://127.0.0.1:{server}").replace("/data/sounds", str(target))
    written = written.replace("drums", "tiny").replace("/data/tiny.json", str(study.nebula))
    address = ["--address", f"http://127.0.0.1:{server}"]
    submit = [*shlex.split(written), "--study", str(machine.folder / "tiny.yaml")]
    wait_for(lambda: machine.succeeds(submit), 240)  # refused until the head and its job server are ready
    job = re.search(r"Job '(\S+)' submitted", machine.log.read_text())
    assert job
    for port, place in ((agent, "local_raylet_healthz"), (server, "gcs_healthz")):  # KubeRay's probes have no token
        probe = f"wget --tries 1 -T 10 -q -O- http://localhost:{port}/api/{place} | grep success"
        assert machine.run(["bash", "-c", probe]).strip() == "success"

    wait_for(study.nebula.exists, 240)
    wait_for(lambda: "succeeded" in machine.run(["ray", "job", "status", *address, job[1]]))
    assert "gap closed" in machine.run(["ray", "job", "logs", *address, job[1]])
    assert_same(study, undisturbed)


def test_runs_queue_and_are_listed_and_cancelled_by_ray(machine: Machine, target: Path, undisturbed: TinyStudy) -> None:
    study = TinyStudy(machine.folder, target)
    shown = re.search(
        r"RAY_JOB_START_TIMEOUT_SECONDS=.*?ray job stop[^\n]*\n", (ROOT / "docs/service.md").read_text(), re.DOTALL
    )
    assert shown
    head, submit, *managing = [line.strip() for line in shown[0].replace("\\\n", " ").splitlines() if line.strip()]
    server = free_port()
    places = {"http://HEAD:8265": f"http://127.0.0.1:{server}", "/data/sounds": str(target), '"runs": 2': '"runs": 1'}
    places |= {"--port=6379": f"--port={free_port()} --dashboard-port={server} --block", "--num-cpus=0": "--num-cpus=2"}

    def words(line: str, name: str) -> list[str]:
        for theirs, ours in places.items():
            line = line.replace(theirs, ours)
        line = line.partition("  #")[0].replace("/data/drums.json", str(machine.folder / f"{name}.json"))
        return shlex.split(line.replace("drums", name))

    def listed() -> dict[str, str]:
        said = machine.run(words(managing[0], ""))
        return dict(re.findall(r"submission_id='(\w+)'.*?status=<JobStatus\.(\w+):", said, re.DOTALL))

    (setting, began), *start = [words(head, "")[0].split("="), *words(head, "")[1:]]
    machine.start(start, **{setting: began, "NEBULA_TUNE_STORAGE": study.storage})
    study_file = ["--study", str(machine.folder / "tiny.yaml")]
    long = [*words(submit, "long"), *study_file, "--trials", "2000", "--sounds", "2000"]
    wait_for(lambda: machine.succeeds(long), 240)  # refused until the job server is ready, and an agent of the node
    wait_for(lambda: study.count() > 0, 240)
    machine.run([*words(submit, "cancelled"), *study_file])
    machine.run([*words(submit, "tiny"), *study_file])
    assert listed() == {"long": "RUNNING", "cancelled": "PENDING", "tiny": "PENDING"}
    for name in ("cancelled", "long"):
        machine.run(words(managing[2], name))
    wait_for(lambda: listed() == {"long": "STOPPED", "cancelled": "STOPPED", "tiny": "SUCCEEDED"}, 240)
    assert "gap closed" in machine.run(words(managing[1], "tiny"))
    status = machine.run(["nebula-tune", "status", "long", "--json", "--storage", study.storage])
    assert '"state": "interrupted"' in status
    assert (machine.folder / "tiny.json").read_bytes() == undisturbed.nebula.read_bytes()
    assert study.trials() == undisturbed.trials()
