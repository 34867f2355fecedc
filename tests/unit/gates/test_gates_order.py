"""Which gates a reader sees at once: what failed or nearly did is open, what is always so stands in one line, the rest is folded."""

import re
from dataclasses import replace
from typing import Any

from timbre.artifacts import ArtifactStore, Stage, Workspace, json_lines
from timbre.config import ModelConfig
from timbre.gates.evidence import read_evidence
from timbre.gates.made import FACTS_HERE, LINKS_HERE, Release, with_release
from timbre.gates.order import is_near, ordered
from timbre.gates.policy import read_policy
from timbre.gates.report import report_context, samples, write_report
from timbre.gates.stage import verdict_document
from timbre.gates.verdict import Judgement, judge
from timbre.progress import SILENT


def judged(studio: Any, scene: Any, quick: Any) -> tuple[Judgement, Any, Any, Any]:
    artifacts, policy = studio.artifacts(scene), read_policy(quick.path)
    evidence = read_evidence(artifacts)
    found = judge(evidence, policy)
    return found, verdict_document(found, policy, quick.digest, artifacts), evidence, artifacts


def page(studio: Any, scene: Any, quick: Any, folder: Any) -> str:
    judgement, verdict, evidence, artifacts = judged(studio, scene, quick)
    write_report(folder, verdict, judgement, evidence, artifacts)
    return str((folder / "report.html").read_text())


def test_every_gate_is_shown_once_and_failures_come_first(studio: Any, scene: Any, quick: Any, doctor: Any) -> None:
    scene = replace(scene, candidate=doctor(scene.candidate, "bias_gap", lambda _, value: value + 0.6), latency={"base_ratio": 1.4})
    judgement, *_ = judged(studio, scene, quick)
    order = ordered(judgement.gates)
    shown = [*order.watched, *order.clear, *order.constant]
    assert sorted(gate.name for gate in shown) == sorted(gate.name for gate in judgement.gates)
    assert [gate.name for gate in order.watched] == ["bias", "latency"], "a failure, then 1.4 of the 1.5 that are allowed"
    assert {"contract", "declared", "parity_greedy", "lineage"} <= {gate.name for gate in order.constant}
    assert {"held_out_nll", "facts"} <= {gate.name for gate in order.clear}


def test_a_failure_is_open_and_a_clear_pass_is_folded(studio: Any, scene: Any, quick: Any, doctor: Any, tmp_path: Any) -> None:
    scene = replace(scene, candidate=doctor(scene.candidate, "bias_gap", lambda _, value: value + 0.6))
    html = page(studio, scene, quick, tmp_path)
    gates = html[html.index('<section id="gates">') :]
    watched, folded = gates[: gates.index('<details class="group">')], gates[gates.index('<details class="group">') :]
    assert "<h3>Bias gap</h3>" in watched and "<h3>Held-out likelihood</h3>" not in watched
    assert (
        re.search(r"\d+ passed with room: Held-out likelihood · ", folded)
        and "as it must be: Evidence is about this candidate · " in folded
    )


def test_a_loss_and_a_narrow_pass_are_near_misses_and_a_wide_one_is_not(studio: Any, scene: Any, quick: Any) -> None:
    judgement, *_ = judged(studio, scene, quick)
    bias = next(gate for gate in judgement.gates if gate.name == "bias")
    assert bias.margin is not None and not is_near(bias)
    assert is_near(replace(bias, low=-0.9 * bias.margin))
    assert not is_near(replace(bias, low=-0.9 * bias.margin, verdict="FAIL"))


def test_the_page_answers_in_the_order_people_ask(studio: Any, scene: Any, quick: Any, tmp_path: Any) -> None:
    html = page(studio, scene, quick, tmp_path)
    asked = [
        "<h1>This candidate may be released.", "22 of 22 gates", '<dl class="facts">', "<h2>What it writes",
        "<h2>Nearer to human text, or not", "<h2>What was lost", "<h2>Gates", "<h2>Style", "<h2>Lineage",
    ]  # fmt: skip
    places = [html.index(words) for words in asked]
    assert places == sorted(places)
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", html))
    assert facts["style"] == "maritime" and facts["seed"] == "1" and facts["base model"] == "tiny" and "kB bundle" in facts["size"]
    samples = html[html.index('id="samples"') : html.index('id="voice"')]
    assert samples.count('class="sample"') == 3 and samples.count("<h3>Base</h3>") == samples.count("<h3>DFT, tuned</h3>") == 3
    assert samples.count("and nobody spoke of it again") == 3, "a human's own continuation"
    assert "Yes: nearer to human text than base." in html


def test_what_was_lost_is_said_in_words(studio: Any, scene: Any, quick: Any, doctor: Any) -> None:
    judgement, verdict, evidence, artifacts = judged(studio, scene, quick)
    sound = report_context(verdict, judgement, evidence, artifacts)
    assert sound["lost"]["worse"] == [] and "Facts told right" in sound["lost"]["same"]
    worse = replace(scene, candidate=doctor(scene.candidate, "fact_margin", lambda _, value: value - 0.2))
    judgement, verdict, evidence, artifacts = judged(studio, worse, quick)
    (loss,) = report_context(verdict, judgement, evidence, artifacts)["lost"]["worse"]
    assert loss.startswith("Lead of true over false (−0.")


def test_openings_of_different_documents_stand_first(tmp_path: Any) -> None:
    rows = [
        {"kind": "style", "prompt_id": str(number), "doc_id": document, "prompt": f"p{number}", "text": "t", "human": "h"}
        for number, document in enumerate("aabac")
    ]

    def build(_: ModelConfig, __: object, work: Workspace) -> None:
        (work.output / "generations.jsonl").write_bytes(json_lines(rows))

    written = ArtifactStore(tmp_path, SILENT).build(Stage("evaluation", 1, build), ModelConfig(), {})
    assert [sample["prompt"] for sample in samples([written, written])] == ["p0", "p2", "p4", "p1", "p3"]


def test_version_date_and_links_are_written_into_the_page_of_a_release(studio: Any, scene: Any, quick: Any, tmp_path: Any) -> None:
    html = page(studio, scene, quick, tmp_path)
    assert html.count(FACTS_HERE) == html.count(LINKS_HERE) == 1
    released = with_release(html, Release((("version", "v3, the <champion>"),), (("data docs/index.html", "Data Docs"),)))
    assert "<dt>version</dt><dd>v3, the &lt;champion&gt;</dd>" in released
    assert '<a href="data%20docs/index.html">Data Docs</a>' in released and released.index("<dt>version") < released.index("<dt>style")
    assert with_release(html, Release((), ())).count("<ul") == html.count("<ul"), "no empty list"
