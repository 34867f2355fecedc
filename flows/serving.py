"""The service as Prefect sees it: kept up by a worker for as long as a run goes on, and looked at every quarter of an hour.

    timbre serve --style literary          the first, without Prefect

`serve` is never scheduled: whoever starts it cancels it, and a cancelled run ends the texts that it has begun. A server that ends by
itself is started anew, three times, later each time. Promotions need no new run: the server follows the ledger.
"""

import subprocess
import sys
from collections.abc import Sequence

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from timbre.config import ModelConfig
from timbre.flows.forms import Style
from timbre.tasks.serving_check import look_at

_GRACE_SECONDS = 60


@flow(name="serve", flow_run_name="serve-{style}", persist_result=False, retries=3, retry_delay_seconds=30)
def serve_champion(
    style: Style = "literary", port: int = 8000, options: Sequence[str] = (), model: str = "smollm2-135m-instruct"
) -> int:  # fmt: skip
    """Run `timbre serve` on the worker's machine until this run is cancelled; its exit code.

    Args:
        style: Whose champion is served.
        port: Port on loopback.
        options: Further options of `timbre serve`, one a line; for example --challenger and canary.
        model: The base model, by name or folder.

    Raises:
        RuntimeError: the server ended by itself; what it said stands in the log of the worker.
    """
    command = [sys.executable, "-m", "timbre.cli", "serve", "--style", style, "--model", model, "--port", str(port), *options]
    get_run_logger().info("serving %s at http://127.0.0.1:%d/v1", style, port)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        code = process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
    if code:
        raise RuntimeError(f"timbre serve ended with {code}: its last lines in the worker's log say why")
    return code


@flow(name="serving", flow_run_name="serving-{style}", persist_result=False, retries=2, retry_delay_seconds=20)
def check_serving(style: Style = "literary", address: str = "http://127.0.0.1:8000", model: str = "smollm2-135m-instruct") -> int:
    """Ask a running server for a text, and hold its version to the ledger; the version that it serves.

    Decisions on challengers that a killed server left are carried out first. A server with keys needs one in the worker's variable
    TIMBRE_SERVING_KEY to be asked for a text.

    Args:
        style: Whose champion is looked at.
        address: Of the server.
        model: The base model, by name or folder.

    Raises:
        ValueError: it does not answer, serves another version than the champion, or does not write.
    """
    looked = look_at(style, ModelConfig(name=model), address)
    wrote = "not asked for a text (it has keys)" if looked.wrote is None else f"wrote {looked.wrote} tokens"
    settled = f"\n\nA decision that waited was carried out: v{looked.settled} is champion" if looked.settled is not None else ""
    create_markdown_artifact(f"**{looked.model}** v{looked.version} at {address}, {wrote}{settled}\n", key=f"serving-{style}")
    get_run_logger().info("%s v%d at %s, %s", looked.model, looked.version, address, wrote)
    return looked.version
