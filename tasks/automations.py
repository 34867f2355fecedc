"""What a Prefect server does by itself about our runs: a crash, a run whose process is gone, a failed gate, a moved champion.

`timbre deploy` sets these up, as often as you like. Each shows in the server's event feed when it fires; with a webhook
(`TIMBRE_WEBHOOK`, kept encrypted by the server as the block `timbre-alerts`) it also calls that.
"""

import os
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from prefect.events.actions import ActionTypes
    from prefect.events.schemas.automations import AutomationCore, EventTrigger

PROMOTED, NOT_PROMOTED, WAITING = "timbre-release.promoted", "timbre-release.gate-failed", "timbre-release.waiting"
ROLLED_BACK, MOVED = "timbre-registry.rolled-back", "timbre-monitor.moved"
"""Events that our flows emit; what they are about stands in their payload."""
ARRIVED, HAND_IN = "timbre-corpus.arrived", "handin/on-arrival"
"""The event that a data team emits, and the deployment that answers it."""
ALERTS, WEBHOOK = "timbre-alerts", "TIMBRE_WEBHOOK"
HEARTBEAT_SECONDS, SILENT_SECONDS = 30, 180
"""A run says so often that it lives; after so long a silence it counts as dead. `timbre deploy` tells the work pools."""
_TAG = "prefect.tag.timbre"
_PAYLOAD = (
    '{"automation": {{ automation.name | tojson }}, "event": {{ event.event | tojson }}, "at": {{ event.occurred | string | tojson }}, '
    '"resource": {{ event.resource.name | tojson }}, "payload": {{ event.payload | tojson }}}'
)


async def automate() -> list[str]:
    """Make the automations that are missing, and set right those that differ; their names."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    wanted = _automations(await _webhook())
    async with get_client() as client:
        with suppress(ObjectNotFound):
            wanted.append(_arrival((await client.read_deployment_by_name(HAND_IN)).id))
        for one in wanted:
            known = await client.read_automations_by_name(one.name)
            if not known:
                await client.create_automation(one)
            elif _said(known[0]) != _said(one):
                await client.update_automation(known[0].id, one.model_copy(update={"enabled": known[0].enabled}))
    return [one.name for one in wanted]


def _said(automation: "AutomationCore") -> dict[str, object]:
    """What an automation does, without what the server numbers; whether it is switched on is for people to say."""
    from prefect.events.schemas.automations import AutomationCore

    fields = AutomationCore.model_validate(automation.model_dump()).model_dump(mode="json", exclude={"enabled", "trigger"})
    return fields | {"trigger": automation.trigger.model_dump(exclude={"id"})}  # as sets, whose order as JSON is another in each process


async def _webhook() -> UUID | None:
    """The block that alerts go to: made or renewed from `TIMBRE_WEBHOOK` where that is set, else as it is on the server."""
    from prefect.blocks.webhook import Webhook
    from pydantic import SecretStr

    if address := os.environ.get(WEBHOOK):
        return UUID(str(await Webhook(url=SecretStr(address)).save(ALERTS, overwrite=True)))
    try:
        block = await Webhook.load(ALERTS)
    except ValueError:
        return None
    return UUID(str(block._block_document_id))


def _automations(webhook: UUID | None) -> "list[AutomationCore]":
    from prefect.client.schemas.objects import StateType
    from prefect.events.actions import CallWebhook, ChangeFlowRunState, DoNothing
    from prefect.events.schemas.automations import AutomationCore

    tell: list[ActionTypes] = [DoNothing() if webhook is None else CallWebhook(block_document_id=webhook, payload=_PAYLOAD)]
    dead = ChangeFlowRunState(
        state=StateType.CRASHED, name="Crashed", message=f"nothing was heard of its process for {SILENT_SECONDS} s; start it again"
    )
    return [
        AutomationCore(
            name="timbre: zombie", description="A run whose process is gone ends as Crashed.", trigger=_silence(), actions=[dead],
        ),
        AutomationCore(
            name="timbre: crash", description="A run crashed; the next one goes on where it stopped.",
            trigger=_on("prefect.flow-run.Crashed", tagged=True), actions=tell,
        ),
        AutomationCore(
            name="timbre: failure", description="A run ended with an error.",
            trigger=_on("prefect.flow-run.Failed", "prefect.flow-run.TimedOut", tagged=True), actions=tell,
        ),
        AutomationCore(
            name="timbre: failed gate", description="A candidate was judged FAIL or INCONCLUSIVE, or what is served moved.",
            trigger=_on(NOT_PROMOTED, MOVED), actions=tell,
        ),
        AutomationCore(
            name="timbre: champion", description="A version waits for approval, was promoted, or was rolled back.",
            trigger=_on(WAITING, PROMOTED, ROLLED_BACK), actions=tell,
        ),
    ]  # fmt: skip


def _arrival(deployment: UUID) -> "AutomationCore":
    """Whoever puts texts where a worker can read them says so, and they are handed in.

    Not as a trigger of `prefect.yaml`: Prefect makes those anew with every `timbre deploy`, switched on again.
    """
    from prefect.events.actions import RunDeployment
    from prefect.events.schemas.automations import AutomationCore

    given = {name: f"{{{{ event.payload.{name} }}}}" for name in ("path", "style", "by", "author", "licence", "consent")}
    return AutomationCore(
        name="hand in what arrived", description="Texts arrived: they are held to the contract and versioned.",
        trigger=_on(ARRIVED), actions=[RunDeployment(source="selected", deployment_id=deployment, parameters=given)],
    )  # fmt: skip


def _on(*events: str, tagged: bool = False) -> "EventTrigger":
    """Each time one of these happens; `tagged`, to a run of ours."""
    from prefect.events.schemas.automations import EventTrigger, Posture

    related = {"prefect.resource.role": "tag", "prefect.resource.id": _TAG} if tagged else {}
    return EventTrigger.model_validate(
        {"expect": set(events), "match_related": related, "for_each": {"prefect.resource.id"}, "posture": Posture.Reactive, "threshold": 1}
    )


def _silence() -> "EventTrigger":
    """A run was heard of, and then neither its heart nor its end."""
    from prefect.events.schemas.automations import EventTrigger, Posture

    ends = ("Completed", "Failed", "TimedOut", "Cancelled", "Cancelling", "Crashed", "Paused", "Suspended", "Cached")
    return EventTrigger.model_validate(
        {
            "after": {"prefect.flow-run.heartbeat"},
            "expect": {"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{name}" for name in ends)},
            "match_related": {"prefect.resource.role": "tag", "prefect.resource.id": _TAG},
            "for_each": {"prefect.resource.id"}, "posture": Posture.Proactive, "threshold": 1, "within": timedelta(seconds=SILENT_SECONDS),
        }
    )  # fmt: skip
