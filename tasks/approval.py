"""A candidate that passed and waits for a person: asked for by its release, decided on Prefect's page or by `timbre approve`."""

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any
from uuid import UUID

from timbre.config import ReleaseConfig
from timbre.registry import promotion
from timbre.registry.approvals import Approval, Approvals, Decision
from timbre.registry.ports import Version
from timbre.settings import settings
from timbre.tasks.automations import PROMOTED
from timbre.tasks.bundles import find_version
from timbre.tasks.context import open_store, publishing
from timbre.tasks.environment import prepare
from timbre.tasks.events import tell

COLUMNS = ("name", "verdict", "value", "low", "high", "margin", "n")


@contextmanager
def approvals() -> Iterator[Approvals]:
    """Those of this home's ledger."""
    settings().home.mkdir(parents=True, exist_ok=True)
    with closing(Approvals(settings().ledger)) as found:
        yield found


def waiting() -> list[Approval]:
    """What waits for a decision."""
    with approvals() as found:
        return found.all(waiting=True)


def ask(config: ReleaseConfig, version: Version) -> Approval:
    """Ask for the approval of a version that passed; again by the same verdict is the same question."""
    run, name = _flow_run()
    with approvals() as found:
        return found.ask(
            version.verdict, version.bundle, version.model, config.style, version.number, hours=config.publish.approval_hours, run=run,
            run_name=name,
        )  # fmt: skip


def decide(
    run: str, decision: Decision, by: str, why: str, *, bundle: str | None = None, verdict: str | None = None
) -> tuple[Approval, int | None]:
    """Decide what waits, and promote what is approved; the champion's version then, else None.

    What was approved and cut off before the promotion is completed.

    Args:
        run: id or name of the flow run, or the first digits of the verdict.
        bundle, verdict: digests that the decision is about; by default those of what waits.

    Raises:
        ValueError: nothing of this name waits, the digests are of something else, the time is over, or it was decided already.
        PromotionRefused: the evidence does not allow it any more.
        CompareAndSetLost: somebody else moved the champion meanwhile.
    """
    prepare(settings())
    from timbre.tasks.stores.mlflow import MlflowStore

    with publishing() as ledger, approvals() as found:
        asked = found.find(run)
        cut_off = asked.state == "approved" and all(move.verdict != asked.verdict for move in ledger.transitions(asked.model))
        if not (cut_off and decision == "approved" and bundle in (None, asked.bundle) and verdict in (None, asked.verdict)):
            asked = found.decide(asked, decision, by, why, bundle=bundle or asked.bundle, verdict=verdict or asked.verdict)
        if decision != "approved":
            return asked, None
        version = find_version(asked.model, asked.version)
        assert (version.bundle, version.verdict) == (asked.bundle, asked.verdict), "a version's tags do not change"
        reason = f"approved by {asked.by}{': ' + asked.why if asked.why else ''}"
        champion = promotion.promote(version, MlflowStore.open(settings()), ledger, open_store(), reason=reason)
    tell(PROMOTED, champion.model, style=asked.style, version=champion.version, replaced=champion.replaced_version, reason=reason)
    return asked, champion.version


def resume(asked: Approval) -> bool:
    """Let the flow run that asked go on to its end, if a server has it and it waits; the decision stands in any case."""
    if not asked.run or not os.environ.get("PREFECT_API_URL"):
        return False
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client, suppress(ObjectNotFound):
        run = client.read_flow_run(UUID(asked.run))
        if run.state is not None and run.state.is_paused():
            said = {
                "decision": "promote" if asked.state == "approved" else "refuse", "model_digest": asked.bundle,
                "verdict_digest": asked.verdict, "by": asked.by, "reason": asked.why,
            }  # fmt: skip
            client.resume_flow_run(run.id, run_input=said)
            return True
    return False


def gate_table(verdict: str) -> str:
    """The gates of a verdict as Markdown, its outcome first.

    Raises:
        ValueError: it is not on this machine.
    """
    document: dict[str, Any] = open_store().open("verdict", verdict).json("verdict.json")
    rows = "\n".join("| " + " | ".join(_cell(gate.get(column)) for column in COLUMNS) + " |" for gate in document["gates"])
    return f"**{document['verdict']}**\n\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}\n{rows}\n"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")


def _flow_run() -> tuple[str, str]:
    """Id and name of the flow run that this is part of; empty where there is none, or no server that outlives it."""
    if not os.environ.get("PREFECT_API_URL"):
        return "", ""
    from prefect.runtime import flow_run

    return str(flow_run.get_id() or ""), str(flow_run.get_name() or "")
