"""The admission's pictures are well-formed, repeat their bytes, and show the figures of `admission.json`."""

import json
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from tiny_targets import target_config

from timbre.artifacts import Artifact, ArtifactStore
from timbre.corpus.passages import Passage
from timbre.progress import SILENT
from timbre.targets.admission import TargetRefused
from timbre.targets.charts import calibration, document_gains, gains_by_document, support_histogram
from timbre.targets.mixture import SparseDistributions
from timbre.targets.scoring import PassageScores
from timbre.targets.stage import build_target


def _scores(log_probs: list[float]) -> PassageScores:
    n = len(log_probs)
    empty = SparseDistributions(np.zeros((n, 1), int), np.ones((n, 1)), np.zeros(n))
    return PassageScores(empty, np.zeros(n), np.array(log_probs), np.zeros(n), np.zeros(n), np.ones(n))


def _titles(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}title")]


def test_every_picture_is_one_file_that_needs_nothing_else() -> None:
    random = np.random.default_rng(0)
    confidence = random.random(400)
    pictures = [
        calibration(confidence, (random.random(400) < confidence).astype(float)), support_histogram(np.exp(random.exponential(2, 400))),
        document_gains({"<a & b>": 0.3, "c": -0.1}), document_gains({f"d{n}": n / 100 for n in range(99, -1, -1)}),
        document_gains({"one": 0.0}), support_histogram(np.ones(3)),
    ]  # fmt: skip
    for svg in pictures:
        ElementTree.fromstring(svg)
        assert "href" not in svg and "nan" not in svg.lower().replace("nannt", "")
    assert "<a & b>: +0.300" in _titles(pictures[2])
    assert "40 of 100 unseen documents" in pictures[3]


def test_calibration_shows_how_often_the_sure_were_right() -> None:
    svg = calibration(np.full(10, 0.7), np.array([1.0] * 7 + [0.0] * 3))
    assert "sure 70%, right 70%, 10 positions" in _titles(svg)


def test_a_documents_gain_is_a_mean_over_its_tokens_and_the_folds() -> None:
    passages = [Passage(name, index, -1, "x", np.arange(3)) for name, index in (("a", 0), ("b", 0), ("a", 1))]
    base = [_scores([-3.0, -3.0]), _scores([-1.0, -1.0]), _scores([-2.0, -2.0])]
    folds = [[_scores([-1.0, -1.0]), _scores([-2.0, -2.0]), _scores([-2.0, -2.0])], [_scores([-2.0, -2.0]), _scores([-1.0, -2.0]), base[2]]]
    assert gains_by_document(passages, base, folds) == {"a": 0.75, "b": -0.75}


def test_a_refusal_says_why_keeps_its_pictures_and_leaves_the_old_target(
    target_corpus: Artifact, target_model: Artifact, tmp_path: Path
) -> None:
    store = ArtifactStore(tmp_path, SILENT)
    old = build_target(target_config(), target_corpus, target_model, store)
    names = {name for name in old.manifest.files if name.endswith(".svg")}
    assert names == {"admission-calibration.svg", "admission-support.svg", "admission-documents.svg"}
    with pytest.raises(TargetRefused, match=r"refused: on \d+ unseen tokens .* Raise target.*an older target stays as it is"):
        build_target(target_config(reference_epochs=0), target_corpus, target_model, store)
    scratch = next(path.parent for path in tmp_path.glob("work/*/refused-admission.json"))
    assert len(list((scratch / "pictures").glob("*.svg"))) == 3
    assert not json.loads((scratch / "refused-admission.json").read_text())["admitted"]
    assert Artifact.open(old.path).digest == old.digest
    shutil.rmtree(scratch)
