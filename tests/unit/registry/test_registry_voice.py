"""At promotion a candidate gives way to a champion that is nearer to human text, where the evidence of both is here."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.unit.gates.conftest import told_apart_items, write
from tests.unit.registry.test_registry_promotion import MODEL, MemoryRegistry
from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace, sha256_file
from timbre.config import CorpusConfig, EvaluationConfig, Frozen
from timbre.progress import SILENT
from timbre.registry.ledger import Ledger
from timbre.registry.promotion import PromotionRefused, publish
from timbre.settings import settings


class House:
    """Candidates whose texts are told apart so well by characters and by words."""

    def __init__(self, home: Path) -> None:
        self.store, self.registry = ArtifactStore(home / "home", SILENT), MemoryRegistry()
        self.ledger = Ledger(f"sqlite:///{home / 'ledger.db'}")

    def release(self, characters: float, words: float, seed: int, config: EvaluationConfig | None = None) -> int | None:
        """Publish such a candidate; the number of the version that is champion then."""
        evaluation = self._evaluation(characters, words, seed, config or EvaluationConfig())
        bundle = self._built("bundle", {"model.onnx": str(seed)}, CorpusConfig(style=f"s{seed}"))
        policy = {"name": "quick", "strictness": 1, "digest": sha256_file(settings().root / "mlflow" / "policies" / "quick.toml")}
        subject = {"bundle": bundle.digest, "candidate": evaluation.digest, "base": "b"}
        document = {"verdict": "PASS", "policy": policy, "subject": subject, "gates": []}
        verdict = self._built("verdict", {"verdict.json": json.dumps(document)}, CorpusConfig(style=f"s{seed}"))
        publish(MODEL, bundle, verdict, {}, self.registry, self.ledger, self.store, promotion="auto", reason="test")
        return self.registry.holders.get("champion")

    def _evaluation(self, characters: float, words: float, seed: int, config: EvaluationConfig) -> Artifact:
        rng = np.random.default_rng(seed)
        areas = {"told_apart_characters": characters, "told_apart_words": words}
        rows = [row for metric, area in areas.items() for row in told_apart_items(area, rng) if row["metric"] == metric]

        def build(_: Frozen, __: Mapping[str, Input], work: Workspace) -> None:
            write(work.output / "items.parquet", rows)

        adapter = self._built("adapter", {"a": str(seed)}, CorpusConfig(style=f"s{seed}"))
        return self.store.build(Stage("evaluation", 1, build), config, {"adapter": adapter})

    def _built(self, stage: str, files: Mapping[str, str], config: CorpusConfig) -> Artifact:
        def build(_: Frozen, __: Mapping[str, Input], work: Workspace) -> None:
            for name, text in files.items():
                (work.output / name).write_text(text)

        return self.store.build(Stage(stage, 1, build), config, {})


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.ledger.close()


@pytest.mark.parametrize(("characters", "words"), [(0.93, 0.93), (0.93, 0.75)])
def test_a_candidate_further_from_human_text_by_either_family_is_not_promoted(house: House, characters: float, words: float) -> None:
    assert house.release(0.80, 0.80, 1) == 1
    with pytest.raises(PromotionRefused, match=r"more than those of the best champion, v1, by characters 0\.930 \(v1 0\.800\)") as refused:
        house.release(characters, words, 2)
    assert refused.value.outcome == "PASS" and "0.1 more is allowed" in str(refused.value)
    assert house.registry.holders["champion"] == 1


@pytest.mark.parametrize(("characters", "words"), [(0.84, 0.84), (0.89, 0.82), (0.70, 0.70)])
def test_within_the_margin_it_is(house: House, characters: float, words: float) -> None:
    house.release(0.80, 0.80, 1)
    assert house.release(characters, words, 2) == 2


def test_small_steps_do_not_lead_away_from_the_best_champion(house: House) -> None:
    assert [house.release(area, area, number) for number, area in enumerate((0.80, 0.72, 0.79), 1)] == [1, 2, 3]
    with pytest.raises(PromotionRefused, match=r"best champion, v2, by characters 0\.870 \(v2 0\.720\)"):
        house.release(0.87, 0.87, 4)
    assert house.registry.holders["champion"] == 3


def test_evidence_that_is_not_here_or_was_measured_otherwise_asks_nothing(house: House) -> None:
    house.release(0.80, 0.80, 1)
    assert house.release(0.99, 0.99, 2, EvaluationConfig(new_tokens=48)) == 2, "other lengths are never compared"
    for folder in (house.store.home / "artifacts" / "evaluation").iterdir():
        if folder.name != "keys":
            folder.rename(house.store.home / f"gone-{folder.name}")
    assert house.release(0.999, 0.999, 3, EvaluationConfig(new_tokens=48)) == 3
