"""Telling a Prefect server what happened to a model: its automations pass it on (`timbre.tasks.automations`)."""

import os


def tell(event: str, model: str, **payload: object) -> None:
    """Emit an event about a registered model where a server is named; without one nobody listens."""
    if not os.environ.get("PREFECT_API_URL"):
        return
    from prefect.events import emit_event

    emit_event(event=event, resource={"prefect.resource.id": f"timbre.model.{model}", "prefect.resource.name": model}, payload=payload)
