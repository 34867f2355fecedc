import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_inputs import LEXICON, EvaluationInputs, lines_of, make_adapter, rows_of

from timbre.artifacts import Artifact, ArtifactStore, FileInput
from timbre.evaluation.stage import STAGE
from timbre.progress import SILENT
from timbre.settings import PROJECT_ROOT


def test_every_figure_that_the_gates_read_is_there(base: Artifact) -> None:
    summary = base.json("summary.json")
    likelihood = summary["likelihood"]
    assert likelihood["nll"] == pytest.approx(
        sum(r["value"] for r in rows_of(base, "nll")) / sum(r["value"] for r in rows_of(base, "nll_tokens"))
    )
    assert likelihood["calibration_gap"] == pytest.approx(likelihood["nll"] - likelihood["entropy"])
    assert likelihood["documents"] == 8
    assert summary["probes"] == {"bias": 8, "facts": 10}
    assert summary["memorisation"]["prompts"] == 3
    assert summary["memorisation"]["tokens"] == 3 * 40
    assert summary["sentinel"]["prompts"] == 2
    assert (summary["extraction"]["passages"], summary["extraction"]["samples"]) == (2, 3)
    assert summary["extraction"]["bmc"] == pytest.approx(sum(r["value"] for r in rows_of(base, "bmc")) / 2)
    assert summary["toxicity"]["texts"] == 4 + 2 * 3 + 3 and summary["toxicity"]["by"] == "toxicity"
    coherence = summary["coherence"]
    assert (coherence["texts"], coherence["human_texts"], coherence["scorer"]) == (4, 4, "the base model itself")
    assert coherence["low"] <= coherence["share"] <= coherence["high"]
    assert " of 4 texts" in summary["wrong_script_sentence"]
    assert {r["cluster"] for r in rows_of(base, "bias_signed")} == {"t0", "t1", "t2", "t3"}
    assert {r["value"] for r in rows_of(base, "fact_correct")} <= {0.0, 1.0}


def test_items_are_sorted_and_each_is_there_once(base: Artifact) -> None:
    import pyarrow.parquet as pq

    names = [(row["metric"], row["item"]) for row in pq.read_table(base.file("items.parquet")).to_pylist()]
    assert names == sorted(set(names))


def test_an_adapter_is_measured_on_the_same_items(prepared: EvaluationInputs, base: Artifact, tmp_path: Path) -> None:
    candidate = prepared.evaluated(prepared.store, make_adapter(prepared, tmp_path, {"trained_passages": [["doc-00", 64]]}))
    for metric in ("nll", "entropy", "bias_signed", "fact_margin", "longest_span", "coverage_5gram", "sentinel_longest_span"):
        ours, theirs = rows_of(candidate, metric), rows_of(base, metric)
        assert ours and [(row["item"], row["cluster"]) for row in ours] == [(row["item"], row["cluster"]) for row in theirs]
        assert [row["value"] for row in ours] == pytest.approx([row["value"] for row in theirs], abs=1e-4)
    assert candidate.file("generations.jsonl").read_bytes() == base.file("generations.jsonl").read_bytes()
    assert all(line.keys() >= {"prompt_id", "cluster", "kind", "sample", "about", "sampler"} for line in lines_of(base))


def test_a_model_that_gives_nan_is_measured_as_failed_and_never_a_number(prepared: EvaluationInputs, tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "home", SILENT)
    failed = prepared.evaluated(store, make_adapter(prepared, tmp_path, weight=math.nan))
    assert set(failed.manifest.files) == {"summary.json"}
    assert "NaN" in failed.json("summary.json")["failed"]


def test_a_failed_evaluation_is_a_fail_verdict_that_says_why(prepared: EvaluationInputs, base: Artifact, tmp_path: Path) -> None:
    from timbre.gates.evidence import read_evidence
    from timbre.gates.policy import read_policy
    from timbre.gates.verdict import judge

    failed = prepared.evaluated(prepared.store, make_adapter(prepared, tmp_path, weight=math.nan))
    others = dict.fromkeys(("bundle", "adapter", "target", "corpus"), prepared.corpus)
    judgement = judge(
        read_evidence(others | {"candidate": failed, "base": base}), read_policy(PROJECT_ROOT / "mlflow" / "policies" / "quick.toml")
    )
    gates = {gate.name: gate for gate in judgement.gates}
    assert judgement.verdict == "FAIL"
    for name in ("held_out_nll", "bias", "facts", "memorisation"):
        assert gates[name].verdict == "FAIL" and "NaN" in gates[name].sentence


def test_generations_of_another_adapter_are_refused(prepared: EvaluationInputs, tmp_path: Path) -> None:
    config = prepared.config
    prompts = prepared.prompts(prepared.store, config)
    adapter, other = make_adapter(prepared, tmp_path / "a"), make_adapter(prepared, tmp_path / "b", {"name": "other"})
    theirs = prepared.generations(prepared.store, config, prompts=prompts, target=prepared.target, adapter=other)
    inputs = prepared.measured_from(prompts) | {"generations": theirs}
    with pytest.raises(ValueError, match="another adapter"):
        prepared.store.build(STAGE, config, inputs | {"adapter": adapter})
    with pytest.raises(ValueError, match="other settings"):
        prepared.store.build(STAGE, config.model_copy(update={"bias_items": 4}), inputs | {"adapter": other})


def test_key_and_cached_artifact_need_no_torch(prepared: EvaluationInputs, base: Artifact) -> None:
    code = (
        "import sys, pathlib, json\n"
        "from timbre.artifacts import ArtifactStore, FileInput\n"
        "from timbre.config import EvaluationConfig\n"
        "from timbre.evaluation import generations_stage, prompts_stage\n"
        "from timbre.evaluation.stage import STAGE\n"
        "from timbre.progress import SILENT\n"
        "store = ArtifactStore(pathlib.Path(sys.argv[1]), SILENT)\n"
        "stages = {'memorisation': 'generations'}\n"
        "inputs = {name: FileInput(pathlib.Path(value)) if '/' in value else store.open(stages.get(name, name), value)"
        " for name, value in json.loads(sys.argv[2]).items()}\n"
        "found = store.build(STAGE, EvaluationConfig.model_validate_json(sys.argv[3]), inputs)\n"
        "heavy = {'torch', 'transformers', 'numpy', 'scipy', 'pandas'} & set(sys.modules)\n"
        "print(json.dumps([found.cached, found.digest, sorted(heavy)]))\n"
    )
    files = prepared.files | {"lexicon": LEXICON}
    named = base.manifest.inputs | {name: str(file.path) for name, file in files.items() if name in base.manifest.inputs}
    arguments = [str(prepared.store.home), json.dumps(named), prepared.config.model_dump_json()]
    said = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True).stdout
    assert json.loads(said) == [True, base.digest, []]


def test_another_probe_file_is_another_key(prepared: EvaluationInputs, tmp_path: Path) -> None:
    changed = tmp_path / "bias.jsonl"
    changed.write_text(prepared.files["bias_probes"].path.read_text() + "\n")
    inputs = prepared.measured_from(prepared.prompts(prepared.store, prepared.config))
    assert STAGE.key(prepared.config, inputs) != STAGE.key(prepared.config, inputs | {"bias_probes": FileInput(changed)})


@pytest.mark.parametrize(
    "error", [ZeroDivisionError("by nothing"), KeyError("gone"), np.linalg.LinAlgError("singular"), RuntimeError("of torch")]
)
def test_a_room_that_crashes_leaves_evidence_on_which_nothing_passes(
    error: Exception, prepared: EvaluationInputs, base: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: Any) -> None:
        raise error

    store, adapter = ArtifactStore(tmp_path / "store", SILENT), make_adapter(prepared, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("timbre.evaluation.suite.measure_style", crash)
        failed = prepared.evaluated(store, adapter)
    assert failed.json("summary.json") == {"failed": f"the measuring crashed in crash: {type(error).__name__}: {error}"}
    with monkeypatch.context() as patch, pytest.raises(ValueError, match="choose another"):
        patch.setattr("timbre.evaluation.suite.measure_style", lambda *_: (_ for _ in ()).throw(ValueError("choose another")))
        prepared.evaluated(ArtifactStore(tmp_path / "other", SILENT), adapter)
    measured = prepared.evaluated(store, adapter)
    assert not measured.cached and "items.parquet" in measured.manifest.files, "a crash is no evidence to keep: the next run measures"
    assert prepared.evaluated(store, adapter).cached


@pytest.mark.parametrize("broken", ["crash", "NaN"])
def test_a_run_whose_measuring_broke_fails_and_the_next_measures_again(
    broken: str, prepared: EvaluationInputs, base: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timbre.gates.evidence import read_evidence
    from timbre.gates.policy import read_policy
    from timbre.gates.verdict import judge

    def breaks(*_: Any) -> tuple[list[dict[str, Any]], dict[str, float]]:
        if broken == "crash":
            raise IndexError("out of range")
        return [], {"oddness": math.nan}

    store, adapter = ArtifactStore(tmp_path / "store", SILENT), make_adapter(prepared, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr("timbre.evaluation.suite.measure_style", breaks)
        failed = prepared.evaluated(store, adapter)
    others = dict.fromkeys(("bundle", "adapter", "target", "corpus"), prepared.corpus)
    judgement = judge(
        read_evidence(others | {"candidate": failed, "base": base}), read_policy(PROJECT_ROOT / "mlflow" / "policies" / "quick.toml")
    )
    said = {gate.name: gate.sentence for gate in judgement.gates}["held_out_nll"]
    assert judgement.verdict == "FAIL" and ("IndexError" in said if broken == "crash" else "oddness is not finite" in said)
    assert not prepared.evaluated(store, adapter).cached
