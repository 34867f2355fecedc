"""Server mode for real: PostgreSQL, S3, MLflow with sign-in, Prefect and a worker; a release, a hand-over, a rollback and a crash on it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.topology import Topology, until
from timbre.artifacts import Artifact
from timbre.settings import PROJECT_ROOT
from timbre.tasks.stores.git import Git

if TYPE_CHECKING:
    from tests.integration.conftest import Checkout

pytestmark = [
    pytest.mark.server, pytest.mark.road, pytest.mark.slow,
    pytest.mark.skipif(not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")), reason="needs Debian's postgresql"),
]  # fmt: skip
SECRETS = ["database_password", "mlflow_password", "mlflow_session_key", "prefect_auth", "storage_password"]
SERVICES = ["database", "storage", "mlflow", "prefect", "worker"]


@pytest.fixture(scope="module")
def servers(checkout: "Callable[..., Checkout]") -> Iterator[Topology]:
    """All of it up, with a shared data registry (a bare git repository) and every deployment registered.

    With TIMBRE_TEST_SERVERS=FOLDER it stays there and up, so that tests can be run one by one; the last of them takes it down.
    """
    kept = os.environ.get("TIMBRE_TEST_SERVERS")
    root = Path(kept or tempfile.mkdtemp(prefix="timbre-server-"))
    topology = Topology(_begun(root, checkout), f"file://{root}/registry.git")
    try:
        up = topology.script("up")
        assert up.returncode == 0, up.stderr
        if not (root / "deployed").exists():
            topology.timbre("deploy")
            (root / "deployed").touch()
        yield topology
    finally:
        if not kept:
            topology.script("down")
            shutil.rmtree(root, ignore_errors=True)


def _begun(root: Path, checkout: "Callable[..., Checkout]") -> "Checkout":
    """The checkout in a folder, made if it is not there; its base model lies in it, so that a later session finds the same."""
    from tests.integration.conftest import Checkout

    model = root / "tiny-llama"
    if not model.exists():
        root.mkdir(parents=True, exist_ok=True)
        root.chmod(0o755)  # PostgreSQL's user must get in; pytest's own folders are closed
        shutil.copytree(checkout(root).model, model)
        Git(root)("init", "--quiet", "--bare", "--initial-branch=main", "registry.git")
        (root / "benchmarks").symlink_to(PROJECT_ROOT / "benchmarks")  # the proof runs from a checkout of the source
    return Checkout(root, root / "home", model.resolve())


@pytest.fixture(scope="module")
def released(servers: Topology) -> dict[str, Any]:
    """The first release, by its deployment on the worker."""
    first = servers.place.root / "released"
    if not first.exists():
        first.write_text(servers.start_run("release/weekly-literary", servers.parameters()))
    return servers.ended(first.read_text())


def test_every_server_is_up_on_loopback_and_asks_who_is_there(servers: Topology) -> None:
    status = servers.script("status")
    assert status.returncode == 0 and [line.split()[:2] for line in status.stdout.splitlines()] == [[name, "up"] for name in SERVICES]
    pids = {name: int((servers.place.home / "server" / "run" / name).read_text().split()[0]) for name in SERVICES}
    if os.geteuid() == 0:
        assert Path(f"/proc/{pids['database']}").stat().st_uid != 0, "PostgreSQL runs as root"
    again = servers.script("up")
    assert again.returncode == 0 and again.stdout == status.stdout
    assert {name: int((servers.place.home / "server" / "run" / name).read_text().split()[0]) for name in SERVICES} == pids
    for url, refusals in (
        (servers.address("mlflow"), (401,)),
        (f"{servers.address('prefect')}/api/flows/count", (401, 403)),
        (f"{servers.address('storage')}/timbre-data", (403,)),
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url, timeout=30)
        assert refused.value.code in refusals, url
    for address in _listening(servers.place.home):
        assert address.startswith("127.0.0.1:"), address


def test_a_release_on_the_worker_is_promoted_and_its_parts_lie_in_postgresql_and_s3(servers: Topology, released: dict[str, Any]) -> None:
    assert (released["state_type"], released["name"]) == ("COMPLETED", "release-tiny-quick"), servers.log("worker")
    tasks = servers.api("/task_runs/filter", {"flow_runs": {"id": {"any_": [released["id"]]}}})
    assert {task["state_type"] for task in tasks} == {"COMPLETED"} and "release-tiny" in {task["name"] for task in tasks}
    (row,) = servers.models()
    assert (row["champion"], row["previous"], row["versions"]) == (1, None, [1])
    assert [(move["kind"], move["version"]) for move in servers.timbre("history")] == [("promote", 1)]
    assert not (servers.place.home / "ledger.db").exists() and not (servers.place.home / "mlflow.db").exists()
    assert not list((servers.place.home / "prefect").glob("*.db")) and not (servers.place.home / "remote").exists()
    kept = _objects(servers)
    assert any(name.endswith("/report.html") for name in kept["timbre-mlflow"])
    assert any("/model/" in name and name.endswith(".onnx") for name in kept["timbre-mlflow"])
    assert kept["timbre-data"], "corpus and target are pushed to S3"


def test_the_data_team_takes_the_corpus_from_git_and_s3_alone(servers: Topology, released: dict[str, Any], tmp_path: Path) -> None:
    handed = servers.timbre("handout", "corpus", "--style", "tiny")
    assert handed["registry"] == servers.registry and handed["revision"] == "corpus/tiny/v1"
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").touch()
    Git(tmp_path)("init", "--quiet", ".")
    done = servers.script("run", "env", f"DVC_SITE_CACHE_DIR={tmp_path / 'site'}", "sh", "-c", handed["commands"][0], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert Artifact.open(tmp_path / "tiny").digest == handed["digest"]
    assert servers.secret("storage_password") not in (tmp_path / "tiny.dvc").read_text()


def test_a_second_release_is_promoted_and_the_rollback_by_hand_brings_the_first_back(servers: Topology, released: dict[str, Any]) -> None:
    changed = servers.release(**{"training.epochs": 5})
    assert changed["state_type"] == "COMPLETED", servers.log("worker")
    (row,) = servers.models()
    assert (row["champion"], row["previous"]) == (2, 1)
    shown = {one["key"]: one for one in servers.api("/artifacts/filter", {"flow_runs": {"id": {"any_": [changed["id"]]}}})}
    assert {"gates-tiny", "samples-tiny", "report-tiny", "version-tiny", "comparison-tiny"} <= set(shown)
    assert not [key for key, one in shown.items() if "file://" in str(one["data"])]
    assert all(f"({servers.address('mlflow')}/#/" in shown[f"{name}-tiny"]["data"] for name in ("report", "version", "comparison"))
    back = servers.start_run("rollback/by-hand", {"style": "tiny", "reason": "rehearsal", "model": str(servers.place.model)})
    assert servers.ended(back)["state_type"] == "COMPLETED", servers.log("worker")
    (row,) = servers.models()
    assert (row["champion"], row["previous"]) == (1, 2)
    assert [(move["kind"], move["version"]) for move in servers.timbre("history")] == [("promote", 1), ("promote", 2), ("rollback", 1)]
    seen = servers.api("/events/filter", {"filter": {"event": {"prefix": ["timbre-"]}}})["events"]
    assert {"timbre-release.promoted", "timbre-registry.rolled-back"} <= {one["event"] for one in seen}
    text = servers.timbre("generate", "It was", "--style", "tiny", "--model", str(servers.place.model), "--tokens", "8")
    assert text["version"] == 1 and text["text"]


def test_a_killed_worker_loses_nothing_and_the_same_release_goes_on(servers: Topology, released: dict[str, Any]) -> None:
    before = {name: servers.timbre(name) for name in ("history", "status")}
    home, changes = servers.place.home, {"training.epochs": 300}
    run = servers.start_run("release/weekly-literary", servers.parameters(**changes))
    assert until(lambda: list(home.glob("work/*/curve.jsonl")), 300), servers.log("worker")
    killed = _kill_all(home, "worker")
    assert killed >= 2, "the worker, and the training in a process group of its own"
    assert servers.script("status").returncode == 1
    assert {name: servers.timbre(name) for name in before} == before
    up = servers.script("up")
    assert up.returncode == 0, up.stderr
    servers.api(f"/flow_runs/{run}/set_state", {"state": {"type": "CRASHED", "name": "Crashed"}, "force": True})
    again = servers.release(**changes)
    assert again["state_type"] == "COMPLETED", servers.log("worker")
    history = servers.timbre("history")
    assert len(history) == len(before["history"]) + 1 and history[-1]["kind"] == "promote"
    (row,) = servers.models()
    assert row["champion"] == history[-1]["version"] == len(row["versions"])
    assert servers.timbre("doctor")["damaged"] == [] and not list(home.glob("work/*/curve.jsonl"))


def test_a_version_that_waits_is_approved_once_on_the_page_of_its_run(servers: Topology, released: dict[str, Any]) -> None:
    before = servers.timbre("history")
    run = servers.start_run("release/weekly-literary", servers.parameters(**{"training.epochs": 6, "publish.promotion": "manual"}))
    waits = servers.ended(run, also=("PAUSED",))
    assert (waits["state_type"], waits["state_name"]) == ("PAUSED", "Suspended"), servers.log("worker")
    assert servers.timbre("history") == before
    (asked,) = servers.timbre("status")["approvals"]
    assert (asked["run"], asked["state"]) == (run, "waiting")
    events = {"filter": {"event": {"name": ["timbre-release.waiting"]}}}
    assert until(lambda: servers.api("/events/filter", events)["total"], 60), servers.log("prefect")
    keys = waits["state"]["state_details"]["run_input_keyset"]
    question, form = (servers.api(f"/flow_runs/{run}/input/{keys[name]}") for name in ("description", "schema"))
    assert question.startswith(f"Shall **{asked['model']} v{asked['version']}** become champion?") and "| held_out_nll | PASS |" in question
    fields = form["properties"]
    assert fields["verdict_digest"]["default"] == asked["verdict"] and fields["decision"]["enum"] == ["promote", "refuse"]
    said = {"decision": "promote", "model_digest": asked["bundle"], "verdict_digest": asked["verdict"], "by": "Ann", "reason": "reads well"}
    assert servers.api(f"/flow_runs/{run}/resume", {"run_input": {**said, "decision": "whatever"}})["status"] == "REJECT"
    assert servers.api(f"/flow_runs/{run}/resume", {"run_input": said})["status"] == "ACCEPT"
    assert servers.ended(run)["state_type"] == "COMPLETED", servers.log("worker")
    last = servers.timbre("history")[-1]
    assert (last["version"], last["reason"]) == (asked["version"], "approved by Ann: reads well")
    again = servers.script("run", "timbre", "approve", run)
    assert again.returncode == 2 and "was approved already, by Ann: a decision counts once" in again.stderr


def test_a_terminal_refuses_what_waits_and_its_run_goes_on_to_the_end(servers: Topology, released: dict[str, Any]) -> None:
    before = servers.timbre("history")
    run = servers.start_run("release/weekly-literary", servers.parameters(**{"training.epochs": 7, "publish.promotion": "manual"}))
    assert servers.ended(run, also=("PAUSED",))["state_type"] == "PAUSED", servers.log("worker")
    (asked,) = servers.timbre("status")["approvals"]
    other = servers.script("run", "timbre", "approve", run, "--verdict", "f" * 64)
    assert other.returncode == 2 and "look at the table again" in other.stderr
    done = servers.timbre("approve", run, "--refuse", "--reason", "dull")
    assert (done["state"], done["champion"], done["resumed"]) == ("refused", None, True)
    assert servers.ended(run)["state_type"] == "COMPLETED", servers.log("worker")
    assert servers.timbre("history") == before and servers.timbre("status")["approvals"] == []
    assert asked["verdict"] == done["verdict"]


def test_deploying_again_changes_nothing_and_every_deployment_runs_on_the_worker(servers: Topology, released: dict[str, Any]) -> None:
    kept = ("deployments", "automations", "v2/concurrency_limits", "work_pools")
    before = {kind: _listed(servers, kind) for kind in kept}
    arrival = next(one for one in before["automations"] if one["name"] == "hand in what arrived")
    weekly = next(one for one in before["deployments"] if one["name"] == "weekly-literary")
    servers.api(f"/automations/{arrival['id']}", {"enabled": False}, "PATCH")
    servers.api(f"/deployments/{weekly['id']}/schedules/{weekly['schedules'][0]['id']}", {"active": True}, "PATCH")
    before = {kind: _listed(servers, kind) for kind in kept}
    deployed = servers.timbre("deploy")
    assert {kind: _listed(servers, kind) for kind in kept} == before, "what somebody switched off or resumed stays so"
    servers.api(f"/deployments/{weekly['id']}/schedules/{weekly['schedules'][0]['id']}", {"active": False}, "PATCH")
    assert {"automation/timbre: zombie", "automation/timbre: crash", "automation/timbre: failed gate"} <= {row["name"] for row in deployed}
    assert ("timbre-gpu", 1) in [(limit["name"], limit["limit"]) for limit in before["v2/concurrency_limits"]]
    champion, address = servers.models()[0]["champion"], f"http://127.0.0.1:{_free_port()}"
    values = {
        **servers.parameters(), "model": str(servers.place.model), "version": champion,
        "dry_run": True, "minutes": 0, "reason": "rehearsal", "seed": 1, "port": int(address.rpartition(":")[2]), "address": address,
        "path": str(servers.place.root / "texts.jsonl"), "by": "Data team", "author": "various", "licence": "CC0-1.0", "consent": "CC0-1.0",
    }  # fmt: skip
    names, ends = [row["name"] for row in deployed if row["pool"]], {}
    (serve,) = [name for name in names if name.startswith("serve/")]
    names.sort(key=lambda name: (name == serve, name.startswith("serving/")))  # the server last, which goes on until it is cancelled
    for name in names[:-1]:
        if name.startswith("serving/"):
            serving = servers.start_run(serve, _given(servers, serve, values))
            assert until(lambda: _ready(address), 300), servers.log("worker")
        run = servers.ended(servers.start_run(name, _given(servers, name, values)))
        ends[name] = (run["state_type"], run["state"]["message"] if run["state_type"] != "COMPLETED" else "")
    assert {end[0] for end in ends.values()} == {"COMPLETED"}, ends
    servers.api(f"/flow_runs/{serving}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    assert servers.ended(serving)["state_type"] == "CANCELLED", servers.log("worker")
    assert until(lambda: not _ready(address), 60), "a cancelled run ends its server"


def _given(servers: Topology, name: str, values: dict[str, Any]) -> dict[str, Any]:
    """The values that a deployment's form asks for."""
    wanted = servers.api(f"/deployments/name/{name}")["parameter_openapi_schema"]
    given = {field: values[field] for field in wanted["properties"] if field in values}
    assert set(wanted.get("required", [])) <= set(given), f"{name} asks for more than this test knows"
    return given | {"style": "harbour"} if name.startswith("handin") else given


def _ready(address: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(f"{address}/ready", timeout=10) as response:
        return bool(response.status == 200)
    return False


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_no_password_stands_in_any_database_object_or_file(servers: Topology, released: dict[str, Any]) -> None:
    secrets = {name: servers.secret(name).removeprefix("timbre:").encode() for name in SECRETS}
    dumps = b""
    for database in ("prefect", "mlflow", "mlflow_auth", "ledger"):
        host, port = servers.address("database").split(":")
        done = servers.script("run", str(_programs() / "pg_dump"), "-h", host, "-p", port, "-U", "timbre", database)
        assert done.returncode == 0 and "CREATE TABLE" in done.stdout, done.stderr
        dumps += done.stdout.encode()
    places = [
        path for path in servers.place.home.rglob("*") if path.is_file() and "server" not in path.relative_to(servers.place.home).parts[:1]
    ]
    places += list((servers.place.home / "server" / "logs").iterdir())
    places += list((servers.place.home / "server" / "storage").rglob("*.dat"))
    assert len(places) > 50
    for name, secret in secrets.items():
        assert len(secret) >= 24 and secret not in dumps, f"{name} stands in a database"
        assert [str(path) for path in places if secret in path.read_bytes()] == [], name


def test_down_ends_what_up_started_and_nothing_else(servers: Topology) -> None:
    stranger = subprocess.Popen(["sleep", "600"], env=os.environ | {"TIMBRE_HOME": str(servers.place.home)})
    try:
        down = servers.script("down")
        assert down.returncode == 0, down.stderr
        assert _started_by(servers.place.home) == [] and stranger.poll() is None
        status = servers.script("status")
        assert status.returncode == 1 and status.stdout.count("down") == len(SERVICES)
    finally:
        stranger.kill()
        stranger.wait()


def _started_by(home: Path, service: str = "") -> list[int]:
    """Processes that carry the mark of what the script started."""
    needle, found = f"TIMBRE_LOCAL_SERVER={home}/server:{service}".encode(), []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if needle in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
    return found


def _kill_all(home: Path, service: str) -> int:
    """As when its machine loses power: nobody gets to say anything."""
    found = _started_by(home, service)
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    assert until(lambda: not _started_by(home, service), 30)
    return len(found)


def _listening(home: Path) -> list[str]:
    """Addresses on which processes of the script listen."""
    import psutil

    ours = set(_started_by(home))
    return [
        f"{connection.laddr.ip}:{connection.laddr.port}" for connection in psutil.net_connections("tcp")
        if connection.pid in ours and connection.status == psutil.CONN_LISTEN
    ]  # fmt: skip


def _objects(servers: Topology) -> dict[str, list[str]]:
    """The names of what lies in the buckets."""
    code = (
        "import boto3, json; s = boto3.client('s3'); print(json.dumps({b: [o['Key'] for page in s.get_paginator('list_objects_v2')"
        ".paginate(Bucket=b) for o in page.get('Contents', [])] for b in ('timbre-data', 'timbre-mlflow')}))"
    )
    done = servers.script("run", "python", "-c", code)
    assert done.returncode == 0, done.stderr
    names: dict[str, list[str]] = json.loads(done.stdout)
    return names


def _listed(servers: Topology, kind: str) -> list[dict[str, Any]]:
    """What the server has of a kind, without times and without what it counts itself."""
    moving = {"updated", "last_polled", "status", "active_slots", "active_lease_count", "slot_decay_per_second", "denied_slots"}

    def still(value: Any) -> Any:
        if isinstance(value, list):
            return [still(item) for item in value] if not all(isinstance(item, str) for item in value) else sorted(value)
        return {name: still(inner) for name, inner in value.items() if name not in moving} if isinstance(value, dict) else value

    found: list[dict[str, Any]] = [still(row) for row in servers.api(f"/{kind}/filter", {})]
    return sorted(found, key=lambda row: str(row["id"]))


def _programs() -> Path:
    return sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]
