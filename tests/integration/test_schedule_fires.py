"""`timbre up --worker` and a schedule: both pages answer, a schedule fires by itself, and Ctrl-C leaves nothing behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.conftest import SMALL
from timbre.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from tests.integration.conftest import Checkout

pytestmark = [pytest.mark.server, pytest.mark.road, pytest.mark.slow]

BOOT_SECONDS, RUN_SECONDS = 400, 500
"""On a busy machine; both take about a tenth of that on an idle one."""


@dataclass(frozen=True)
class Up:
    """A running `timbre up --worker`."""

    place: "Checkout"
    process: subprocess.Popen[str]
    environment: dict[str, str]
    ports: tuple[int, int]

    def api(self, path: str, body: object | None = None, method: str | None = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports[0]}/api{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json"},
            method=method,
        )
        deadline = time.monotonic() + 120
        while True:
            try:
                with urllib.request.urlopen(request, timeout=60) as response:
                    return json.loads(response.read() or b"null")
            except urllib.error.HTTPError as error:
                if error.code != 503 or time.monotonic() > deadline:  # SQLite is busy; Prefect's own client asks again too
                    raise
                time.sleep(1)

    def log(self, name: str) -> str:
        path = self.place.home / "logs" / f"{name}.log"
        return path.read_text()[-4000:] if path.exists() else ""


@pytest.fixture(scope="module")
def up(walked: "tuple[Checkout, dict[str, object]]") -> Iterator[Up]:
    place, _ = walked
    ports = _free_port(), _free_port()
    environment = os.environ | {"TIMBRE_ROOT": str(place.root), "TIMBRE_HOME": str(place.home)}
    environment |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = [sys.executable, "-m", "timbre.cli", "up", "--prefect-port", str(ports[0]), "--mlflow-port", str(ports[1]), "--worker"]
    process = subprocess.Popen(
        command, cwd=PROJECT_ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    running = Up(place, process, environment, ports)
    try:
        _until(lambda: (place.home / "server.json").exists() or process.poll() is not None, BOOT_SECONDS)
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(120)


def test_both_pages_answer_and_a_second_up_is_refused(up: Up) -> None:
    addresses = json.loads((up.place.home / "server.json").read_text())
    assert addresses == {
        "prefect": f"http://127.0.0.1:{up.ports[0]}/api",
        "mlflow": f"http://127.0.0.1:{up.ports[1]}",
        "process": str(up.process.pid),
        "home": str(up.place.home.resolve()),
        "processes": addresses["processes"],
    }
    assert len(addresses["processes"]) == 3
    for page in (addresses["prefect"].removesuffix("api"), addresses["mlflow"]):
        with urllib.request.urlopen(page, timeout=60) as response:
            assert b"<html" in response.read().lower()
    with urllib.request.urlopen(addresses["prefect"].removesuffix("api") + "ui-settings", timeout=60) as response:
        assert json.loads(response.read())["api_url"] == addresses["prefect"]  # or the page would look at port 4200
    again = up.place.timbre("up", "--prefect-port", str(_free_port()), "--mlflow-port", str(_free_port()))
    assert (again.returncode, again.stdout) == (2, "")
    assert f"up already (process {up.process.pid})" in again.stderr
    assert up.place.json("status")["server"] == addresses


def test_a_schedule_fires_and_its_release_finishes_with_every_stage_cached(up: Up, walked: "tuple[Checkout, dict[str, object]]") -> None:
    place, first = walked
    deployed = {row["name"]: row for row in place.json("deploy")}
    assert deployed["release/weekly-literary"] == {"name": "release/weekly-literary", "pool": "cpu", "schedules": ["0 3 * * 1 paused"]}
    assert {"promote/by-hand", "rollback/by-hand", "release/weekly-oratory"} <= set(deployed)
    weekly = up.api("/deployments/name/release/weekly-literary")
    (schedule,) = weekly["schedules"]
    up.api(f"/deployments/{weekly['id']}/schedules/{schedule['id']}", {"active": True}, "PATCH")
    again = {row["name"]: row for row in place.json("deploy")}
    assert again["release/weekly-literary"]["schedules"] == ["0 3 * * 1 on"], "what somebody resumed stays resumed"
    assert {name: row for name, row in again.items() if row["schedules"] != ["0 3 * * 1 on"]} == {
        name: row for name, row in deployed.items() if name != "release/weekly-literary"
    }
    weekly = up.api("/deployments/name/release/weekly-literary")
    limits = up.api("/v2/concurrency_limits/filter", {})
    assert [(limit["name"], limit["limit"]) for limit in limits if limit["name"] == "timbre-gpu"] == [("timbre-gpu", 1)]

    transitions = len(place.json("history"))
    soon = {
        "schedule": {"interval": 30, "anchor_date": datetime.now(UTC).isoformat()},
        "active": True,
        "parameters": _parameters(place),
    }
    (added,) = up.api(f"/deployments/{weekly['id']}/schedules", [soon])
    try:
        run = _until(lambda: _finished(up, weekly["id"]), RUN_SECONDS) or {}
    finally:
        up.api(f"/deployments/{weekly['id']}/schedules/{added['id']}", {"active": False}, "PATCH")

    assert run, "no scheduled run finished: " + up.log("worker")
    assert (run["state_type"], run["auto_scheduled"], run["name"]) == ("COMPLETED", True, "release-tiny-quick"), up.log("worker")
    tasks = up.api("/task_runs/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})
    assert {task["name"]: task["state_name"] for task in tasks} == {
        **{f"{step}-tiny": "Cached" for step in first["steps"]},  # type: ignore[attr-defined]
        "release-tiny": "Completed",
    }
    assert "gates-tiny" in {artifact["key"] for artifact in up.api("/artifacts/filter", {"flow_runs": {"id": {"any_": [run["id"]]}}})}
    assert len(place.json("history")) == transitions


def test_ctrl_c_ends_every_process_and_removes_the_address(up: Up) -> None:
    up.process.send_signal(signal.SIGINT)
    assert up.process.wait(120) == 130
    assert not (up.place.home / "server.json").exists()
    assert _processes_of(up.place.home) == []
    for port in up.ports:
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)


def _parameters(place: "Checkout") -> dict[str, Any]:
    """What a schedule sends: style, profile and what differs from them. The rest is filled in."""
    return {"style": "tiny", "profile": "quick", "overrides": SMALL | {"model.name": str(place.model)}}


def _finished(up: Up, deployment: str) -> dict[str, Any] | None:
    """A run of the deployment in a final state. One that fired while another went on was dropped: that is not it."""
    assert up.process.poll() is None
    filters = {"flow_runs": {"deployment_id": {"any_": [deployment]}, "state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED"]}}}}
    runs: list[dict[str, Any]] = up.api("/flow_runs/filter", filters)
    return runs[0] if runs else None


def _until(condition: Callable[[], Any], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(0.5)
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _processes_of(home: Path) -> list[str]:
    """Command lines of living processes that run in this home."""
    needle, found = f"TIMBRE_HOME={home}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):  # it ended, or is not ours to look at
                if needle in (entry / "environ").read_bytes().split(b"\0"):
                    found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found
