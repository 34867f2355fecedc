"""Prefect's and MLflow's pages on the embedded store, a worker and served champions, for as long as `timbre up` runs."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from timbre.artifacts import write_atomically
from timbre.settings import Settings
from timbre.tasks.environment import environment, server_file
from timbre.tasks.stores.processes import end_group
from timbre.tasks.stores.relocation import ARTIFACTS, relocate

_START_SECONDS, _GRACE_SECONDS = 300, 20
_TOKEN = "TIMBRE_WORKER_TOKEN"


@dataclass(frozen=True)
class _Child:
    name: str
    process: subprocess.Popen[bytes]
    log: Path


class Servers:
    """Two to four process groups on loopback, and the file that tells other commands about them."""

    def __init__(
        self, settings: Settings, prefect_port: int, mlflow_port: int, worker: bool, styles: Sequence[str] = (), serve_port: int = 8000
    ) -> None:
        self._settings, self._worker, self._styles = settings, worker, tuple(dict.fromkeys(styles))
        self._home, self._root = settings.home.absolute(), settings.root.absolute()
        self.prefect = f"http://127.0.0.1:{prefect_port}/api"
        self.mlflow = f"http://127.0.0.1:{mlflow_port}"
        self.api = f"http://127.0.0.1:{serve_port}"
        self._ports = {"prefect": prefect_port, "mlflow": mlflow_port} | ({"serve": serve_port} if self._styles else {})
        self._children: list[_Child] = []
        self._token = uuid.uuid4().hex

    def start(self) -> None:
        """Start all, and wait until the servers answer.

        Raises:
            ValueError: a port is taken, or the tracking server is elsewhere.
            RuntimeError: a server ended or did not answer in time; the sentence names its log.
        """
        if not (tracking := self._settings.tracking_uri).startswith("sqlite:"):
            raise ValueError("TIMBRE_MLFLOW_TRACKING_URI names a server of its own; unset the variable to see this home's")
        for name, port in self._ports.items():
            _require_free(name, port)
        home, prefect_port, mlflow_port = self._home, str(self._ports["prefect"]), str(self._ports["mlflow"])
        home.mkdir(parents=True, exist_ok=True)
        artifacts = (home / ARTIFACTS).as_uri()
        if self._settings.mlflow_tracking_uri is None:
            relocate(home / "mlflow.db", home)
        self._spawn("prefect", ["prefect", "server", "start", "--host", "127.0.0.1", "--port", prefect_port])
        store = ["--backend-store-uri", tracking, "--default-artifact-root", artifacts]
        self._spawn("mlflow", ["mlflow", "server", "--host", "127.0.0.1", "--port", mlflow_port, "--workers", "1", *store])
        self._await("prefect", f"{self.prefect}/health")
        self._await("mlflow", f"{self.mlflow}/health")
        if self._worker:
            from timbre.tasks.deployments import POOL

            self._spawn("worker", ["prefect", "worker", "start", "--pool", POOL, "--type", "process"])
            self._await("worker", f"{self.prefect}/work_pools/{POOL}")  # the worker makes the pool that deployments name
        if self._styles:
            chosen = [word for style in self._styles for word in ("--style", style)]
            limit = f"drain_seconds={_GRACE_SECONDS - 5}"
            self._spawn("serve", ["timbre", "serve", *chosen, "--port", str(self._ports["serve"]), "--limit", limit])
            self._await("serve", f"{self.api}/ready")
        write_atomically(server_file(home), json.dumps(self._addresses()).encode())

    def wait(self) -> None:
        """Block until a child ends.

        Raises:
            RuntimeError: one ended by itself.
        """
        while (ended := self._ended()) is None:
            time.sleep(1)
        raise RuntimeError(f"{ended.name} ended by itself; see {ended.log}")

    def stop(self) -> None:
        """End what was started here, and only that.

        First the worker's runs and their stages, each of which has a process group of its own, so that a run can still
        tell the server how it ended; then the worker; then the servers.
        """
        if not self._children:
            return
        server_file(self._home).unlink(missing_ok=True)
        for child in reversed(self._children):
            if child.name == "worker":
                end_group(self._token, variable=_TOKEN, spare=child.process.pid)
                end_group(self._token, child.process, variable=_TOKEN)
            else:
                _signal_group(child.process, signal.SIGTERM)
        deadline = time.monotonic() + _GRACE_SECONDS
        for child in self._children:
            _wait(child.process, max(deadline - time.monotonic(), 0.1))
            _signal_group(child.process, signal.SIGKILL)  # also what outlived its leader
            child.process.wait()
        self._children.clear()

    def _addresses(self) -> dict[str, object]:
        """What other commands need to use these servers, and to know them from others on the same ports."""
        import psutil

        started = {str(child.process.pid): psutil.Process(child.process.pid).create_time() for child in self._children}
        home = str(self._home.resolve())
        serving = {"serve": self.api} if self._styles else {}
        return {"prefect": self.prefect, "mlflow": self.mlflow, **serving, "process": str(os.getpid()), "home": home, "processes": started}

    def _spawn(self, name: str, command: list[str]) -> None:
        log = self._home / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        program = Path(sys.executable).with_name(command[0])
        with log.open("ab") as stream:
            process = subprocess.Popen(
                [str(program), *command[1:]],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env=self._variables(name),
                start_new_session=True,
                cwd=self._root,
            )
        self._children.append(_Child(name, process, log))

    def _variables(self, name: str) -> dict[str, str]:
        """The environment of a child; it runs in another folder, so that every path in it is absolute."""
        variables = os.environ | environment(self._settings)
        variables |= {"TIMBRE_HOME": str(self._home), "TIMBRE_ROOT": str(self._root), "PREFECT_HOME": str(self._home / "prefect")}
        variables |= {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{variables.get('PATH', '')}"}
        match name:
            case "prefect":
                variables.pop("PREFECT_API_URL", None)
                # The page asks port 4200 unless it is told where the API is.
                variables |= {"PREFECT_SERVER_UI_API_URL": self.prefect, "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false"}
            case "mlflow":
                # Eight idle processes for jobs that Timbre has none of.
                variables["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
            case "serve":
                variables["TIMBRE_MLFLOW_TRACKING_URI"] = self.mlflow
            case _:
                variables |= {"PREFECT_API_URL": self.prefect, "TIMBRE_MLFLOW_TRACKING_URI": self.mlflow, _TOKEN: self._token}
        return variables

    def _await(self, name: str, url: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and (ended := self._ended()) is None:
            try:
                with urllib.request.urlopen(url, timeout=5):  # nosec B310: our own, on the loopback
                    return
            except OSError:
                time.sleep(0.5)
        if ended is not None:
            raise RuntimeError(f"the {ended.name} server ended while it was starting; see {ended.log}")
        raise RuntimeError(f"the {name} server did not answer in {_START_SECONDS} s; see {self._home / 'logs' / f'{name}.log'}")

    def _ended(self) -> _Child | None:
        return next((child for child in self._children if child.process.poll() is not None), None)


def _require_free(name: str, port: int) -> None:
    """Another server on the port would answer in our place."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ValueError(f"port {port} is in use ({error.strerror}); choose another with --{name}-port") from error


def _signal_group(process: subprocess.Popen[bytes], kind: signal.Signals) -> None:
    try:
        os.killpg(process.pid, kind)
    except (ProcessLookupError, PermissionError):
        return  # the whole group has ended


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return
