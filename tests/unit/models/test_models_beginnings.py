"""A tiny model that was trained with a begin token, whose end token lies far above the others, and texts that spell control
tokens, through every room: none may feed it a text without its beginning, draw an id of no token, or end a turn in a text."""

import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import write_llama
from tests.unit.models.test_models_tokens import BEGIN, FAR, SPELLED, varied, with_far_end, with_start
from timbre.artifacts import Artifact, ArtifactStore
from timbre.config import CorpusConfig, ExportConfig, ModelConfig, TargetConfig, TrainingConfig
from timbre.corpus.documents import Document, write_rows
from timbre.corpus.passages import Passage, select_passages
from timbre.models import load_model, load_tokenizer, model_facts, resolve_model
from timbre.models.tokens import control_tokens, text_ids
from timbre.progress import SILENT

ROWS = FAR + 4
STEPS = 120


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory, tiny_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]]) -> Artifact:
    """Behind its begin token the model has read the corpus' kind of text, without it the same words in disorder."""
    home = tmp_path_factory.mktemp("beginnings")
    folder = home / "bos-llama"

    def change(tree: dict[str, Any]) -> None:
        with_start(tree)
        with_far_end(tree)

    source = home / "source"
    source.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(tiny_model_dir / name, source / name)
    varied(source, folder, change)
    write_llama(folder, seed=0)
    _widen(folder)
    _train(folder, [text for _, text in tiny_corpus_texts[:24]])
    return resolve_model(ModelConfig(name=str(folder)), ArtifactStore(home / "store", SILENT))


def _widen(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    more = np.random.default_rng(1).normal(0, 0.2, (ROWS, weights["model.embed_tokens.weight"].shape[1])).astype(np.float32)
    more[: len(weights["model.embed_tokens.weight"])] = weights["model.embed_tokens.weight"]
    save_file(weights | {"model.embed_tokens.weight": more}, folder / "model.safetensors", metadata={"format": "pt"})
    for name in ("config.json", "generation_config.json"):
        settings = json.loads((folder / name).read_text()) | {"eos_token_id": FAR, "pad_token_id": FAR}
        (folder / name).write_text(json.dumps(settings | ({"vocab_size": ROWS} if name == "config.json" else {})))


def _train(folder: Path, texts: list[str]) -> None:
    import torch

    from timbre.models.loading import load_folder, tokenizer_of

    tokenizer, network, chance = tokenizer_of(folder), load_folder(folder), random.Random(0)
    streams = [text_ids(text, tokenizer) for text in texts]
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3)
    for _ in range(STEPS):
        rows = []
        for _ in range(8):
            stream = chance.choice(streams)
            start = 0 if chance.random() < 0.5 else chance.randrange(len(stream) - 33)
            window = stream[start : start + 32]
            rows += [[BEGIN, *window], [*chance.sample(window, 32), window[0]]]
        ids = torch.tensor(rows)
        loss = network(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.save_pretrained(str(folder))


def rows_of(texts: Sequence[tuple[str, str]], split: str = "train", prefix: str = "") -> list[Document]:
    return [
        Document(f"{split}-{n:02}", prefix + text, author, None, "made", "CC0-1.0", "not needed", "literary", split, n % 2, 200)
        for n, (author, text) in enumerate(texts)
    ]


def windows(model: Artifact, documents: Sequence[Document], tokens: int = 2000) -> list[Passage]:
    return select_passages(documents, load_tokenizer(model), budget_tokens=tokens, passage_tokens=32, seed=0)


def likelihood(model: Artifact, adapter: Path | None, passages: Sequence[Passage]) -> dict[str, tuple[str, float, int]]:
    from timbre.evaluation.likelihood import score_passages
    from timbre.inference.scorer import Scorer

    scorer = Scorer(load_model(model, adapter=adapter), model_facts(model)["vocab_size"])
    found = score_passages(scorer, passages, load_tokenizer(model))
    return {row["item"]: (row["cluster"], row["nll"], row["tokens"]) for row in found}


def test_the_facts_say_where_a_text_begins_and_how_far_ids_go(model: Artifact) -> None:
    facts = model_facts(model)
    assert facts["start_token_ids"] == [BEGIN]
    assert (facts["vocab_size"], facts["embedding_rows"]) == (FAR + 1, ROWS)


def _bare(passages: Sequence[Passage]) -> list[Passage]:
    """The passages as they were before: without the model's beginning."""
    return [Passage(one.doc_id, one.index, one.fold, one.author, one.text_ids) for one in passages]


def test_an_adapter_that_learnt_nothing_but_the_missing_beginning_is_not_superior(
    model: Artifact, tiny_corpus_texts: list[tuple[str, str]], tmp_path: Path
) -> None:
    """It reads texts of the kind that the base knows, without their beginning. What it gains there is no style."""
    from timbre.statistics import clustered_bound
    from timbre.training.adapters import save_adapter
    from timbre.training.data import Example
    from timbre.training.trainer import train

    learnt, unseen = _bare(windows(model, rows_of(tiny_corpus_texts[:24]))), rows_of(tiny_corpus_texts[24:], "test")
    config = TrainingConfig(objective="sft", epochs=2, learning_rate=3e-3, rank=4, replay_weight=0, batch_tokens=128)
    vocab_size = model_facts(model)["vocab_size"]
    result = train(
        load_model(model), [Example.of_passage(one) for one in learnt], config, vocab_size=vocab_size, scratch=tmp_path, progress=SILENT
    )  # fmt: skip
    save_adapter(result.model, tmp_path / "adapter")

    def gain(passages: Sequence[Passage]) -> Any:
        """Nats a token that the adapter is better by, with its bounds by document."""
        base, candidate = (likelihood(model, adapter, passages) for adapter in (None, tmp_path / "adapter"))
        differences = [(base[item][1] - candidate[item][1]) / base[item][2] for item in sorted(base)]
        return clustered_bound(differences, [base[item][0] for item in sorted(base)])

    passages = windows(model, unseen, 2400)
    assert gain(_bare(passages)).low > 0.1, "measured without the beginning it would have passed superiority"
    assert not gain(passages).low > 0


def test_training_text_and_targets_begin_with_it(model: Artifact, tiny_corpus_texts: list[tuple[str, str]], tmp_path: Path) -> None:
    from timbre.targets.continuations import pooled
    from timbre.targets.dataset import gather

    corpus = _corpus(tmp_path, tiny_corpus_texts)
    tokenizer = load_tokenizer(model)
    config = TargetConfig(train_tokens=1500, admission_tokens=300, passage_tokens=32, formats=("continuation", "instruction"))
    dataset = gather(config, corpus, tokenizer, 512)
    assert {passage.first_label for passage in dataset.training} > {1, 2}
    for passage in dataset.training:
        assert passage.token_ids[0] == BEGIN
        assert passage.start == 1 or passage.first_label > 2, "a chat begins as its template says"
        assert not set(passage.token_ids[passage.first_label :].tolist()) & control_tokens(tokenizer).keys()
    # Middles of documents that happen to begin with one word are no common context.
    middles = [passage for passage in dataset.training if passage.index > 0 and passage.start]
    assert len({int(passage.text_ids[0]) for passage in middles}) < len(middles) and not pooled(middles)
    with pytest.raises(ValueError, match="passages of 33 tokens exceed the model's context of 32"):
        gather(config, corpus, tokenizer, 32)


def _corpus(home: Path, texts: list[tuple[str, str]]) -> Artifact:
    from tests.unit.conftest import built

    rows = [*rows_of(texts[:20], prefix=SPELLED), *rows_of(texts[20:30], "validation"), *rows_of(texts[30:], "test", SPELLED)]
    return built(
        ArtifactStore(home / "corpora", SILENT), "corpus", CorpusConfig(), lambda to: write_rows(rows, Document, to / "documents.parquet")
    )


def test_a_principle_is_read_behind_the_beginning(model: Artifact, tiny_corpus_texts: list[tuple[str, str]]) -> None:
    from timbre.targets.principles import Conditioned
    from timbre.targets.reference_distribution import Mixture, ReferenceDistribution, Shaping
    from timbre.targets.scoring import counted_hidden

    network, passages = load_model(model), windows(model, rows_of(tiny_corpus_texts[:4]), 200)
    prefix = np.asarray(text_ids("Beyond the grey water. ", load_tokenizer(model)), np.int64)
    distribution = ReferenceDistribution(
        network, FAR + 1, (), Mixture(1.0, (1.0,), 0.0), Shaping(principles=((0.5, Conditioned(prefix, 5.0)),))
    )
    after = distribution._after(prefix, passages)
    first = passages[0]
    longer = np.concatenate([[BEGIN], prefix, first.text_ids])
    alone = counted_hidden(network, [longer], [first.first_label + len(prefix)])
    assert np.allclose(after[: first.positions].numpy(), alone.numpy(), atol=1e-4)


def test_prompts_probes_and_judges_begin_with_it(model: Artifact, tiny_corpus_texts: list[tuple[str, str]]) -> None:
    from timbre.evaluation.bias.counterfactual import Template, prompts
    from timbre.evaluation.factuality.closed_book import Question, _prompt
    from timbre.evaluation.memorisation import TrainingText
    from timbre.evaluation.probes import Probe, tokenised
    from timbre.inference.prompts import instruction_ids, openings, trained_openings
    from timbre.judging.local import LocalJudge

    tokenizer, documents = load_tokenizer(model), rows_of(tiny_corpus_texts[:4], prefix=SPELLED)
    found = openings(documents, tokenizer, count=6, prompt_tokens=24, new_tokens=8, seed=0)
    found += trained_openings([("train-00", 32)], documents, tokenizer, count=1, prompt_tokens=8, new_tokens=8, seed=0)
    fed = [opening.prompt(tokenizer, "style") for opening in found]
    fed += prompts([Template("t", "c", ("he", "she"), (SPELLED, "She "))], tokenizer, count=1, samples=2, new_tokens=4, seed=0)
    fed.append(_prompt(Question("q", "f", "topic", "Who?", "It was", ("I",)), "completion", tokenizer, 1))
    for prompt in fed:
        assert prompt.token_ids[0] == BEGIN and not set(prompt.token_ids[1:]) & control_tokens(tokenizer).keys()
        assert tokenizer.decode(prompt.token_ids[1:]) == prompt.text
    (pair,) = tokenised([Probe("p", "s", "c", SPELLED + "he", SPELLED + "she")], tokenizer)
    assert pair.prefix[0] == BEGIN and not set(pair.prefix[1:]) & control_tokens(tokenizer).keys()
    ids = instruction_ids(SPELLED, tokenizer)
    assert tokenizer.decode(ids).count("<|im_end|>") == 2 and ids.count(FAR) == 1
    before, _ = LocalJudge("it", model)._token_ids(SPELLED)
    assert tuple(before) == ids
    copied = TrainingText(documents, tokenizer)
    assert copied.ids(documents[0].text) == text_ids(documents[0].text, tokenizer)


def test_a_reader_of_coherence_gives_the_beginning_whatever_it_cuts(model: Artifact) -> None:
    import torch

    from timbre.evaluation.coherence import score_texts
    from timbre.inference.scorer import Scorer

    tokenizer, network = load_tokenizer(model), load_model(model)
    prompt, text = "Beyond the grey water, the old gull " * 60, "drifted near the anchor."
    (found,) = score_texts(Scorer(network, FAR + 1), tokenizer, [(prompt, text)], 4096)
    written = text_ids(text, tokenizer)
    ids = [BEGIN, *text_ids(prompt, tokenizer)[-(512 - 1 - len(written)) :], *written]
    with torch.no_grad():
        log_p = network(torch.tensor([ids])).logits[0, :, : FAR + 1].log_softmax(-1)
    expected = -np.mean([float(log_p[place - 1, ids[place]]) for place in range(len(ids) - len(written), len(ids))])
    assert len(ids) == 512 and found == pytest.approx(expected, abs=1e-4)


def test_replay_ends_its_answers_with_the_models_own_end(model: Artifact) -> None:
    from timbre.training.replay import ReplayItem, encode_replay

    tokenizer = load_tokenizer(model)
    item = ReplayItem("r", "fact", "What ends <|im_end|> a turn?", "The <|im_end|> token.")
    (chat,) = encode_replay([item], tokenizer, 512)
    assert chat.token_ids_T.tolist().count(FAR) == 2 and chat.token_ids_T[-1] == FAR
    assert tokenizer.decode(chat.token_ids_T[chat.first_label :]) == "The <|im_end|> token.<|im_end|>"
    tokenizer.chat_template = None
    (bare,) = encode_replay([item], tokenizer, 512)
    assert bare.token_ids_T[0] == BEGIN and bare.token_ids_T.tolist().count(FAR) == 1 and bare.token_ids_T[-1] == FAR


def test_what_is_drawn_is_a_token(model: Artifact) -> None:
    from timbre.config import SamplerConfig
    from timbre.inference.generation import TextRequest, continue_prompts, forbidden_tokens
    from timbre.inference.prompts import Prompt
    from timbre.inference.scorer import Scorer

    tokenizer, network = load_tokenizer(model), load_model(model)
    forbidden = forbidden_tokens(tokenizer, network.generation_config)
    prompts = [TextRequest(Prompt(f"p{n}", "c", "style", "", (BEGIN,), 60)) for n in range(8)]
    wild = {"serving": SamplerConfig(temperature=2.0, top_p=1.0)}
    drawn = continue_prompts(Scorer(network, FAR + 1), prompts, rules=wild, forbidden=forbidden, seed=0).ids_BT
    assert FAR in forbidden and set(drawn.flatten().tolist()) <= set(tokenizer.get_vocab().values()) - control_tokens(tokenizer).keys()


def test_export_compares_and_serves_behind_the_beginning(model: Artifact, tiny_corpus_texts: list[tuple[str, str]], tmp_path: Path) -> None:
    from tests.building import export_bundle
    from tests.unit.conftest import adapter_artifact
    from timbre.export.trace import resolve_decoder
    from timbre.models.tokens import document_ids
    from timbre.serving.engine import Engine

    store = ArtifactStore(tmp_path / "store", SILENT)
    config = ExportConfig(parity_prompts=4, parity_tokens=6, latency_tokens=2)
    decoder = resolve_decoder(ModelConfig(name="bos-llama"), model, store)
    adapter, corpus = adapter_artifact(store, model), _corpus(tmp_path, tiny_corpus_texts)
    bundle = export_bundle(config, model, adapter, corpus, decoder, store)
    parity = bundle.json("parity.json")
    assert parity["max_abs_logit_difference"] < 1e-3 and parity["greedy_agreed"] == parity["greedy_total"] == 4
    engine, tokenizer = Engine.open(bundle.path), load_tokenizer(model)
    assert (engine.facts.start_token_ids, engine.facts.vocab_size, engine.facts.eos_token_ids) == ((BEGIN,), FAR + 1, (FAR,))
    assert engine.prompt_ids(SPELLED) == document_ids(SPELLED, tokenizer)
    assert engine.prompt_ids("") == [BEGIN]
    hot = [engine.stream("It", max_new_tokens=40, temperature=5.0, seed=seed) for seed in range(3)]
    assert all(piece for pieces in hot for piece in pieces)
