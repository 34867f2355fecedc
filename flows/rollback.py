"""Back to the version that was champion before.

    timbre rollback --style literary --reason "…"     the same, without Prefect

The move is a row of the ledger first (compare-and-set), then the aliases; the previous version's bundle is served next.
"""

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from timbre.config import ModelConfig
from timbre.flows.forms import Style
from timbre.tasks.promotion import roll_back


@flow(name="rollback", flow_run_name="rollback-{style}", persist_result=False, timeout_seconds=1 * 3600)
def rollback(style: Style, reason: str = "by hand", model: str = "smollm2-135m-instruct") -> int:
    """Swap champion and previous of a style; the number of the version that is champion now.

    Args:
        style: Whose champion goes back.
        reason: Written in the ledger.
        model: The base model, by name or folder.

    Raises:
        ValueError: there is no champion, or nothing before it.
    """
    champion = roll_back(style, ModelConfig(name=model), reason)
    create_markdown_artifact(
        f"**{champion.model}**: rolled back from v{champion.replaced_version} to v{champion.version}\n\nReason: {reason}\n",
        key=f"rollback-{style}",
    )
    get_run_logger().info("%s: champion is v%s, previous is v%s", champion.model, champion.version, champion.replaced_version)
    return champion.version
