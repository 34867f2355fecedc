"""Machines as they are: proxies, a dead server, terminals without UTF-8, a home that was moved, long names."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from typer.testing import CliRunner

from timbre.cli import app
from timbre.cli.summary import next_steps
from timbre.cli.terminal import as_typed
from timbre.config import release_config
from timbre.loopback import spare_loopback
from timbre.settings import PROJECT_ROOT, settings
from timbre.tasks.environment import server_file, start_api
from timbre.tasks.release import Released
from timbre.tasks.stores.registry_init import found


def test_a_proxy_never_stands_before_this_machines_own_addresses() -> None:
    given = {"HTTPS_PROXY": "http://proxy.example:8080", "NO_PROXY": "corp.example, 127.0.0.1"}
    spare_loopback(given)
    assert given["NO_PROXY"] == given["no_proxy"] == "corp.example,127.0.0.1,localhost,::1"
    everything = {"http_proxy": "http://proxy.example:8080", "no_proxy": "*"}
    spare_loopback(everything)
    assert everything["no_proxy"] == "*"
    plain: dict[str, str] = {}
    spare_loopback(plain)
    assert plain == {}, "nothing is set where no proxy is named"


def test_a_prefect_server_that_is_gone_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with pytest.raises(ValueError, match=r"PREFECT_API_URL is http://127.0.0.1:9/api, and nothing answers there .* unset the variable"):
        start_api()


@pytest.mark.parametrize("status", [200, 404])
def test_a_page_of_another_program_is_no_prefect(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"<html>hello</html>")

        def log_message(self, *_: object) -> None:
            """Nothing: the test's output is not a server's log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{server.server_address[1]}/api")
        with pytest.raises(ValueError, match=r"what answers there is no Prefect: .* unset the variable"):
            start_api()
        server.shutdown()


def test_a_machine_too_busy_for_prefects_own_server_is_tried_again_and_then_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def too_slow(**_: object) -> object:
        asked.append(1)
        raise httpx.ReadTimeout("timed out")

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr("prefect.client.orchestration.get_client", too_slow)
    with pytest.raises(ValueError, match="too busy"):
        start_api()
    assert len(asked) == 3


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_lacks_a_letter_shows_another_and_stops_nothing(encoding: str, home: Path) -> None:
    environment = os.environ | {"PYTHONIOENCODING": encoding, "TIMBRE_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-m", "timbre.cli", "corpus", "show", "источник"],
        env=environment,
        cwd=PROJECT_ROOT,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 2 and b"timbre: " in done.stderr and b"Traceback" not in done.stderr and b"?" in done.stderr


def test_a_text_typed_where_the_locale_knows_no_letters_is_read_as_it_was_typed() -> None:
    for locale in ("ascii", sys.getfilesystemencoding()):
        assert as_typed("The “old” café".encode().decode(locale, "surrogateescape")) == "The “old” café"
    with pytest.raises(ValueError, match="is not UTF-8"):
        as_typed(b"caf\xe9".decode("utf-8", "surrogateescape"))


def test_help_cuts_no_sentence() -> None:
    for command in ([], ["corpus"], ["judge"], ["target"], ["stage"]):
        _, commands = CliRunner().invoke(app, [*command, "--help"]).output.split("Commands:")
        assert "..." not in commands and "…" not in commands and max(map(len, commands.splitlines())) <= 80


def test_commands_to_type_next_name_a_folder_with_spaces_as_a_shell_reads_it() -> None:
    config = release_config("literary", "quick", 1, {"model.name": "/models/my base"})
    released = Released(model="m", verdict="PASS", version=3, champion=3, promoted=True)
    lines = [line.split(None, 1)[1] if line.startswith("next") else line.strip() for line in next_steps(config, released)]
    assert lines[0] == "timbre generate --style literary --model '/models/my base' --beside base \"It was\""
    assert "timbre open --style literary" in lines
    refused = next_steps(config, released.model_copy(update={"champion": None, "version": None, "verdict": "FAIL"}))
    assert [line.split(None, 1)[1] for line in refused] == ["timbre open --style literary"]


def test_doctor_says_versions_device_and_disk(home: Path) -> None:
    said = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    assert said["python"] and said["libraries"]["numpy"] and said["cores"] >= 1 and said["disk_free_gb"] > 0
    assert "on cpu" in said["device"] or "on cuda" in said["device"] or "needs" in said["device"]
    shown = CliRunner().invoke(app, ["doctor"]).stdout
    assert "GB free on the disk of" in shown and "numpy" in shown


def test_doctor_finds_and_mends_a_home_that_was_moved(home: Path) -> None:
    old = "/somewhere/else/.timbre"
    home.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(home / "mlflow.db") as base:
        base.execute("CREATE TABLE experiments (name TEXT, artifact_location TEXT)")
        base.execute("INSERT INTO experiments VALUES ('timbre-sea', ?)", (f"file://{old}/mlflow-artifacts/timbre-sea",))
    server_file(home).write_text(json.dumps({"home": old, "processes": {}, "prefect": "http://127.0.0.1:9/api", "mlflow": "x"}))
    seen: dict[str, Any] = json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)
    assert seen["moved_from"] == old and not server_file(home).exists()
    with sqlite3.connect(home / "mlflow.db") as base:
        assert base.execute("SELECT artifact_location FROM experiments").fetchone() == (
            (home / "mlflow-artifacts/timbre-sea").resolve().as_uri(),
        )
    assert json.loads(CliRunner().invoke(app, ["doctor", "--json"]).stdout)["moved_from"] is None, "once is enough"


def test_doctor_lets_the_data_registry_of_a_moved_home_send_its_data_to_where_the_home_is(home: Path, tmp_path: Path) -> None:
    home.mkdir()
    found(settings().registry_path.absolute(), settings())
    moved = home.rename(tmp_path / "moved home")
    done = subprocess.run(
        [sys.executable, "-m", "timbre.cli", "doctor", "--json"],
        env=os.environ | {"TIMBRE_HOME": str(moved)},
        cwd=PROJECT_ROOT,
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["moved_from"] == str(home)
    config = (moved / "registry" / ".dvc" / "config").read_text()
    assert f'url = "{moved / "remote"}"' in config and str(home) not in config


_BEGUN = """
import os, psutil
from timbre.settings import settings
from timbre.tasks.environment import begin_api, prepare, start_api
prepare(settings())
begin_api()
begin_api()
if {waited}:
    start_api()
    from prefect.client.orchestration import get_client
    with get_client(sync_client=True) as client:
        assert client.api_healthcheck() is None
(api,) = [child for child in psutil.Process().children() if "prefect.server.api.server:create_app" in child.cmdline()]
print(api.pid)
"""


@pytest.mark.parametrize("waited", [True, False])
def test_an_api_that_was_begun_early_is_the_one_that_is_used_and_ends_with_its_command(waited: bool, home: Path) -> None:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | {"TIMBRE_HOME": str(home)}
    code = _BEGUN.format(waited=waited)
    done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    _gone, alive = psutil.wait_procs([psutil.Process(pid) for pid in [int(done.stdout)] if psutil.pid_exists(pid)], timeout=60)
    assert not alive


@pytest.mark.parametrize("place", ["profile", "folder"])
def test_a_server_that_a_profile_or_a_file_of_the_folder_names_is_used_and_none_is_started(place: str, home: Path, tmp_path: Path) -> None:
    address = "http://127.0.0.1:9/api"
    profiles = f'active = "team"\n\n[profiles.team]\nPREFECT_API_URL = "{address}"\n'
    (tmp_path / "work").mkdir()
    if place == "profile":
        (tmp_path / "profiles.toml").write_text(profiles)
    else:
        (tmp_path / "work" / "prefect.toml").write_text(f'[api]\nurl = "{address}"\n')
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    variables |= {"TIMBRE_HOME": str(home), "PREFECT_PROFILES_PATH": str(tmp_path / "profiles.toml")}
    done = subprocess.run(
        [sys.executable, "-c", _NAMED], env=variables, cwd=tmp_path / "work", capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.splitlines() == [address, "0", f"PREFECT_API_URL is {address}, and nothing answers there"]


_NAMED = """
import os, psutil
from timbre.settings import settings
from timbre.tasks.environment import begin_api, prepare, start_api
prepare(settings())
begin_api()
print(os.environ["PREFECT_API_URL"])
print(len(psutil.Process().children()))
try:
    start_api()
except ValueError as error:
    print(str(error).partition(" (")[0])
"""


def test_a_home_without_such_files_pays_no_import_of_prefect(home: Path, tmp_path: Path) -> None:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | {"TIMBRE_HOME": str(home)}
    code = (
        "import sys; from timbre.settings import settings; from timbre.tasks.environment import prepare; prepare(settings()); "
        "print([name for name in sys.modules if name.partition('.')[0] == 'prefect'])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=variables, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("begun", ["begin_api", "start_api"])
def test_prefects_own_api_ends_with_a_command_that_is_killed(begun: str, home: Path) -> None:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")} | {"TIMBRE_HOME": str(home)}
    code = (
        "import os, psutil, time; from timbre.settings import settings; from timbre.tasks import environment\n"
        f"environment.prepare(settings()); environment.{begun}()\n"
        "print(psutil.Process().children()[0].pid, flush=True); time.sleep(600)"
    )
    command = subprocess.Popen([sys.executable, "-c", code], env=variables, stdout=subprocess.PIPE, text=True)
    assert command.stdout is not None
    api = psutil.Process(int(command.stdout.readline()))
    command.kill()
    command.wait()
    command.stdout.close()
    _gone, alive = psutil.wait_procs([api], timeout=60)
    assert not alive
