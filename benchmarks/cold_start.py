"""How long a run waits for a worker that was not up: `python -m benchmarks.operations --measure cold_start`.

A home of its own gets Prefect's server, every deployment and one run that is due. Then a process worker is started. The figure is the
time from the start of that worker's process to the moment at which the run is Running, in a process of its own that has imported its
flow. `warm_pickup_s` is the same for a second run, from its creation, when the worker is up.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from timbre.settings import PROJECT_ROOT

_DEPLOYMENT, _PARAMETERS = "collect/weekly", {"dry_run": True}
_WAIT_SECONDS = 300.0
_FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def cold_start(home: Path) -> dict[str, float]:
    """cold_start_s and warm_pickup_s, in a home that is made.

    Raises:
        RuntimeError: the server did not come up, or a run did not end well; the sentence names the log.
    """
    home.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {"TIMBRE_HOME": str(home), "TIMBRE_ROOT": str(PROJECT_ROOT)}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    ports = [word for name in ("prefect", "mlflow") for word in (f"--{name}-port", str(_free_port()))]
    with _process("up", [sys.executable, "-m", "timbre.cli", "up", *ports], home, environment) as up:
        address = _await(home, up)
        environment["PREFECT_API_URL"] = address
        subprocess.run([sys.executable, "-m", "timbre.cli", "deploy"], env=environment, cwd=PROJECT_ROOT, check=True, capture_output=True)
        due = _create(address)
        command = [str(Path(sys.executable).with_name("prefect")), "worker", "start", "--pool", "cpu", "--type", "process"]
        started = time.time()
        with _process("worker", command, home, environment):
            cold = _began(address, due, home) - started
            created = time.time()
            warm = _began(address, _create(address), home) - created
    return {"cold_start_s": round(cold, 1), "warm_pickup_s": round(warm, 1)}


@contextmanager
def _process(name: str, command: list[str], home: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, which is interrupted at the end, and its group killed if that does not help."""
    with (home / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command, env=dict(environment), cwd=PROJECT_ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await(home: Path, up: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not (home / "server.json").exists():
        if up.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"`timbre up` did not come up: see {home / 'up.log'}")
        time.sleep(0.2)
    return str(json.loads((home / "server.json").read_bytes())["prefect"])


def _create(address: str) -> str:
    deployment = _api(address, f"/deployments/name/{_DEPLOYMENT}")["id"]
    asked = {"parameters": _PARAMETERS, "state": {"type": "SCHEDULED"}}
    return str(_api(address, f"/deployments/{deployment}/create_flow_run", asked)["id"])


def _began(address: str, run: str, home: Path) -> float:
    """When the run's flow began, in seconds since 1970, once the run has ended well."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while (found := _api(address, f"/flow_runs/{run}"))["state_type"] not in _FINAL and time.monotonic() < deadline:
        time.sleep(0.5)
    if found["state_type"] != "COMPLETED":
        raise RuntimeError(f"the run is {found['state_name']}: see {home / 'worker.log'}")
    return datetime.fromisoformat(found["start_time"]).timestamp()


def _api(address: str, path: str, body: object | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data=data, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:  # nosec B310: a server that was started here
        return json.loads(response.read())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
