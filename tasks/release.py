"""Release: registered in MLflow, promoted through the ledger, once for each verdict."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from prefect import get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from timbre import __version__
from timbre.artifacts import Artifact
from timbre.config import Frozen, ReleaseConfig
from timbre.page.render import cell
from timbre.pipeline import STEP, needs_of
from timbre.registry.ledger import Ledger, Transition
from timbre.registry.ports import CHAMPION, Version
from timbre.registry.promotion import PromotionRefused, publish, repair
from timbre.settings import settings
from timbre.tasks.approval import ask
from timbre.tasks.automations import NOT_PROMOTED, PROMOTED, WAITING
from timbre.tasks.canary import begin_after_release
from timbre.tasks.candidates import run_page, short_tags
from timbre.tasks.comparison import compare_with_champion, comparison_page
from timbre.tasks.context import base_of, open_store, publishing, registered_name
from timbre.tasks.environment import running_server
from timbre.tasks.events import tell
from timbre.tasks.stage import Built
from timbre.tasks.stores.mlflow import COMPARISON, MlflowStore, fail_runs
from timbre.tasks.training import adapter_key, complete_curve, run_name
from timbre.tasks.trying import DELAYS, may_pass
from timbre.versions import own_commit

_SAMPLES = 4


class Released(Frozen):
    """What became of a candidate."""

    model: str
    verdict: str
    version: int | None
    champion: int | None
    promoted: bool
    """Whether this run moved the champion."""
    refused: str = ""
    """Why a version that passed was not promoted."""
    waits: str = ""
    """Digest of the verdict, where the version waits for a person (`timbre approve`)."""
    compared_with: int | None = None
    comparison: str = ""
    """Page of this version against the champion that it met; empty if there was none, or its evidence is not here."""

    def beside(self, rival: int | None, page: Path | None) -> "Released":
        """The same with the page that compares it with `rival`."""
        return self if page is None else self.model_copy(update={"compared_with": rival, "comparison": str(page)})


@task(
    name="release", task_run_name="release-{config.style}", cache_policy=NO_CACHE, retries=len(DELAYS), retry_delay_seconds=DELAYS,
    retry_condition_fn=lambda _task, _run, state: may_pass(state.result(raise_on_failure=False)),
)  # fmt: skip
def release(config: ReleaseConfig, steps: dict[str, Built], data_tags: dict[str, str]) -> Released:
    """What `publish_candidate` does, shown on the page of the run."""
    released = publish_candidate(config, steps, data_tags)
    links = _links(released)
    about = f"Verdict, version and steps of the newest release of {config.style}"
    create_markdown_artifact(_markdown(released, steps, links), key=f"release-{config.style}", description=about)
    if rows := run_page(config, steps).samples:
        create_markdown_artifact(
            samples_page(rows), key=f"samples-{config.style}", description="How base and candidate go on from an opening"
        )
    _tell(config, released)
    for name, address in links.items():
        text = f"{released.model} v{released.version}: {name}"
        create_link_artifact(address, link_text=text, key=f"{name}-{config.style}", description=f"The {name} of {config.style} in MLflow")
    get_run_logger().info(_sentence(released))
    return released


def _links(released: Released) -> dict[str, str]:
    """What a browser opens of the version, served by MLflow; empty without a server."""
    address = settings().mlflow_pages or (running_server(settings().home) or {}).get("mlflow")  # a worker by hand knows of no server
    if address is None or released.version is None:
        return {}
    store = MlflowStore.open(settings())
    version = next(item for item in store.versions(released.model) if item.number == released.version)
    if released.comparison:
        page = Path(released.comparison)
        with TemporaryDirectory() as folder:
            named = Path(folder) / f"v{released.version}-v{released.compared_with}.html"
            named.write_bytes(page.read_bytes())
            store.log_page(version.tags["timbre.run"], named, COMPARISON)
    return store.links(version, address)


def samples_page(rows: Sequence[Mapping[str, str]]) -> str:
    """A few openings, and how each side goes on: one below the other, since a table of the page wraps no line.

    Without control characters, which a model may write: PostgreSQL takes no NUL, and with it the server would lose other events.
    """

    def plain(text: str) -> str:
        return cell("".join(sign if sign.isprintable() else " " for sign in text)).strip()

    shown = [f"### {plain(row['prompt'])}\n\n**base** {plain(row['base'])}\n\n**candidate** {plain(row['candidate'])}\n" for row in rows]
    return "\n".join(shown[:_SAMPLES])


def _tell(config: ReleaseConfig, released: Released) -> None:
    """What automations listen for: a champion that moved, a candidate that waits, a gate that failed."""
    facts = {"style": config.style, "version": released.version, "verdict": released.verdict, "verdict_digest": released.waits}
    if released.promoted:
        tell(PROMOTED, released.model, **facts)
    elif released.waits:
        tell(WAITING, released.model, **facts)
    elif released.verdict != "PASS" or released.refused:
        tell(NOT_PROMOTED, released.model, **facts, refused=released.refused)


def publish_candidate(config: ReleaseConfig, steps: dict[str, Built], data_tags: dict[str, str]) -> Released:
    """Register the verdict's bundle and, if it passed, promote it; a verdict that was published before changes nothing.

    A candidate that passed beside a champion of the same model gets a page that compares the two.

    Raises:
        CompareAndSetLost: somebody else moved the champion meanwhile.
        IntegrityError: verdict or bundle is damaged.
    """
    name = registered_name(config.style, config.model)
    verdict, bundle = steps["verdict"].open(), steps["bundle"].open()
    outcome = str(verdict.json("verdict.json")["verdict"])
    refused = ""
    with publishing() as ledger:
        seen = ledger.latest(name)
        known = next((transition for transition in ledger.transitions(name) if transition.verdict == verdict.digest), None)
        if known is not None and seen is not None and seen.applied:
            settled = Released(model=name, verdict=outcome, version=known.version, champion=seen.version, promoted=False)
            return settled.beside(known.replaced_version, comparison_page(name, known.version, known.replaced_version))
        store = MlflowStore.open(settings())
        if known is None:
            try:
                version, transition, refused = _publish(config, steps, data_tags, (verdict, bundle), store, ledger)
            except BaseException:
                fail_runs()
                raise
        else:
            repair(name, store, ledger)
            version, transition = next(item for item in store.versions(name) if item.number == known.version), None
        if known is None and version is not None and transition is None:
            begin_after_release(name, version, ledger)
        latest = ledger.latest(name)
    released = Released(
        model=name,
        verdict=outcome,
        version=version.number if version else None,
        champion=latest.version if latest else None,
        promoted=transition is not None,
        refused=refused,
    )
    if _waits(config, released) and version is not None and ask(config, version).state == "waiting":
        released = released.model_copy(update={"waits": verdict.digest})
    rival = known.replaced_version if known is not None else seen.version if seen is not None else None
    if version is None or rival is None or outcome != "PASS":
        return released
    return released.beside(rival, compare_with_champion(config.style, config.model, version.number, rival))


def _sentence(released: Released) -> str:
    """The release in a line of the run's log."""
    version = f"v{released.version}" if released.version is not None else "not registered"
    champion = f"v{released.champion} is champion" if released.champion is not None else "there is no champion"
    moved = "promoted" if released.promoted else released.refused or ("waits for a person" if released.waits else "nothing promoted")
    return f"{released.model}: {released.verdict}, {version}, {moved}; {champion}"


def _waits(config: ReleaseConfig, released: Released) -> bool:
    passed = released.verdict == "PASS" and not released.refused and not released.promoted
    return config.publish.promotion == "manual" and passed and released.champion != released.version


def _publish(
    config: ReleaseConfig,
    steps: dict[str, Built],
    data_tags: dict[str, str],
    judged: tuple[Artifact, Artifact],
    store: MlflowStore,
    ledger: Ledger,
) -> tuple[Version | None, Transition | None, str]:
    """Record the candidate in its run, register it, and promote it if that is automatic.

    Args:
        judged: the verdict, and the bundle that it is about.

    Returns:
        The version (None after FAIL), the move (None if there was none), and why a PASS was not promoted.
    """
    name, (verdict, bundle) = registered_name(config.style, config.model), judged
    run = _record(config, steps, verdict, store, str(verdict.json("verdict.json")["verdict"]))
    lineage = _lineage(config, steps, data_tags) | {"timbre.run": run}
    refused, transition = "", None
    try:
        version, transition = publish(
            name, bundle, verdict, lineage, store, ledger, open_store(), promotion=config.publish.promotion, reason="timbre run"
        )
    except PromotionRefused as error:
        refused = str(error)
        version = next(item for item in store.versions(name) if item.verdict == verdict.digest)
    if version is not None:
        store.describe(version, run_page(config, steps).note)
    store.end_run(run)
    return version, transition, refused


def _record(config: ReleaseConfig, steps: dict[str, Built], verdict: Artifact, store: MlflowStore, outcome: str) -> str:
    """Write the gates' figures and the report into the candidate's run, unless they stand there already."""
    key = adapter_key(config, *(steps[name] for name in needs_of(STEP["adapter"], config).values()))
    run = store.run_for(key, config.style, run_name(config), {"profile": config.profile, "model": base_of(config.model)})
    complete_curve(store, run, steps["adapter"].open())
    if store.tag(run, "timbre.verdict") != verdict.digest:
        gates = verdict.json("verdict.json")["gates"]
        figures = {f"gate/{gate['name']}": float(gate["value"]) for gate in gates if gate.get("value") is not None}
        store.show(run, run_page(config, steps))
        store.log_outcome(run, verdict, figures, {"timbre.outcome": outcome, "timbre.verdict": verdict.digest})
    return run


def _lineage(config: ReleaseConfig, steps: dict[str, Built], data_tags: dict[str, str]) -> dict[str, str]:
    digests = {f"timbre.{name}": built.digest for name, built in steps.items()} | short_tags(steps)
    tags = {f"timbre.data.{stage}": tag for stage, tag in data_tags.items()}
    return (
        digests
        | tags
        | {
            "style": config.style,
            "policy": config.gate.policy,
            "timbre.style": config.style,
            "timbre.base": base_of(config.model),
            "timbre.policy": config.gate.policy,
            "timbre.commit": own_commit() or f"{__version__}, no checkout",
        }
    )


def _markdown(released: Released, steps: dict[str, Built], links: Mapping[str, str]) -> str:
    holder = f"v{released.champion}" if released.champion is not None else "nobody"
    rows = "\n".join(
        f"| {name} | `{built.digest[:12]}` | {'cached' if built.cached else f'{built.seconds:.0f} s'} |" for name, built in steps.items()
    )
    beside = f"Compared with v{released.compared_with}: `{released.comparison}`\n\n" if released.comparison and not links else ""
    beside += " · ".join(f"[{name}]({address})" for name, address in links.items()) + ("\n\n" if links else "")
    if released.waits:
        beside += f"It waits for a person: here on this page, or `timbre approve {released.waits[:12]}`\n\n"
    return (
        f"**{released.model}**: verdict **{released.verdict}**, version {released.version or 'not registered'}, {CHAMPION} is {holder}\n\n"
        f"{beside}| step | digest | time |\n|---|---|---|\n{rows}\n"
    )
