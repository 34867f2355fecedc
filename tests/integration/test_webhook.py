"""What happened to a model reaches a webhook: through the automations of a real Prefect server, also from a command that ends at once."""

import json
import os
import queue
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from timbre.tasks.automations import MOVED, NOT_PROMOTED, PROMOTED, ROLLED_BACK, WAITING

pytestmark = [pytest.mark.server, pytest.mark.slow]
_SECONDS = 240.0
_COMMAND = """
import asyncio, sys
from timbre.settings import settings
from timbre.tasks.environment import prepare
prepare(settings())
from timbre.tasks.automations import automate
from timbre.tasks.events import tell
if sys.argv[1] == "automate":
    print(*asyncio.run(automate()), sep="\\n")
else:
    tell(sys.argv[1], "timbre-tiny", style="tiny", version=3, refused='it says "no" \\u2014 twice')
"""


@pytest.fixture
def heard() -> Iterator[tuple[str, "queue.Queue[dict[str, Any]]"]]:
    """An address, and what is posted there."""
    said: queue.Queue[dict[str, Any]] = queue.Queue()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            said.put(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing: the test's output is not a server's log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/alerts", said
        server.shutdown()


@pytest.fixture
def variables(home: Path, heard: tuple[str, object]) -> Iterator[dict[str, str]]:
    """Of a command that sees a Prefect server, which is up meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    kept |= {"TIMBRE_HOME": str(home), "PREFECT_HOME": str(home / "prefect"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    kept |= {"NO_PROXY": "127.0.0.1", "TIMBRE_WEBHOOK": heard[0]}
    (home / "prefect").mkdir(parents=True)
    server = subprocess.Popen(
        [str(Path(sys.executable).with_name("prefect")), "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        env=kept, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 2 * _SECONDS
        while not _answers(f"http://127.0.0.1:{port}/api/health"):
            assert server.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        yield kept | {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    finally:
        server.terminate()
        server.wait(60)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def test_promotion_failure_and_rollback_are_posted_to_the_webhook(
    variables: dict[str, str], heard: "tuple[str, queue.Queue[dict[str, Any]]]"
) -> None:
    def command(word: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", _COMMAND, word], env=variables, capture_output=True, text=True, check=False, timeout=400
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    assert command("automate") == command("automate"), "twice without change"
    for event, automation in (
        (PROMOTED, "timbre: champion"), (ROLLED_BACK, "timbre: champion"), (WAITING, "timbre: champion"),
        (NOT_PROMOTED, "timbre: failed gate"), (MOVED, "timbre: failed gate"),
    ):  # fmt: skip
        command(event)
        said = heard[1].get(timeout=_SECONDS)
        assert (said["automation"], said["event"], said["resource"]) == (automation, event, "timbre-tiny")
        assert said["payload"] == {"style": "tiny", "version": 3, "refused": 'it says "no" \u2014 twice'} and said["at"]
    assert heard[1].empty(), "each is told once"
