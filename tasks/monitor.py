"""Monitoring a style: the champion and the newest hand-in, held to the release; what moved becomes a retrain request.

seen = monitor("literary", ModelConfig())
seen.verdict                       PASS, FAIL (something moved) or INCONCLUSIVE
"""

import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from timbre.artifacts import Artifact, write_atomically
from timbre.config import ModelConfig
from timbre.monitoring.findings import Check, MonitorPolicy, failed, not_measured, read_policy
from timbre.monitoring.page import Judgement, Report, trend_page
from timbre.registry.requests import RetrainRequest, RetrainRequests
from timbre.settings import settings
from timbre.tasks.bundles import bundle_of
from timbre.tasks.context import known_style, open_ledger, open_store, registered_name

_POLICY = "data/monitor.toml"


def monitor(style: str, model: ModelConfig, seed: int = 0) -> Report:
    """Check champion and corpus, keep the report and the page, and file a retrain request where a check fails.

    Args:
        seed: of the texts; another one each day asks the model anew.

    Raises:
        ValueError: there is no champion, or what its release wrote is not on this machine.
        IntegrityError: the bundle is damaged.
    """
    policy = read_policy(settings().file(_POLICY))
    served = bundle_of(style, model)
    verdict = _verdict_of(served.model)
    checks = _checks(style, served.artifact, verdict, policy, seed)
    moved = failed(checks)
    outcome = "FAIL" if moved else "INCONCLUSIVE" if any(check.verdict == "INCONCLUSIVE" for check in checks) else "PASS"
    at = datetime.now(UTC)
    report = Report(
        at=at.isoformat(timespec="seconds"), model=served.model, style=style, version=served.version, verdict=outcome, checks=tuple(checks)
    )
    folder = settings().home / "monitor" / style
    if moved:
        reason = "; ".join(f"{check.name}: {check.sentence}" for check in moved)
        evidence = {"checks": [check.model_dump() for check in moved], "page": str(folder / "index.html"), "bundle": served.artifact.digest}
        with retrain_requests() as requests:
            request, _ = requests.file(served.model, style, served.version, reason, evidence)
            if policy.automatic and request.state == "open":
                request = requests.decide(request.id, "approved", "policy", f"{_POLICY}: automatic")
        report = report.model_copy(update={"request": request.id})
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{at:%Y%m%dT%H%M%S%f}.json", (report.model_dump_json(indent=2) + "\n").encode())
    write_trend(style, model)
    return report


def write_trend(style: str, model: ModelConfig) -> Path:
    """The page of a style's releases and monitoring runs; where it lies.

    Raises:
        ValueError: no such style.
    """
    known_style(style)
    name = registered_name(style, model)
    folder = settings().home / "monitor" / style
    folder.mkdir(parents=True, exist_ok=True)
    found = [Report.model_validate_json(path.read_bytes()) for path in sorted(folder.glob("*.json"))]
    page = folder / "index.html"
    reports = [report for report in found if report.model == name]
    write_atomically(page, trend_page(style, list(_judgements(name)), reports).encode())
    return page


@contextmanager
def retrain_requests() -> Iterator[RetrainRequests]:
    """The requests of this home's ledger."""
    settings().home.mkdir(parents=True, exist_ok=True)
    with closing(RetrainRequests(settings().ledger)) as requests:
        yield requests


def waiting() -> list[RetrainRequest]:
    """The retrain requests that wait for a decision."""
    with retrain_requests() as requests:
        return requests.all(waiting=True)


def start_approved(request: RetrainRequest) -> str:
    """Start the weekly release of the request's style where a Prefect server has it; the run's name, else empty."""
    import os

    if not os.environ.get("PREFECT_API_URL"):
        return ""
    from prefect.deployments import run_deployment
    from prefect.exceptions import ObjectNotFound

    try:
        run: Any = run_deployment(f"release/weekly-{request.style}", timeout=0)
    except (ObjectNotFound, ValueError):
        return ""
    return str(run.name)


def start_where_automatic(number: int) -> tuple[RetrainRequest, str]:
    """The request of a report, and the run that was started where the policy approved it; empty where it waits or no server is up."""
    with retrain_requests() as requests:
        request = next(one for one in requests.all() if one.id == number)
    return request, start_approved(request) if request.state == "approved" else ""


def _verdict_of(name: str) -> Artifact:
    with closing(open_ledger()) as ledger:
        champion = ledger.latest(name)
    assert champion is not None, "it has a bundle"
    try:
        return open_store().open("verdict", champion.verdict)
    except ValueError as error:
        raise ValueError(f"the verdict of {name} v{champion.version} is not on this machine: monitor where it was released") from error


def _checks(style: str, bundle: Artifact, verdict: Artifact, policy: MonitorPolicy, seed: int) -> list[Check]:
    from timbre.gates.evidence import items_of
    from timbre.inference.embeddings import packaged_encoder
    from timbre.monitoring import champion
    from timbre.serving.engine import Engine

    store, subject, encoder = open_store(), verdict.json("verdict.json")["subject"], packaged_encoder()
    engine = Engine.of(bundle)
    evaluation = _part("evaluation", subject["candidate"])
    rows = _part("generations", evaluation.manifest.inputs["generations"]).json_lines("generations.jsonl")
    written = champion.write(engine, champion.prompts_of(rows, policy.texts), seed)
    items = items_of(evaluation)
    return [
        *_guarded("style", lambda: champion.style(written, rows, policy, encoder)),
        *_guarded("facts", lambda: [champion.facts(engine, _probes(), items.get("fact_correct", {}), policy)]),
        *_guarded("safety", lambda: [champion.safety(written, _detector(), policy)]),
        *_guarded("latency", lambda: [champion.latency(written, bundle.json("latency.json")["onnx_ms_per_token"], policy)]),
        *_guarded("corpus", lambda: _corpus(style, store.open("corpus", subject["corpus"]), policy)),
    ]


def _guarded(name: str, check: Callable[[], list[Check]]) -> list[Check]:
    """What cannot be measured is said, and hides no other check."""
    try:
        return check()
    except (ValueError, KeyError) as error:
        return [not_measured(name, str(error))]


def _corpus(style: str, learnt: Artifact, policy: MonitorPolicy) -> list[Check]:
    from timbre.inference.embeddings import packaged_encoder
    from timbre.monitoring.corpus_drift import corpus_drift
    from timbre.tasks.stores.dvc import DataRegistry

    versions = [version for version in DataRegistry.open(settings()).history(style) if version.stage == "corpus"]
    newest = _part("corpus", versions[-1].digest) if versions else None
    return corpus_drift(learnt, newest, policy, packaged_encoder())


def _part(stage: str, digest: str) -> Artifact:
    try:
        return open_store().open(stage, digest)
    except ValueError as error:
        raise ValueError(f"the {stage} {digest[:12]} of the champion is not on this machine: monitor where it was released") from error


def _probes() -> Any:
    from timbre.evaluation.probes import read_probes

    return read_probes(settings().file("data/probes/facts.jsonl"), "facts")


def _detector() -> Any:
    from timbre.evaluation.toxicity import read_lexicon

    return read_lexicon(settings().file("data/lexicons/toxicity.toml"))


def _judgements(name: str) -> Iterator[Judgement]:
    with closing(open_ledger()) as ledger:
        champions = {transition.verdict: transition.version for transition in ledger.transitions(name) if transition.kind == "promote"}
        judged = ledger.verdicts(name)
    for one, at in judged:
        try:
            gates = json.loads(open_store().open("verdict", one.verdict).file("verdict.json").read_bytes())["gates"]
        except ValueError:
            gates = []  # made on another machine
        known = [gate for gate in gates if gate.get("value") is not None]
        yield Judgement(
            at=at.isoformat(timespec="minutes")[:16], outcome=one.outcome, version=champions.get(one.verdict),
            gates={gate["name"]: float(gate.get("scale", 1.0)) * float(gate["value"]) for gate in known},
            titles={gate["name"]: gate["title"] for gate in known}, units={gate["name"]: gate.get("unit", "") for gate in known},
        )  # fmt: skip
