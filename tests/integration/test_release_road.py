"""The whole road as a newcomer walks it: the real flow, DVC, Great Expectations, MLflow and ONNX on a tiny model."""

import dataclasses
import json
import signal
import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

if TYPE_CHECKING:
    from tests.integration.conftest import Checkout

pytestmark = pytest.mark.road


def test_first_run_ends_with_a_promoted_champion(walked: "tuple[Checkout, dict[str, object]]") -> None:
    place, outcome = walked
    assert (outcome["exit"], outcome["verdict"], outcome["version"], outcome["champion"], outcome["promoted"]) == (0, "PASS", 1, 1, True)
    gates = {gate["name"]: gate["verdict"] for gate in outcome["gates"]}  # type: ignore[attr-defined]
    assert gates == dict.fromkeys(("lineage", "held_out_nll", "parity", "bias"), "PASS")
    assert not any(step["cached"] for step in outcome["steps"].values())  # type: ignore[attr-defined]
    assert [(row["outcome"], row["policy"]) for row in place.json("history", "--verdicts")] == [("PASS", "tiny")]
    rows = place.json("status")["models"]
    assert [(row["champion"], row["previous"], row["challenger"]) for row in rows] == [(1, None, None)]


def test_same_command_again_builds_registers_and_writes_nothing(walked: "tuple[Checkout, dict[str, object]]") -> None:
    place, first = walked
    before = _kept(place)
    again = place.run()
    assert all(step["cached"] for step in again["steps"].values())
    assert (again["exit"], again["version"], again["promoted"], again["comparison"]) == (0, first["version"], False, "")
    assert len(place.json("history")) == 1
    assert _kept(place) == before and before["runs"] > 0 and before["model_versions"] == 1


def _kept(place: "Checkout") -> dict[str, Any]:
    """What a run that does nothing must leave as it is: MLflow's runs and versions, artifacts, commits and tags of the data."""
    with closing(sqlite3.connect(f"file:{place.home / 'mlflow.db'}?mode=ro", uri=True)) as database:
        kept: dict[str, Any] = {
            table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("runs", "model_versions", "metrics")
        }
    kept["artifacts"] = sorted(path.parent.name for path in (place.home / "artifacts").glob("*/*/manifest.json"))
    git = ["git", "-C", str(place.home / "registry"), "for-each-ref", "--format=%(refname) %(objectname)"]
    kept["data"] = subprocess.run(git, check=True, capture_output=True, text=True).stdout
    return kept


def test_text_streams_from_the_champion_and_a_seed_fixes_it(walked: "tuple[Checkout, dict[str, object]]") -> None:
    place, _ = walked
    one, two = (place.json("generate", "It was", "--style", "tiny", "--model", str(place.model), "--tokens", "12") for _ in range(2))
    measured = {"engine_start_s", "first_token_ms", "tokens_per_second"}
    assert one["text"] and measured <= one.keys()
    assert {name: one[name] for name in one.keys() - measured} == {name: two[name] for name in two.keys() - measured}


def test_a_restored_home_serves_the_same_champion(walked: "tuple[Checkout, dict[str, object]]", tmp_path: Path) -> None:
    place, _ = walked
    words = ("--style", "tiny", "--model", str(place.model))
    before = place.json("generate", "It was", *words, "--tokens", "12")
    assert place.timbre("backup", str(tmp_path / "saved.tar")).returncode == 0
    restored = dataclasses.replace(place, home=tmp_path / "elsewhere")
    done = restored.timbre("restore", str(tmp_path / "saved.tar"))
    assert done.returncode == 0, done.stderr
    again = restored.json("generate", "It was", *words, "--tokens", "12")
    assert [again[name] for name in ("version", "bundle", "text")] == [before[name] for name in ("version", "bundle", "text")]
    assert restored.json("status")["models"][0]["champion"] == place.json("status")["models"][0]["champion"]
    assert restored.json("doctor")["damaged"] == []


def test_a_changed_training_parameter_reruns_training_and_what_follows_only(walked: "tuple[Checkout, dict[str, object]]") -> None:
    place, _ = walked
    changed = place.run(**{"training.epochs": 5})
    rerun = {name for name, step in changed["steps"].items() if not step["cached"]}
    assert rerun == {"adapter", "generations", "evaluation", "bundle", "verdict"}
    assert (changed["verdict"], changed["champion"], changed["version"]) == ("PASS", 2, 2)
    beside = Path(changed["comparison"])
    assert changed["compared_with"] == 1 and "v2 compared with v1." in beside.read_text()
    when = beside.stat().st_mtime_ns
    step_by_step = place.release(**{"training.epochs": 5})
    assert {name: step_by_step[name] for name in ("version", "champion", "promoted", "comparison")} == {
        "version": 2, "champion": 2, "promoted": False, "comparison": str(beside),
    }  # fmt: skip
    assert beside.stat().st_mtime_ns == when and len(place.json("history")) == 2
    back = place.json("rollback", "--style", "tiny", "--model", str(place.model))
    assert (back["champion"], back["previous"]) == (1, 2)
    assert place.json("doctor")["damaged"] == []


def test_a_baseline_is_trained_and_measured_beside_the_candidate_and_moves_no_gate(walked: "tuple[Checkout, dict[str, object]]") -> None:
    place, first = walked
    both = place.run(**{"baseline.objective": "sft"})
    rerun = {name for name, step in both["steps"].items() if not step["cached"]}
    assert rerun == {"baseline_adapter", "baseline_generations", "baseline_evaluation", "verdict"}
    assert both["gates"] == first["gates"]


def test_ctrl_c_in_the_middle_of_a_run_ends_all_of_it_and_loses_nothing(walked: "tuple[Checkout, dict[str, object]]") -> None:
    place, _ = walked
    before = {name: place.json(*name.split()) for name in ("status", "history")}
    process = place.begin(**{"training.epochs": 4000})
    deadline = time.monotonic() + 400
    while not list(place.home.glob("work/*/curve.jsonl")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.2)
    (curve,) = place.home.glob("work/*/curve.jsonl")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130, said[-3000:]
    assert said.splitlines()[-1] == "timbre: interrupted; run the same command again to go on where it stopped"
    assert not (place.home / "run.json").exists() and _started_for(place.home) == []
    assert {name: place.json(*name.split()) for name in before} == before
    assert place.json("doctor")["unfinished"] == [curve.parent.name[:12]], "it goes on there"


def test_a_killed_run_leaves_no_process_and_the_same_command_goes_on(walked: "tuple[Checkout, dict[str, object]]") -> None:
    """SIGKILL of the command alone, in the middle of training: its step, the process that forked it and Prefect's API end by themselves."""
    place, _ = walked
    before, changes = place.json("history"), {"training.epochs": 60}
    others, unfinished = set(place.home.glob("work/*/curve.jsonl")), place.json("doctor")["unfinished"]
    process = place.begin(**changes)
    deadline = time.monotonic() + 400
    while not (curves := set(place.home.glob("work/*/curve.jsonl")) - others) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(curves) == 1 and len(_started_for(place.home)) >= 4, "the run, the process behind its steps, the step, Prefect's API"
    left = [psutil.Process(pid) for pid in _pids_for(place.home)]
    process.kill()
    process.communicate(timeout=60)
    _gone, alive = psutil.wait_procs(left, timeout=120)
    assert not alive and _started_for(place.home) == []
    again = place.run(**changes)
    built = {name for name, step in again["steps"].items() if not step["cached"]}
    assert again["exit"] == 0 and "adapter" in built and not built & {"corpus", "target", "prompts"}
    assert len(place.json("history")) <= len(before) + 1 and place.json("doctor")["unfinished"] == unfinished


_CRASH = """
import importlib.util, sys

class Breaker:
    def find_spec(self, name, path=None, target=None):
        if name != "timbre.evaluation.suite":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        plain = spec.loader.exec_module

        def exec_module(module):
            plain(module)
            module.measure_style = lambda *_: {}["broken"]

        spec.loader.exec_module = exec_module
        return spec

sys.meta_path.insert(0, Breaker())
"""


def test_a_run_whose_measuring_crashed_fails_and_the_next_run_measures_again(
    walked: "tuple[Checkout, dict[str, object]]", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, _ = walked
    (tmp_path / "sitecustomize.py").write_text(_CRASH)
    with monkeypatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        broken = place.run(**{"training.epochs": 3})
    assert (broken["exit"], broken["verdict"], broken["version"], broken["promoted"]) == (3, "FAIL", None, False)
    said = {gate["name"]: gate["sentence"] for gate in broken["gates"]}["held_out_nll"]
    assert "the candidate evaluation failed: the measuring crashed" in said and "KeyError" in said
    again = place.run(**{"training.epochs": 3})
    assert {name for name, step in again["steps"].items() if not step["cached"]} == {"evaluation", "verdict"}
    assert (again["exit"], again["verdict"], again["promoted"]) == (0, "PASS", True)
    assert [row["outcome"] for row in place.json("history", "--verdicts")][-2:] == ["FAIL", "PASS"]


def test_a_project_that_marks_its_texts_measures_a_release_marked_and_its_answers_are_found(
    walked: "tuple[Checkout, dict[str, object]]", tmp_path: Path
) -> None:
    from tests.unit.serving.conftest import serving
    from timbre.inference.generation import MEASURED

    place, first = walked
    options = ("--style", "tiny", "--model", str(place.model))

    def marks(outcome: dict[str, Any]) -> float:
        folder = place.home / "artifacts" / "generations" / outcome["steps"]["generations"]["digest"]
        rows = [json.loads(line) for line in (folder / "generations.jsonl").read_text().splitlines()]
        drawn = [row["token_ids"] for row in rows if row["kind"] == "style" and row["sampler"] == "serving"]
        return MEASURED.detect([token for ids in drawn for token in ids]).p_value

    asked = place.run(**{"evaluation.watermark": True})
    assert (asked["exit"], asked["verdict"], asked["promoted"]) == (0, "PASS", True)
    written = {"base_generations", "base_memorisation", "base_evaluation", "generations", "evaluation", "verdict"}
    assert {name for name, step in asked["steps"].items() if not step["cached"]} == written
    assert marks(asked) < 0.01 < marks(first)
    policy = place.root / "data" / "serving.toml"
    shipped = policy.read_text()
    policy.write_text(shipped.replace('watermark = "request"', 'watermark = "long"'))
    try:
        again = place.run()
        assert all(step["cached"] for step in again["steps"].values()) and again["version"] == asked["version"]
        assert place.timbre("serve", "--new-watermark-key").returncode == 0
        with serving(place.home, *options, "--limit", "max_tokens=400", TIMBRE_ROOT=str(place.root)) as server:
            for name, more in (("marked", {}), ("plain", {"watermark": False})):
                texts = [server.text("It was", max_tokens=230, seed=seed, **more)["choices"][0]["text"] for seed in range(40)]
                (tmp_path / name).write_text("".join(texts), encoding="utf-8")
    finally:
        policy.write_text(shipped)
    told = {name: place.json("detect", str(tmp_path / name), *options) for name in ("marked", "plain")}
    assert told["marked"]["marked"] and not told["plain"]["marked"] and told["plain"]["tokens"] > 200, told


def _started_for(home: Path) -> list[str]:
    """Commands of processes that still work on this home."""
    found = []
    for pid in _pids_for(home):
        with suppress(psutil.Error):
            found.append(" ".join(psutil.Process(pid).cmdline()))
    return found


def _pids_for(home: Path) -> list[int]:
    """Processes that were started for this home; what was forked shows the environment of the process that it was forked from."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("TIMBRE_HOME") == str(home):
                found.append(process.pid)
    return found
