"""The environment in which Prefect, MLflow and DVC run under Timbre: local homes, no calls home, no pickles."""

import atexit
import importlib.util
import json
import os
import random
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Any

from timbre.loopback import spare_loopback
from timbre.settings import Settings
from timbre.settings import settings as current
from timbre.tasks import lifeline
from timbre.tasks.automations import HEARTBEAT_SECONDS

_RENAMED = "`is_gradient_checkpointing` is deprecated"
"""What transformers tells peft at each loading, and no user can act upon."""
_QUIET = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the command says itself what went wrong
    "PREFECT_LOGGING_LEVEL": "INFO",  # what a run says is read on its page
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "240",
    "PYTHONWARNINGS": f"ignore:{_RENAMED}:FutureWarning",  # of the processes we start
    "TOKENIZERS_PARALLELISM": "false",
}

_begun: list[tuple[int, subprocess.Popen[Any]]] = []
"""The port and the process of an API that was begun, and that nobody has waited for yet."""
_SETTINGS_OF_PREFECT = {"prefect.toml": b"api", "pyproject.toml": b"tool.prefect", ".env": b"PREFECT_"}
"""Files of the working folder that Prefect reads, and what stands in one that may name an API or a file of profiles."""
_PORTS = range(8000, 9000)
_STARTS = 3
"""How often Prefect's ephemeral API is started where the machine is too busy for it to answer."""
_CLOCK_SECONDS = 2.0
"""How far two readings of one process's start may lie apart."""


def environment(settings: Settings) -> dict[str, str]:
    """Variables for this process and every one it starts. What the user has set already stays as it is."""
    wanted = _QUIET | {"PREFECT_HOME": str(settings.home / "prefect")}
    if (server := running_server(settings.home)) is not None:
        wanted |= {"PREFECT_API_URL": server["prefect"], "TIMBRE_MLFLOW_TRACKING_URI": server["mlflow"]}
    return {name: value for name, value in wanted.items() if name not in os.environ}


def named_api() -> str:
    """The API that Prefect would use by its own settings, without those of `timbre up`; empty where it would start one.

    Prefect is asked, which reads profiles, `prefect.toml`, `pyproject.toml` and `.env`; but not where none of these can say anything,
    for its import takes seconds. `PREFECT_HOME` must be set.
    """
    if address := os.environ.get("PREFECT_API_URL"):
        return address
    profiles = os.environ.get("PREFECT_PROFILES_PATH") or f"{os.environ['PREFECT_HOME']}/profiles.toml"
    if not any(_mentions(Path(place), word) for place, word in {**_SETTINGS_OF_PREFECT, profiles: b"PREFECT_API_URL"}.items()):
        return ""
    from prefect.settings import get_current_settings

    return get_current_settings().api.url or ""


def _mentions(place: Path, word: bytes) -> bool:
    return place.is_file() and word.lower() in place.read_bytes().lower()


def prepare(settings: Settings) -> None:
    """Apply `environment` here. Call it before the first import of Prefect, MLflow, DVC or Great Expectations."""
    spare_loopback(os.environ)
    os.environ.update(environment(settings))
    if api := named_api():
        os.environ["PREFECT_API_URL"] = api  # also for the processes that we start, and for what asks whether there is a server
    warnings.filterwarnings("ignore", message=_RENAMED, category=FutureWarning)
    if server_file(settings.home).exists() and running_server(settings.home) is None:
        print("the servers noted in server.json are gone or another home's: going on without them", file=sys.stderr)
    current.cache_clear()  # a running server may have moved the tracking URI


def begin_api() -> None:
    """Let Prefect's ephemeral API start beside us, unless a server is named: it takes seconds of imports, and so do we.

    `start_api` waits for it. If nobody does, it ends with this process. Call `prepare` first.
    """
    if os.environ.get("PREFECT_API_URL") or _begun or importlib.util.find_spec("prefect") is None:
        return
    port = _free_port()
    process = _api(port)
    _begun.append((port, process))
    atexit.register(process.terminate)


def _api(port: int) -> "subprocess.Popen[Any]":
    """Prefect's ephemeral API as Prefect starts it, but that it ends when we are killed."""
    package = importlib.util.find_spec("prefect")
    assert package is not None and package.origin is not None
    program = ["--app-dir", str(Path(package.origin).parents[1]), "--factory", "prefect.server.api.server:create_app"]
    place = ["--host", "127.0.0.1", "--port", str(port), "--log-level", "error", "--lifespan", "on"]
    Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
    variables = os.environ | {"PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1", "PREFECT__SERVER_FINAL": "1"}
    with _deaf():
        return lifeline.start("uvicorn", [*program, *place], environment=variables)


def start_api() -> None:
    """Start Prefect's ephemeral API, unless a server is named, deaf to Ctrl-C; or wait for the one that `begin_api` started.

    It lies in our process group. If Ctrl-C ended it before us, Prefect would wait for it in vain while it writes down
    that the run was interrupted.

    Raises:
        ValueError: the server that PREFECT_API_URL names does not answer, or ours does not because the machine is too busy.
    """
    _require_answer(os.environ.get("PREFECT_API_URL", ""))
    with _deaf():
        for _ in range(_STARTS):
            _hand_over()
            if _started():
                return
    raise ValueError(
        "this machine is too busy: Prefect's own server did not answer in time; run the same command again when it has less to do"
    )


@contextmanager
def _deaf() -> Iterator[None]:
    """What is started meanwhile hears no Ctrl-C."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _hand_over() -> None:
    """Have Prefect take the process that `begin_api` began for the one that it starts; where there is none, or it ended, one of ours."""
    from prefect.server.api.server import SubprocessASGIServer

    server: Any = SubprocessASGIServer()
    begun = []
    if _begun:
        server.port, process = _begun.pop()
        begun.append(process)
    server._run_uvicorn_command = lambda: begun.pop() if begun else _api(server.port)


def _free_port() -> int:
    """A port of the range that Prefect takes for this."""
    for port in random.sample(_PORTS, len(_PORTS)):  # nosec B311: any will do
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise ValueError("no port between 8000 and 9000 is free on this machine: end something that listens there")


def _started() -> bool:
    """Whether Prefect's ephemeral API is up; one that took a connection and then gave no answer within Prefect's five seconds is ended."""
    import httpx
    from prefect.client import orchestration
    from prefect.server.api.server import SubprocessASGIServer

    try:
        with orchestration.get_client(sync_client=True):
            return True
    except httpx.TimeoutException:
        SubprocessASGIServer().stop()
        return False


def _require_answer(address: str) -> None:
    """A named server must be there: without this Prefect tries for minutes, and then names none of its settings."""
    if not address:
        return
    try:
        with urllib.request.urlopen(f"{address.rstrip('/')}/health", timeout=10) as answer:  # nosec B310: the address of our own settings
            prefect = answer.read(64).strip() == b"true"
    except urllib.error.HTTPError as error:
        prefect = error.code != HTTPStatus.NOT_FOUND  # it answers; whether it lets us in is for Prefect to say
    except (OSError, ValueError, HTTPException) as error:
        why = getattr(error, "reason", error)
        raise ValueError(
            f"PREFECT_API_URL is {address}, and nothing answers there ({why}): start that server, or unset the variable (in a "
            "profile: `prefect config unset PREFECT_API_URL`), and the run brings a Prefect of its own"
        ) from error
    if not prefect:
        raise ValueError(
            f"PREFECT_API_URL is {address}, and what answers there is no Prefect: give the address of its API, which ends in /api, "
            "or unset the variable, and the run brings a Prefect of its own"
        )


def server_file(home: Path) -> Path:
    """`timbre up` writes the addresses of its servers here and removes them when it stops."""
    return home / "server.json"


def running_server(home: Path) -> dict[str, Any] | None:
    """The servers that `timbre up` started for this home, if they live and answer.

    A port alone proves nothing: after a kill, another home's server may answer there. So the file names the home and its
    server processes with their start times, and all of them must be there still.
    """
    try:
        server: dict[str, Any] = json.loads(server_file(home).read_bytes())
        if server["home"] != str(home.resolve()) or not all(_lives(int(pid), since) for pid, since in server["processes"].items()):
            return None
        with urllib.request.urlopen(f"{server['prefect']}/health", timeout=5):  # nosec B310: an address that we wrote
            return server
    except (OSError, ValueError, KeyError, AttributeError, TypeError, urllib.error.URLError):
        return None


def _lives(pid: int, since: float) -> bool:
    import psutil

    try:
        process = psutil.Process(pid)
        return bool(process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - since) < _CLOCK_SECONDS)
    except psutil.NoSuchProcess:
        return False
