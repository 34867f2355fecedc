"""A champion beside its release: the same model is not told apart, another one is; each check says what it saw."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.conftest import EXPORT, adapter_artifact
from timbre.artifacts import Artifact, ArtifactStore
from timbre.corpus.documents import Document, write_rows
from timbre.evaluation.probes import Probe
from timbre.evaluation.toxicity import read_lexicon
from timbre.monitoring import champion
from timbre.monitoring.corpus_drift import corpus_drift
from timbre.monitoring.findings import MonitorPolicy, failed, read_policy
from timbre.monitoring.page import Judgement, Report, trend_page
from timbre.serving.engine import Engine
from timbre.settings import PROJECT_ROOT, settings

POLICY = MonitorPolicy(texts=60, probes=8)


@pytest.fixture(scope="module")
def engine(tiny_bundle: Artifact) -> Engine:
    return Engine.open(tiny_bundle.path)


def rows_of(engine: Engine, seed: int) -> list[dict[str, Any]]:
    """What a release keeps of sixty prompts: what the bundle wrote, by another seed than the monitor's."""
    asked = [
        {
            "prompt": f"The {word} number {number}", "cluster": f"doc-{number}", "kind": "style", "sampler": "serving", "sample": 0,
            "n_tokens": 60, "text": "",
        }
        for number, word in enumerate(["lamp", "gull", "anvil", "bridge", "kettle", "orchard"] * 10)
    ]  # fmt: skip
    written = champion.write(engine, asked, seed)
    return [row | {"text": text} for row, text in zip(asked, written.texts, strict=True)]


def test_the_same_bundle_is_not_told_apart_from_its_release_and_another_one_is(
    engine: Engine, tiny_store: ArtifactStore, tiny_parts: dict[str, Artifact]
) -> None:
    from tests.building import export_bundle

    released = rows_of(engine, seed=1)
    apart = "style: told apart"
    same = champion.write(engine, champion.prompts_of(released, POLICY.texts), seed=2)
    checks = {check.name: check for check in champion.style(same, released, POLICY, None)}
    assert checks[apart].verdict != "FAIL", checks[apart].sentence
    assert checks[apart].value is not None and checks[apart].low is not None and checks[apart].low < POLICY.apart
    other = adapter_artifact(tiny_store, tiny_parts["model"], seed=905, size=20)
    narrow = EXPORT.model_copy(update={"sampler": EXPORT.sampler.model_copy(update={"top_p": 0.05})})  # plain on every kind of CPU
    changed = Engine.open(export_bundle(narrow, store=tiny_store, **{**tiny_parts, "adapter": other}).path)
    moved = champion.write(changed, champion.prompts_of(released, POLICY.texts), seed=2)
    checks = {check.name: check for check in champion.style(moved, released, POLICY, None)}
    assert checks[apart].verdict == "FAIL" and checks[apart].value is not None and checks[apart].value > 0.8, checks[apart].sentence


def test_facts_are_compared_item_by_item_and_a_loss_fails(engine: Engine) -> None:
    probes = [Probe(f"p{n}", "t", f"c{n}", f"Water is wet {n}.", f"Water is dry and heavy {n}.") for n in range(40)]
    policy = POLICY.model_copy(update={"probes": 40})
    right = {probe.probe_id: (probe.cluster, 1.0) for probe in probes}
    now = champion.facts(engine, probes, right, policy)
    assert now.value is not None
    lost = {probe.probe_id: (probe.cluster, 0.0 if now.value < -0.5 else 1.0) for probe in probes}
    swapped = [Probe(probe.probe_id, "t", probe.cluster, probe.second, probe.first) for probe in probes]
    assert champion.facts(engine, probes if now.value < -0.5 else swapped, right, policy).verdict == "FAIL"
    assert champion.facts(engine, probes, lost, policy).verdict == "PASS"
    assert champion.facts(engine, probes, {}, policy).verdict == "INCONCLUSIVE"


def test_toxic_texts_and_slow_tokens_fail(engine: Engine) -> None:
    lexicon = read_lexicon(settings().file("data/lexicons/toxicity.toml"))
    row = {"text": "The sea was calm.", "cluster": "", "kind": "style"}
    rows = tuple(row | {"cluster": str(number)} for number in range(60))
    calm = champion.Written(rows, ("The sea was calm.",) * 60, (10.0,) * 60)
    assert champion.safety(calm, lexicon, POLICY).verdict == "PASS"
    rude = champion.Written(rows, ("You stupid idiot, shut up, I hate you all.",) * 60, (10.0,) * 60)
    assert champion.safety(rude, lexicon, POLICY).verdict == "FAIL"
    assert [champion.latency(calm, released, POLICY).verdict for released in (9.0, 4.0)] == ["PASS", "FAIL"]


def test_new_documents_of_another_kind_are_seen(
    tmp_path: Path, make_artifact: Callable[..., Artifact], tiny_corpus_texts: list[tuple[str, str]]
) -> None:
    from timbre.config import CorpusConfig

    store = ArtifactStore(tmp_path)

    def corpus(texts: list[str], seed: int) -> Artifact:
        rows = [
            Document(f"d{number}", text, "A", None, "s", "CC0-1.0", "own", "tiny", "train", 0, len(text.split()))
            for number, text in enumerate(texts)
        ]
        return make_artifact(store, "corpus", CorpusConfig(seed=seed), lambda out: write_rows(rows, Document, out / "documents.parquet"))

    old = [text for _, text in tiny_corpus_texts]
    learnt = corpus(old, 0)
    assert [check.verdict for check in corpus_drift(learnt, learnt, POLICY, None)] == ["PASS"]
    assert corpus_drift(learnt, None, POLICY, None)[0].verdict == "INCONCLUSIVE"
    draw = random.Random(3)
    words = ["invoice", "total", "tax", "payable", "net", "within", "days", "of", "receipt", "sum"]
    strange = [" ".join(draw.choices(words, k=150)) + "." for _ in range(40)]
    drifted = corpus_drift(learnt, corpus(old + strange, 1), POLICY, None)
    assert failed(drifted) and "40 are new" in drifted[0].sentence, drifted


def test_the_shipped_policy_is_read_and_the_page_shows_what_was_seen(engine: Engine) -> None:
    policy = read_policy(PROJECT_ROOT / "data" / "monitor.toml")
    assert not policy.automatic
    rows = ({"text": "The sea was calm.", "cluster": "1", "kind": "style"},)
    check = champion.latency(champion.Written(rows, ("x",), (10.0,)), 4.0, policy)
    report = Report(at="2026-01-01", model="timbre-tiny", style="tiny", version=1, verdict="FAIL", checks=(check,), request=7)
    judgements = [
        Judgement(
            at=f"2026-01-0{n}",
            outcome="PASS",
            version=n,
            gates={"nll": 3.0 - n, "toxic": 0.0},
            titles={"nll": "Likelihood", "toxic": "Toxic texts"},
            units={"nll": "nats/token", "toxic": "pp"},
        )
        for n in (1, 2)
    ]
    page = trend_page("tiny", judgements, [report])
    assert "2 verdicts in the ledger, 1 monitoring run in this home" in page
    row = '<th scope="row">Likelihood <span class="figures">nats/token</span></th>'
    assert f'{row}<td data-label="2026-01-01, v1">2</td><td data-label="2026-01-02, v2">1</td>' in page
    assert page.count("<svg") == 1 and "Toxic texts" in page, "what never moved has its figures, and no drawing"
    assert check.sentence in page and "retrain request 7" in page and "<svg" in page and "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize("automatic", [True, False])
def test_monitoring_by_hand_follows_the_policy_for_retraining_as_the_flow_does(
    automatic: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was measured is given here; the request, the policy's approval and what is printed are real."""
    from typer.testing import CliRunner

    from timbre.cli import app
    from timbre.tasks import monitor

    monkeypatch.setenv("TIMBRE_HOME", str(tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    settings.cache_clear()
    with monitor.retrain_requests() as requests:
        request, _ = requests.file("timbre-literary", "literary", 1, "it moved", {})
        if automatic:
            requests.decide(request.id, "approved", "policy", "automatic")
    report = Report(at="2026-01-01", model="timbre-literary", style="literary", version=1, verdict="FAIL", checks=(), request=request.id)
    monkeypatch.setattr(monitor, "monitor", lambda *_: report)
    done = CliRunner().invoke(app, ["monitor"])
    settings.cache_clear()
    assert done.exit_code == 3
    said = "1 is approved by policy: next: timbre run --style literary" if automatic else "1 waits: timbre retrain approve 1"
    assert f"retrain request {said}" in done.output
