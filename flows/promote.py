"""A registered version becomes champion, by hand.

    timbre promote 3 --style literary --reason "…"     the same, without Prefect

It needs a PASS verdict about that very bundle; there is no force.
"""

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from timbre.config import ModelConfig
from timbre.flows.forms import Style
from timbre.tasks.promotion import promote_version


@flow(name="promote", flow_run_name="promote-{style}-v{version}", persist_result=False, timeout_seconds=1 * 3600)
def promote(version: int, style: Style = "literary", reason: str = "by hand", model: str = "smollm2-135m-instruct") -> int:
    """Make a registered version champion; its number.

    Args:
        version: Its number in MLflow; `timbre status --all` lists them.
        style: Whose model it is.
        reason: Written in the ledger.
        model: The base model, by name or folder.

    Raises:
        ValueError: no such version.
        PromotionRefused: its verdict is not PASS, is about another bundle, or asks for less than what certified a champion.
    """
    champion = promote_version(style, ModelConfig(name=model), version, reason)
    replaced = f", replacing v{champion.replaced_version}" if champion.replaced_version is not None else ""
    create_markdown_artifact(
        f"**{champion.model}**: v{champion.version} is champion{replaced}\n\nReason: {reason}\n", key=f"promote-{style}"
    )
    get_run_logger().info("%s: champion is v%s", champion.model, champion.version)
    return champion.version
