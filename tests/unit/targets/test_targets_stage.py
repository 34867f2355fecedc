"""The target stage on a tiny model: what it writes, that no document is scored by an adapter that saw it, and going on after a kill."""

import json
import math
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_targets import corpus_of, document, target_config

from timbre.artifacts import Artifact, ArtifactStore
from timbre.corpus.passages import Passage
from timbre.models import load_model, load_tokenizer, model_facts
from timbre.progress import SILENT
from timbre.store import TargetReader, TargetWriter
from timbre.targets import preparation
from timbre.targets.admission import TargetRefused, calibration_error
from timbre.targets.dataset import gather
from timbre.targets.inspect import inspect_passage, passage_table
from timbre.targets.reference import Reference, cross_fit, folds_of
from timbre.targets.scoring import PassageScores, batches_by_length, score_passages, score_with
from timbre.targets.stage import STAGE, build_target


@pytest.fixture(scope="module")
def target(target_store: ArtifactStore, target_corpus: Artifact, target_model: Artifact) -> Artifact:
    return build_target(target_config(), target_corpus, target_model, target_store)


def _passage(tokens: Sequence[int], fold: int = 0, doc_id: str = "d", index: int = 0) -> Passage:
    return Passage(doc_id, index, fold, "someone", np.asarray(tokens, dtype=np.int32))


def test_a_target_holds_what_it_says(target: Artifact, target_corpus: Artifact, target_model: Artifact) -> None:
    digest = model_facts(target_model)["tokenizer_digest"]
    reader = TargetReader(target.path, tokenizer_digest=digest, corpus_digest=target_corpus.digest)
    summary, admission = target.json("summary.json"), target.json("admission.json")
    rows = list(reader.rows())
    assert len({row.doc_id for row in rows}) == summary["documents"] == 24
    assert summary["tokens"] == sum(len(row.token_ids_T) for row in rows) == reader.header.tokens
    assert [fold["learnt_passages"] + fold["scored_passages"] for fold in summary["folds"]] == [len(rows)] * 2
    assert len({fold["adapter_sha256"] for fold in summary["folds"]}) == 2
    for row in rows:
        observed = row.ids_TK == row.token_ids_T[1:, None]
        assert observed.any(axis=1).all(), "the observed token is in every support"
        assert (row.probs_TK[observed] >= 0.5 - 1e-3).all(), "and holds at least α"
    assert 0 < summary["tail_mass"] < 0.5 and 0 < summary["entropy"] < math.log(17) and summary["argmax_differs_share"] < 0.05
    assert admission["admitted"] and admission["log_score_gain"]["low"] > 0 and admission["log_score_gain"]["documents"] == 8
    assert admission["base_nll"] - admission["reference_nll"] == pytest.approx(admission["log_score_gain"]["mean"])
    assert 0 < admission["largest_author_share"] < 0.3 and admission["largest_source"] == "generated"


def test_the_same_inputs_give_the_same_bytes(target: Artifact, target_corpus: Artifact, target_model: Artifact, tmp_path: Path) -> None:
    again = build_target(target_config(), target_corpus, target_model, ArtifactStore(tmp_path, SILENT))
    assert again.digest == target.digest


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("survive", [0, 1])
def test_a_build_killed_between_shards_goes_on_to_the_same_bytes(
    target: Artifact, target_corpus: Artifact, target_model: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survive: int
) -> None:
    store, cut = ArtifactStore(tmp_path, SILENT), TargetWriter.cut
    written: list[int] = []

    def dying_cut(writer: TargetWriter) -> None:
        if len(written) == survive:
            raise _Killed
        cut(writer)
        written.append(writer.rows_done)

    with monkeypatch.context() as patch, pytest.raises(_Killed):
        patch.setattr(TargetWriter, "cut", dying_cut)
        build_target(target_config(), target_corpus, target_model, store)

    def no_training(*_: Any, **__: Any) -> None:
        raise AssertionError("the adapters stand already")

    monkeypatch.setattr("timbre.training.reference.train", no_training)
    assert build_target(target_config(), target_corpus, target_model, store).digest == target.digest


def test_each_adapter_is_trained_on_the_other_folds_only(
    target_corpus: Artifact, target_model: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen from outside: what training was given, and which adapter was on when a passage was scored."""
    learnt: dict[str, set[str]] = {}
    scored: list[tuple[str, str]] = []
    from timbre.training import reference as training_reference

    real_train, real_scores = training_reference.train_on_passages, score_with

    def train(model: Artifact, passages: Sequence[Passage], *, scratch: Path, **rest: Any) -> Path:
        learnt[scratch.name] = {passage.doc_id for passage in passages}
        return real_train(model, passages, scratch=scratch, **rest)

    def score(source: Any, passages: Sequence[Passage], *rest: Any) -> Iterator[tuple[int, PassageScores]]:
        scored.extend((source.network.active_adapter, passage.doc_id) for passage in passages)
        return real_scores(source, passages, *rest)

    monkeypatch.setattr("timbre.training.reference.train_on_passages", train)
    monkeypatch.setattr("timbre.targets.reference.score_with", score)
    artifact = build_target(target_config(), target_corpus, target_model, ArtifactStore(tmp_path, SILENT))
    documents = {row.doc_id for row in TargetReader(artifact.path).rows()}
    training_scores = [(adapter, doc_id) for adapter, doc_id in scored if doc_id in documents]
    assert len(learnt) == 2 and {doc_id for _, doc_id in training_scores} == documents
    for adapter, doc_id in training_scores:
        assert doc_id not in learnt[adapter], f"{adapter} was trained on {doc_id}"
    assert set().union(*learnt.values()) == documents


def test_a_document_is_a_stranger_to_the_adapter_that_scores_it(target_model: Artifact, tmp_path: Path) -> None:
    """Behaviour, not bookkeeping: two random passages, one a fold, learnt by heart. Swapped folds would recite them."""
    choice = random.Random(0)
    passages = [_passage([choice.randrange(3, 380) for _ in range(40)], fold, f"d{fold}") for fold in (0, 1)]
    config = target_config(reference_epochs=60, reference_learning_rate=2e-2, reference_rank=16)
    adapters = cross_fit(target_model, passages, config, tmp_path, SILENT)
    reference = Reference(target_model, adapters, config, 384)
    nll = {
        (fold, passage.fold): -float(next(reference.score([passage], fold))[1].log_probs_N.mean())
        for fold in (0, 1)
        for passage in passages
    }
    assert nll[0, 1] < 2 and nll[1, 0] < 2, "each adapter recites what it was trained on"
    assert nll[0, 0] > 5 and nll[1, 1] > 5, "and knows nothing of the fold that it scores"


def test_scores_are_those_of_the_plain_model_whatever_the_batch(target_model: Artifact) -> None:
    choice = random.Random(1)
    network = load_model(target_model)
    passages = [_passage([choice.randrange(380) for _ in range(length)]) for length in (2, 30, 7, 30, 19)]
    found = dict(score_passages(network, passages, top_k=5, temperature=0.7, batch_tokens=64, vocab_size=380))
    assert sorted(found) == [0, 1, 2, 3, 4]
    for place, passage in enumerate(passages):
        ids = torch.tensor(passage.token_ids, dtype=torch.long)
        with torch.inference_mode():
            log_q = (network(input_ids=ids[None]).logits[0, :-1, :380].double() / 0.7).log_softmax(-1)
        scores, q = found[place], log_q.exp()
        kept = torch.from_numpy(scores.distributions.ids_NK).long()
        assert torch.equal(kept, q.topk(5).indices.sort(-1).values)
        for got, wanted in [
            (scores.distributions.probs_NK, q.gather(-1, kept)), (scores.distributions.tail_N, q.scatter(-1, kept, 0).sum(-1)),
            (scores.entropy_N, -(q * log_q).sum(-1)), (scores.best_probs_N, q.max(-1).values),
            (scores.log_probs_N, log_q.gather(-1, ids[1:, None])[:, 0]),
        ]:  # fmt: skip
            np.testing.assert_allclose(got, wanted.numpy(), rtol=2e-4, atol=2e-6)


def test_batches_hold_every_passage_once_within_their_budget() -> None:
    lengths = [5, 100, 20, 20, 7, 64, 1000]
    batches = list(batches_by_length([_passage(range(length)) for length in lengths], 128))
    assert sorted(place for batch in batches for place in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[place] for place in batch) <= 128 for batch in batches)


@pytest.mark.parametrize("change", [{"reference_epochs": 0}, {"temperature": 0.02}], ids=["untrained", "over-confident"])
def test_a_worthless_reference_is_refused_and_its_figures_kept(
    target_corpus: Artifact, target_model: Artifact, tmp_path: Path, change: dict[str, Any]
) -> None:
    store, config = ArtifactStore(tmp_path, SILENT), target_config(**change)
    with pytest.raises(TargetRefused, match=r"refused.*refused-admission\.json") as refusal:
        build_target(config, target_corpus, target_model, store)
    figures = json.loads(next(tmp_path.glob("work/*/refused-admission.json")).read_text())
    assert not figures["admitted"] and figures["log_score_gain"]["low"] <= 0
    assert f"{figures['log_score_gain']['mean']:+.4f}" in str(refusal.value)
    assert store.find("target", STAGE.key(config, {"corpus": target_corpus, "model": target_model})) is None


def test_refusal_leaves_an_older_target_in_place(
    target: Artifact, target_store: ArtifactStore, target_corpus: Artifact, target_model: Artifact
) -> None:
    with pytest.raises(TargetRefused):
        build_target(target_config(reference_epochs=0), target_corpus, target_model, target_store)
    assert build_target(target_config(), target_corpus, target_model, target_store).cached


def test_a_single_validation_document_admits_nothing(
    target_store: ArtifactStore, target_model: Artifact, tiny_corpus_texts: list[tuple[str, str]]
) -> None:
    documents = [document(n, *tiny_corpus_texts[n], "validation" if n == 8 else "train", -1 if n == 8 else n % 2) for n in range(9)]
    corpus = corpus_of(target_store, documents, seed=8)
    with pytest.raises(TargetRefused, match="single document"):
        build_target(target_config(), corpus, target_model, target_store)


@pytest.mark.parametrize(("documents", "sentence"), [(1, "at least 2 folds"), (0, "no train documents")])
def test_too_little_text_is_a_sentence(
    target_store: ArtifactStore, target_model: Artifact, tiny_corpus_texts: list[tuple[str, str]], documents: int, sentence: str
) -> None:
    rows = [document(n, *tiny_corpus_texts[n], "train" if n < documents else "validation", 0 if n < documents else -1) for n in range(6)]
    with pytest.raises(ValueError, match=sentence):
        build_target(target_config(), corpus_of(target_store, rows, seed=100 + documents), target_model, target_store)


def test_more_target_tokens_than_the_vocabulary_are_refused_before_any_training(
    target_store: ArtifactStore, target_corpus: Artifact, target_model: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preparation, "cross_fit", lambda *_: pytest.fail("trained"))
    with pytest.raises(ValueError, match=r"lower target\.top_k"):
        build_target(target_config(top_k=385), target_corpus, target_model, target_store)


def test_passages_beyond_the_models_context_are_refused(
    target_store: ArtifactStore, target_corpus: Artifact, target_model: Artifact
) -> None:
    with pytest.raises(ValueError, match=r"context of 512: lower target\.passage_tokens"):
        build_target(target_config(passage_tokens=600), target_corpus, target_model, target_store)


def test_a_document_longer_than_the_context_is_cut_into_passages(
    target_store: ArtifactStore, target_model: Artifact, tiny_corpus_texts: list[tuple[str, str]]
) -> None:
    splits = ["train", "train", "validation"]
    rows = [document(n, "a", " ".join(text for _, text in tiny_corpus_texts[n::3]), splits[n], n % 2) for n in range(3)]
    tokenizer, context = load_tokenizer(target_model), model_facts(target_model)["context"]
    assert all(len(tokenizer(row.text)["input_ids"]) > 2 * context for row in rows)
    config = target_config(train_tokens=4 * context, passage_tokens=context // 4)
    training = gather(config, corpus_of(target_store, rows, seed=31), tokenizer, context).training
    for number in range(2):
        own = [passage for passage in training if passage.doc_id == rows[number].doc_id]
        assert [passage.index for passage in own] == list(range(8)), "two contexts and more of each, in order"
        whole = tokenizer(rows[number].text, add_special_tokens=False)["input_ids"]
        assert np.concatenate([passage.token_ids for passage in own]).tolist() == whole[: 2 * context]


def test_folds_must_be_two() -> None:
    assert folds_of([_passage([1], fold) for fold in (1, 0, 1)]) == (0, 1)
    with pytest.raises(ValueError, match="2 folds"):
        folds_of([_passage([1], 0)])


def test_calibration_error_is_the_gap_between_confidence_and_truth() -> None:
    assert calibration_error(np.full(10, 0.7), np.array([1.0] * 7 + [0.0] * 3)) == pytest.approx(0)
    assert calibration_error(np.array([0.9, 0.9, 0.3, 0.3]), np.array([0.0, 1.0, 0.0, 0.0])) == pytest.approx((0.8 + 0.6) / 4)


def test_inspection_spells_a_passage_out(target: Artifact, target_model: Artifact, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    view, row = inspect_passage(target, target_model, 3), TargetReader(target.path)[3]
    assert (view.doc_id, len(view.tokens)) == (row.doc_id, len(row))
    for token in view.tokens:
        assert token.probability >= 0.499 and len(token.alternatives) == 5
        assert token.probability + sum(p for _, p in token.alternatives) + token.tail_mass <= 1 + 1e-6
        assert 1 <= token.effective_support <= 17
        assert [p for _, p in token.alternatives] == sorted((p for _, p in token.alternatives), reverse=True)
    Console(width=160).print(passage_table(view))
    assert view.doc_id in capsys.readouterr().out
    with pytest.raises(ValueError, match="no passage 999"):
        inspect_passage(target, target_model, 999)


def test_finding_a_target_imports_nothing_heavy() -> None:
    script = "import sys, timbre.targets.stage; print(sorted({'torch', 'transformers', 'pyarrow', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.strip() == "[]"
