"""Corpus and targets through the data registry: one owner at a time, reproduced by DVC, committed, tagged, pushed."""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import get_args

from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.states import Completed

from timbre import pipeline
from timbre.artifacts import Artifact
from timbre.config import ReleaseConfig
from timbre.settings import settings
from timbre.tasks.context import open_store
from timbre.tasks.stage import Built, find, run_stage
from timbre.tasks.stores.dvc import DataRegistry
from timbre.tasks.stores.versions import DataStage
from timbre.tasks.trying import STEP_HOURS

SLOT = "timbre-data-registry"
DATA = get_args(DataStage)
"""Steps whose artifacts have versions there."""
_LEASE_SECONDS = 60


def run_data_stage(stage: DataStage, config: ReleaseConfig, *upstream: Built) -> State[Built]:
    """The stage as a finished state: `Cached` if it is in the store and in the registry, else built by the one owner."""
    found = find(stage, config, upstream)
    registry = DataRegistry.open(settings())
    if found is not None and registry.is_current(stage, config.style, found.digest):
        return run_stage(stage, config, *upstream)
    model = next((built.digest for built in upstream if built.step == "model"), "")
    missing = found is None

    def build() -> Artifact:
        with _slot():
            result = registry.build(
                stage, config.corpus, config.target.of_tokens(), config.model, model_digest=model, timeout=3600 * STEP_HOURS[config.profile]
            )
        return open_store().open(pipeline.STEP[stage].stage.name, result.digest)

    if missing:
        return run_stage(stage, config, *upstream, build=build)
    started = time.monotonic()
    artifact = build()  # it stands in the store, but the registry has not seen it
    seconds = round(time.monotonic() - started, 2)
    return Completed(message=artifact.digest[:12], data=Built(step=stage, digest=artifact.digest, cached=False, seconds=seconds))


def run_kept_stage(step: DataStage, config: ReleaseConfig, *upstream: Built) -> State[Built]:
    """The stage as a finished state, and its artifact a version of the data registry, which did not build it."""
    state = run_stage(step, config, *upstream)
    artifact, registry = find(step, config, upstream), DataRegistry.open(settings())
    assert artifact is not None, f"the {step} was built"
    if not registry.is_current(step, config.style, artifact.digest):
        with _slot():
            registry.keep(step, config.style, artifact)
    return state


def data_tags(config: ReleaseConfig, *steps: Built) -> dict[str, str]:
    """The registry's tag of each, such as `target/literary/v3`."""
    registry = DataRegistry.open(settings())
    tags = {built.step: registry.find_tag(built.step, config.style, built.digest) for built in steps}  # type: ignore[arg-type]
    return {name: tag for name, tag in tags.items() if tag is not None}


@contextmanager
def _slot() -> Iterator[None]:
    """Prefect's slot for the one owner, where a server that several machines share hands it out.

    An ephemeral server runs no service that takes a slot back from a killed holder, and there the lock of the registry
    (which the operating system takes back) is enough.
    """
    if not os.environ.get("PREFECT_API_URL"):
        yield
        return
    asyncio.run(_ensure_slot())
    with concurrency(SLOT, occupy=1, strict=True, lease_duration=_LEASE_SECONDS):
        yield


async def _ensure_slot() -> None:
    """Without the limit, Prefect would only warn and let everybody in."""
    async with get_client() as client:
        try:
            await client.read_global_concurrency_limit_by_name(SLOT)
        except ObjectNotFound:
            with suppress(ObjectAlreadyExists):
                await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=SLOT, limit=1))
