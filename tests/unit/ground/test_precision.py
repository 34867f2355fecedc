"""In which numbers models run is resolved once, told, and part of what a result is."""

import json
from pathlib import Path

import pytest

from timbre import precision as room
from timbre.artifacts import Artifact, ArtifactStore, IntegrityError, Stage, Workspace
from timbre.config import ModelConfig
from timbre.precision import Precision, precision
from timbre.progress import SILENT
from timbre.settings import settings


def _write(_config: ModelConfig, _inputs: object, work: Workspace) -> None:
    (work.output / "said.txt").write_text("the same")


RUNS, READS = Stage("runs", 1, _write, runs_model=True), Stage("reads", 1, _write)


@pytest.fixture
def numbers(home: Path, monkeypatch: pytest.MonkeyPatch) -> "type[_Numbers]":
    _Numbers.patch = monkeypatch
    return _Numbers


class _Numbers:
    patch: pytest.MonkeyPatch

    @classmethod
    def are(cls, dtype: str, device: str = "cpu") -> None:
        cls.patch.setenv("TIMBRE_DTYPE", dtype)
        cls.patch.setenv("TIMBRE_DEVICE", device)
        settings.cache_clear()


def test_another_precision_is_another_key_only_where_a_model_runs(numbers: type[_Numbers]) -> None:
    keys = {}
    for dtype in ("float32", "bfloat16"):
        numbers.are(dtype)
        keys[dtype] = RUNS.key(ModelConfig(), {}), READS.key(ModelConfig(), {})
    assert keys["float32"][0] != keys["bfloat16"][0] and keys["float32"][1] == keys["bfloat16"][1]


def test_the_manifest_says_the_precision_and_a_changed_one_is_found(numbers: type[_Numbers], home: Path) -> None:
    numbers.are("float32")
    artifact = ArtifactStore(home, SILENT).build(RUNS, ModelConfig(), {})
    assert artifact.manifest.precision == Precision(weights="float32", products="float32", device="cpu")
    path = artifact.path / "manifest.json"
    told = json.loads(path.read_bytes())
    told["precision"]["weights"] = "bfloat16"
    path.write_text(json.dumps(told))
    with pytest.raises(IntegrityError, match="its key does not follow"):
        Artifact.open(artifact.path)


def test_auto_measures_once_a_home_and_kind_of_cpu(numbers: type[_Numbers], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[float] = []

    def times(factor: float) -> None:
        room._resolved.cache_clear()
        monkeypatch.setattr(room, "times_as_fast", lambda: measured.append(factor) or factor)

    numbers.are("auto")
    monkeypatch.setattr(room, "_cpu", lambda: {"name": "one", "units": ["avx512_bf16"]})
    times(3.0)
    assert precision().weights == precision().products == "bfloat16"
    times(1.0)
    assert precision().weights == "bfloat16" and measured == [3.0], "what stands in the home is not measured again"
    monkeypatch.setattr(room, "_cpu", lambda: {"name": "another", "units": ["amx_bf16"]})
    times(1.0)
    assert precision().weights == "float32" and measured == [3.0, 1.0], "a home that moved to another CPU is measured anew"
    monkeypatch.setattr(room, "_cpu", lambda: {"name": "old", "units": []})
    times(9.0)
    assert precision().weights == "float32" and measured == [3.0, 1.0], "a CPU without units is not asked"


def test_a_damaged_note_is_measured_again(numbers: type[_Numbers], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers.are("auto")
    home.mkdir()
    (home / "precision.json").write_text("{")
    monkeypatch.setattr(room, "_cpu", lambda: {"name": "one", "units": ["avx512_bf16"]})
    monkeypatch.setattr(room, "times_as_fast", lambda: 2.5)
    room._resolved.cache_clear()
    assert precision().products == "bfloat16" and json.loads((home / "precision.json").read_bytes())["times_as_fast"] == 2.5


def test_products_of_both_kinds_are_really_timed() -> None:
    assert 1e-3 < room.times_as_fast() < 1e3


def test_a_cpu_with_fast_bf16_trains_under_autocast_and_others_as_configured(numbers: type[_Numbers]) -> None:
    from timbre.models.loading import autocast

    numbers.are("bfloat16")
    assert autocast("off") == "bf16"
    numbers.are("float32")
    assert (autocast("off"), autocast("bf16")) == ("off", "bf16")
