"""Removing what nothing needs any more.

timbre gc --days 30 --dry-run     the same, without Prefect
"""

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from timbre.registry.retention import Retention
from timbre.tasks.housekeeping import collect


@flow(name="collect", flow_run_name="collect", persist_result=False, timeout_seconds=2 * 3600)
def collect_garbage(newest: int = 3, days: float = 30.0, dry_run: bool = False) -> int:
    """Remove artifacts that neither the ledger nor a registered version needs; how many went.

    Args:
        newest: Artifacts of every stage that stay in any case.
        days: Whatever is younger stays.
        dry_run: Say what would go, and remove nothing.

    Raises:
        ValueError: a release of this home goes on, or a number is below 0.
    """
    done = collect(Retention(newest=newest, days=days), dry_run=dry_run)
    create_markdown_artifact(
        f"{len(done.removed)} artifacts {'would go' if dry_run else 'removed'}, {done.freed_bytes / 2**20:,.0f} MiB; {done.kept} stay\n",
        key="collected",
    )
    get_run_logger().info("%d artifacts, %d bytes", len(done.removed), done.freed_bytes)
    return len(done.removed)
