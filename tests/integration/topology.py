"""Server mode as `infra/local-server.sh` starts it, for the tests that walk the road on it."""

import base64
import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.integration.conftest import SMALL
from timbre.settings import PROJECT_ROOT

if TYPE_CHECKING:
    from tests.integration.conftest import Checkout

SCRIPT = PROJECT_ROOT / "infra" / "local-server.sh"
RUN_SECONDS = 1800
FINAL = ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]


@dataclass(frozen=True)
class Topology:
    """PostgreSQL, S3, MLflow with sign-in, Prefect and a worker, each a real server on loopback."""

    place: "Checkout"
    registry: str

    def script(self, *words: str, cwd: Path = PROJECT_ROOT, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        """`infra/local-server.sh WORDS` on this home."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_", "AWS_", "GIT_"))}
        environment |= {
            "TIMBRE_HOME": str(self.place.home), "TIMBRE_ROOT": str(self.place.root), "COLUMNS": "80", "START_SECONDS": "900",
            "TIMBRE_DATA_REGISTRY": self.registry,
        }  # fmt: skip
        return subprocess.run([str(SCRIPT), *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout, check=False)

    def timbre(self, *words: str) -> Any:
        """What `timbre WORDS --json` prints, seen from a client of these servers."""
        done = self.script("run", "timbre", *words, "--json")
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout)

    def models(self) -> list[dict[str, Any]]:
        """`timbre status` on the tiny style."""
        rows: list[dict[str, Any]] = self.timbre("status", "--all")["models"]
        return rows

    def address(self, service: str) -> str:
        """Where a service answers."""
        ports = dict(line.split("=") for line in (self.place.home / "server" / "ports").read_text().splitlines())
        return f"{'' if service == 'database' else 'http://'}127.0.0.1:{ports[f'PORT_{service}']}"

    def secret(self, name: str) -> str:
        return (self.place.home / "server" / "secrets" / name).read_text()

    def log(self, service: str) -> str:
        return (self.place.home / "server" / "logs" / f"{service}.log").read_text()[-4000:]

    def api(self, path: str, body: object | None = None, method: str | None = None) -> Any:
        """Prefect's API with its password."""
        sign_in = base64.b64encode(self.secret("prefect_auth").encode()).decode()
        request = urllib.request.Request(
            f"{self.address('prefect')}/api{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"content-type": "application/json", "authorization": f"Basic {sign_in}"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.loads(response.read() or b"null")

    def start_run(self, deployment: str, parameters: dict[str, Any]) -> str:
        """A run of a deployment, which the worker picks up; its id."""
        found = self.api(f"/deployments/name/{deployment}")
        run: str = self.api(f"/deployments/{found['id']}/create_flow_run", {"parameters": parameters, "state": {"type": "SCHEDULED"}})["id"]
        return run

    def ended(self, run: str, seconds: float = RUN_SECONDS, also: tuple[str, ...] = ()) -> dict[str, Any]:
        """The run in its final state, or in one of those named also."""
        found: dict[str, Any] = {}

        def final() -> bool:
            found.update(self.api(f"/flow_runs/{run}"))
            return found["state_type"] in (*FINAL, *also)

        assert until(final, seconds), f"the run is {found.get('state_name')} still: {self.log('worker')}"
        return found

    def release(self, **changes: object) -> dict[str, Any]:
        """A release of the tiny style on the worker."""
        return self.ended(self.start_run("release/weekly-literary", self.parameters(**changes)))

    def parameters(self, **changes: object) -> dict[str, Any]:
        return {"style": "tiny", "profile": "quick", "overrides": SMALL | {"model.name": str(self.place.model)} | changes}


def until(condition: Callable[[], Any], seconds: float) -> Any:
    """What `condition` gave in the end: something true, or what it gave when the time was over."""
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        time.sleep(1)
    return found
