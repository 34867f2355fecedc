"""The form on which a person decides about a candidate that waits, and the flow run that waits for it without a process."""

from typing import Literal

from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from timbre.registry.approvals import Approval, Decision
from timbre.tasks.approval import decide, gate_table


class PromotionForm(RunInput):
    """What a person says about a candidate. The digests bind it to the model and the verdict that the form shows."""

    decision: Literal["promote", "refuse"] = Field(description="promote makes this version champion.")
    model_digest: str = Field(description="Of the bundle that the verdict is about; leave it as it is.")
    verdict_digest: str = Field(description="Of the verdict shown above; leave it as it is.")
    by: str = Field(min_length=1, max_length=200, description="Who decides.")
    reason: str = Field("", max_length=2000, description="Written in the ledger.")


def wait_for_person(asked: Approval) -> int | None:
    """Suspend the run until somebody decides on its page; then decide, and promote if that is what was said: the version, else None.

    The worker is free meanwhile. The run fails when the time is over.

    Raises:
        ValueError: the decision is about another model or verdict, came too late, or was made already.
    """
    form = PromotionForm.with_initial_data(
        description=_question(asked), model_digest=asked.bundle, verdict_digest=asked.verdict,
    )  # fmt: skip
    seconds = max(1, round((asked.until - asked.asked).total_seconds()))
    said = suspend_flow_run(wait_for_input=form, key=f"approve-{asked.verdict[:12]}", timeout=seconds)
    decision: Decision = "approved" if said.decision == "promote" else "refused"
    return decide(asked.verdict, decision, said.by, said.reason, bundle=said.model_digest, verdict=said.verdict_digest)[1]


def _question(asked: Approval) -> str:
    return (
        f"Shall **{asked.model} v{asked.version}** become champion? Until {asked.until:%Y-%m-%d %H:%M} UTC, once.\n\n"
        f"{gate_table(asked.verdict)}\nFrom a terminal: `timbre approve {asked.verdict[:12]}`"
    )
