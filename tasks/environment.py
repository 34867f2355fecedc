"""The environment in which Prefect, MLflow and DVC run under Timbre: local homes, no calls home, no pickles."""

import json
import os
import signal
import sys
import urllib.error
import urllib.request
import warnings
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Any

from timbre.loopback import spare_loopback
from timbre.settings import Settings
from timbre.settings import settings as current
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


def prepare(settings: Settings) -> None:
    """Apply `environment` here. Call it before the first import of Prefect, MLflow, DVC or Great Expectations."""
    spare_loopback(os.environ)
    os.environ.update(environment(settings))
    warnings.filterwarnings("ignore", message=_RENAMED, category=FutureWarning)
    if server_file(settings.home).exists() and running_server(settings.home) is None:
        print("the servers noted in server.json are gone or another home's: going on without them", file=sys.stderr)
    current.cache_clear()  # a running server may have moved the tracking URI


def start_api() -> None:
    """Start Prefect's ephemeral API, unless a server is named, deaf to Ctrl-C.

    It lies in our process group. If Ctrl-C ended it before us, Prefect would wait for it in vain while it writes down
    that the run was interrupted.

    Raises:
        ValueError: the server that PREFECT_API_URL names does not answer, or ours does not because the machine is too busy.
    """
    _require_answer(os.environ.get("PREFECT_API_URL", ""))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        for _ in range(_STARTS):
            if _started():
                return
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    raise ValueError(
        "this machine is too busy: Prefect's own server did not answer in time; run the same command again when it has less to do"
    )


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
            f"PREFECT_API_URL is {address}, and nothing answers there ({why}): start that server, or unset the variable, and the run "
            "brings a Prefect of its own"
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
