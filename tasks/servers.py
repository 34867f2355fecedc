"""Prefect's and MLflow's pages on the embedded store, for as long as `timbre up` runs."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from tasks.environment import environment, server_file
from timbre.artifacts import write_atomically
from timbre.settings import Settings

_START_SECONDS = 300


class Servers:
    """Two child processes on loopback, and the file that tells other commands about them."""

    def __init__(self, settings: Settings, prefect_port: int, mlflow_port: int, worker: bool) -> None:
        self._settings, self._worker = settings, worker
        self.prefect = f"http://127.0.0.1:{prefect_port}/api"
        self.mlflow = f"http://127.0.0.1:{mlflow_port}"
        self._ports = prefect_port, mlflow_port
        self._children: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start both and wait until they answer.

        Raises:
            RuntimeError: one of them ended or did not answer in time; the sentence names its log.
        """
        home = self._settings.home
        home.mkdir(parents=True, exist_ok=True)
        prefect_port, mlflow_port = map(str, self._ports)
        self._spawn("prefect", "prefect", "server", "start", "--host", "127.0.0.1", "--port", prefect_port)
        self._spawn(
            "mlflow",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            mlflow_port,
            "--workers",
            "1",
            "--backend-store-uri",
            self._settings.tracking_uri,
            "--default-artifact-root",
            (home / "mlflow-artifacts").resolve().as_uri(),
        )
        self._await("prefect", f"{self.prefect}/health")
        self._await("mlflow", f"{self.mlflow}/health")
        write_atomically(server_file(home), json.dumps({"prefect": self.prefect, "mlflow": self.mlflow}).encode())
        if self._worker:
            from tasks.deployments import POOL

            self._spawn("worker", "prefect", "worker", "start", "--pool", POOL, "--type", "process")

    def wait(self) -> None:
        """Block until a server ends.

        Raises:
            RuntimeError: one ended by itself.
        """
        while all(child.poll() is None for child in self._children):
            time.sleep(1)
        raise RuntimeError(f"a server ended; see the logs in {self._settings.home / 'logs'}")

    def stop(self) -> None:
        """End what was started here, and only that."""
        server_file(self._settings.home).unlink(missing_ok=True)
        for child in reversed(self._children):
            child.terminate()
        for child in self._children:
            try:
                child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()

    def _spawn(self, name: str, program: str, *arguments: str) -> None:
        variables = os.environ | environment(self._settings) | {"PREFECT_API_URL": self.prefect, "TIMBRE_MLFLOW_TRACKING_URI": self.mlflow}
        if name == "prefect":
            del variables["PREFECT_API_URL"]
        log = self._settings.home / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        executable = Path(sys.executable).with_name(program)
        with log.open("ab") as stream:
            self._children.append(
                subprocess.Popen(
                    [str(executable), *arguments],
                    stdout=stream,
                    stderr=stream,
                    env=variables,
                    start_new_session=True,
                    cwd=self._settings.root,
                )
            )

    def _await(self, name: str, url: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if any(child.poll() is not None for child in self._children):
                break
            try:
                with urllib.request.urlopen(url, timeout=5):
                    return
            except OSError:
                time.sleep(0.5)
        raise RuntimeError(f"the {name} server did not come up; see {self._settings.home / 'logs' / f'{name}.log'}")
