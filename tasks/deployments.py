"""What runs on Prefect: work pools, limits, automations and the deployments of `prefect.yaml`, set up as often as you like."""

import asyncio
import copy
import importlib
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from timbre.config import Frozen
from timbre.tasks.automations import HEARTBEAT_SECONDS, automate

POOL, GPU_POOL = "cpu", "gpu"
"""Work pools: `timbre up --worker` serves the first; a machine with a device serves the other."""
GPU_SLOT = "timbre-gpu"
"""The limit that lets one step at a time use a device."""
FILE = "prefect.yaml"


class Deployed(Frozen):
    """What a deployment, or an automation, is on the server now."""

    name: str
    pool: str
    schedules: tuple[str, ...]
    """Cron and whether it fires, for people; of an automation nothing."""


def deploy(root: Path, file: Path) -> list[Deployed]:
    """Register everything in `file` with the server that is named or up; a schedule that was resumed stays so.

    Args:
        root: the project's folder, in which the runs will start.
        file: its prefect.yaml, or the one that is shipped.

    Raises:
        ValueError: no server is named, or Prefect refuses an entry; the sentence is its last line.
    """
    if not os.environ.get("PREFECT_API_URL"):
        raise ValueError("no Prefect server is up: start one with `timbre up --worker`, or name one with PREFECT_API_URL")
    entries = yaml.safe_load(file.read_text(encoding="utf-8"))["deployments"]
    names = [f"{_flow_name(entry['entrypoint'])}/{entry['name']}" for entry in entries]
    asyncio.run(_prepare())
    resumed = asyncio.run(_resumed(names))
    command = [str(Path(sys.executable).with_name("prefect")), "--no-prompt", "deploy", "--all", "--prefect-file", str(file)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise ValueError(f"Prefect refused {FILE}: {said[-1] if said else 'it said nothing'}")
    asyncio.run(_resume(resumed))
    automations = [Deployed(name=f"automation/{name}", pool="", schedules=()) for name in asyncio.run(automate())]
    return asyncio.run(_found(names)) + automations


def _flow_name(entrypoint: str) -> str:
    module, _, name = entrypoint.rpartition(".")
    flow: Any = getattr(importlib.import_module(module), name)
    return str(flow.name)


async def _prepare() -> None:
    """The pools and the slot, where they are not there; runs of either pool say often enough that they live."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate, WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
    from prefect.workers.process import ProcessWorker

    async with get_client() as client:
        for name in (POOL, GPU_POOL):
            with suppress(ObjectAlreadyExists):
                await client.create_work_pool(WorkPoolCreate(name=name, type="process"))
            pool = await client.read_work_pool(name)
            template = pool.base_job_template or (ProcessWorker.get_default_base_job_template() if pool.type == "process" else {})
            if (beating := _beating(template)) != pool.base_job_template:
                await client.update_work_pool(name, WorkPoolUpdate(base_job_template=beating))
        try:
            await client.read_global_concurrency_limit_by_name(GPU_SLOT)
        except ObjectNotFound:
            with suppress(ObjectAlreadyExists):
                await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=GPU_SLOT, limit=1))


def _beating(template: dict[str, Any]) -> dict[str, Any]:
    """A pool's template whose runs send a heartbeat every `HEARTBEAT_SECONDS`, whoever started the worker."""
    template = copy.deepcopy(template)
    env = template.get("variables", {}).get("properties", {}).get("env")
    if env is not None:
        env["default"] = {**(env.get("default") or {}), "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS)}
    return template


async def _resumed(names: list[str]) -> dict[str, set[str]]:
    """By deployment, the slugs of schedules that fire now, though the file says that they are paused."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    found: dict[str, set[str]] = {}
    async with get_client() as client:
        for name in names:
            with suppress(ObjectNotFound):
                deployment = await client.read_deployment_by_name(name)
                found[name] = {str(schedule.slug) for schedule in deployment.schedules if schedule.active and schedule.slug}
    return found


async def _resume(resumed: dict[str, set[str]]) -> None:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        for name, slugs in resumed.items():
            deployment = await client.read_deployment_by_name(name)
            for schedule in deployment.schedules:
                if schedule.slug in slugs and not schedule.active:
                    await client.update_deployment_schedule(deployment.id, schedule.id, active=True)


async def _found(names: list[str]) -> list[Deployed]:
    from prefect.client.orchestration import get_client

    found = []
    async with get_client() as client:
        for name in names:
            deployment = await client.read_deployment_by_name(name)
            schedules = tuple(
                f"{getattr(item.schedule, 'cron', item.schedule)} {'on' if item.active else 'paused'}" for item in deployment.schedules
            )
            found.append(Deployed(name=name, pool=str(deployment.work_pool_name), schedules=schedules))
    return found
