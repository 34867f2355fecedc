"""The target stage with everything that is off by default: fitted n-grams, prompts, draws; blends, principles, swaps, another reference."""

import json
import re
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_targets import corpus_of, document, target_config

from timbre.artifacts import Artifact, ArtifactStore
from timbre.config import ModelConfig, read_toml
from timbre.corpus.passages import Passage
from timbre.models import load_tokenizer, resolve_model
from timbre.models.adapters import with_adapter
from timbre.progress import SILENT
from timbre.store import TargetReader, TargetWriter
from timbre.targets import assembly, preparation, shards
from timbre.targets.admission import TargetRefused
from timbre.targets.blending import blended_style, parse_blend
from timbre.targets.dataset import gather
from timbre.targets.debias import swap_of
from timbre.targets.fitting import temperatures
from timbre.targets.inspect import ORIGINS, inspect_passage, origin_bar, passage_table
from timbre.targets.page import passage_page
from timbre.targets.principles import Principle, principle_path, read_all
from timbre.targets.reference import Extras, Reference, cross_fit
from timbre.targets.reference_distribution import Mixture
from timbre.targets.stage import build_target

FITTED = target_config(alpha=0.5, 
    fit=("temperature", "ngram"), formats=("continuation", "instruction"), coding="sampled", draws=20, pool_continuations=True,
    precision="fp16",
)  # fmt: skip


@pytest.fixture(scope="module")
def fitted(target_store: ArtifactStore, target_corpus: Artifact, target_model: Artifact) -> Artifact:
    with pytest.warns(UserWarning, match=r"target\.precision = fp16 is ignored"):
        return build_target(FITTED, target_corpus, target_model, target_store)


class _Killed(BaseException):
    pass


def test_a_fitted_build_killed_between_shards_goes_on_to_the_same_bytes(
    fitted: Artifact, target_corpus: Artifact, target_model: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, cut = ArtifactStore(tmp_path, SILENT), TargetWriter.cut

    def dying_cut(writer: TargetWriter) -> None:
        if writer.rows_done:
            raise _Killed
        cut(writer)

    with monkeypatch.context() as patch, pytest.raises(_Killed):
        patch.setattr(TargetWriter, "cut", dying_cut)
        build_target(FITTED, target_corpus, target_model, store)
    monkeypatch.setattr(assembly, "fit_mixture", lambda *_: pytest.fail("fitted again"))
    assert build_target(FITTED, target_corpus, target_model, store).digest == fitted.digest


@settings(deadline=None, max_examples=40)
@given(lengths=st.lists(st.booleans(), min_size=1, max_size=200), folds=st.integers(1, 3))
def test_a_plan_with_swaps_counts_its_rows(lengths: list[bool], folds: int) -> None:
    """Every passage once, shards of at most 64 rows, and the first row of each where the one before ends."""
    passages = [Passage(f"d{n}", 0, n % folds, "x", np.array([1, int(swapped)])) for n, swapped in enumerate(lengths)]
    swap = SimpleNamespace(changes=lambda passage: bool(passage.token_ids[1]))
    build: Any = SimpleNamespace(dataset=SimpleNamespace(training=passages), folds=tuple(range(folds)), swap=swap)
    row, seen = 0, []
    for first, fold, places in shards.shard_plan(build):
        size = sum(2 if lengths[place] else 1 for place in places)
        assert first == row and size <= shards.ROWS_PER_SHARD and {passages[place].fold for place in places} == {fold}
        row, seen = row + size, [*seen, *places]
    assert sorted(seen) == list(range(len(lengths)))


def test_a_fitted_target_says_what_was_fitted_and_what_it_is_worth(fitted: Artifact) -> None:
    admission, summary = fitted.json("admission.json"), fitted.json("summary.json")
    fit = admission["fit"]
    assert fit["groups"] == 8 and fit["gain"]["documents"] == 8 and fit["gain"]["mean"] >= 0
    assert fit["ngram_weight"]["low"] <= fit["ngram_weight"]["value"] == summary["mixture"]["ngram_weight"] <= fit["ngram_weight"]["high"]
    assert summary["mixture"]["ngram_weight"] > 0.1, "the generated authors repeat their phrases: n-grams of others help"
    assert fit["temperature"]["value"] == summary["mixture"]["temperature"] == TargetReader(fitted.path).header.temperature
    assert admission["admitted"]


def test_prompts_are_fed_and_only_answers_are_learnt(fitted: Artifact, target_model: Artifact) -> None:
    rows, tokenizer = list(TargetReader(fitted.path)), load_tokenizer(target_model)
    prompts = [tokenizer.decode(row.token_ids_T[: row.first_label]) for row in rows if row.first_label > 1]
    assert len(prompts) == fitted.json("summary.json")["instruction_passages"] == 12
    for prompt in prompts:
        assert prompt.startswith("<|im_start|>user\n") and prompt.endswith("<|im_start|>assistant\n"), prompt
        assert any(words in prompt for words in ("Write a passage", "Go on writing: "))
    assert all(len(row) == len(row.token_ids_T) - row.first_label == len(row.probs_TK) for row in rows)


def test_drawn_targets_are_counts_and_keep_the_ngram_weights(fitted: Artifact) -> None:
    reader = TargetReader(fitted.path)
    assert (reader.header.coding, reader.header.draws, reader.header.top_k) == ("sampled", 20, 20)
    observed_share = []
    for row in reader:
        counts = row.probs_TK * 20
        np.testing.assert_allclose(counts, np.rint(counts), atol=1e-4)
        assert not row.tail_T.any() and row.eta_T is not None and row.eta_T.min() >= 0 and row.eta_T.max() <= 1
        observed_share.append((row.probs_TK * (row.ids_TK == row.observed[:, None])).sum(axis=1))
    assert 0.5 <= np.concatenate(observed_share).mean() < 0.8, "half the draws are what was written, and some of the others"


def test_a_passage_is_told_with_the_origin_of_its_mass(
    fitted: Artifact, target_model: Artifact, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    view = inspect_passage(fitted, target_model, 1)
    for token in view.tokens:
        assert sum(token.origin[name] for name in ORIGINS) == pytest.approx(1) and token.origin["observed"] == 0.5
        assert len(origin_bar(token.origin)) == 10
    assert any(token.origin["ngram"] > 0.02 for token in view.tokens)
    Console(width=80, highlight=False).print(passage_table(view))
    shown = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in shown) <= 80 and len(shown) > len(view.tokens)
    assert any(all(name in line for name in ("token", "target", "choices", "mass from", "might have been")) for line in shown)
    assert sum(origin_bar(token.origin) in line for token, line in zip(view.tokens, shown[-len(view.tokens) - 3 :], strict=False)) > 10


def test_the_page_stands_alone_and_spells_its_tokens_safely(fitted: Artifact, target_model: Artifact) -> None:
    view = inspect_passage(fitted, target_model, 0)
    strange = replace(view, doc_id="<script>alert(1)</script>", tokens=(replace(view.tokens[0], token="<b>&"), *view.tokens[1:]))
    page = passage_page(strange)
    assert "<script" not in page and "&lt;b&gt;&amp;" in page and "default-src 'none'" in page
    assert "http:" not in page and "https:" not in page and "src=" not in page
    assert page.count('class="t"') == len(view.tokens) and page == passage_page(strange)
    assert re.search("<mark> +[^ <]", page) is None and page.count("<mark>") == len(view.tokens), "no coloured bar where a line ends"


def _another_model(folder: Path, copy: Path) -> Path:
    """The same shape and tokenizer, other weights."""
    from safetensors.numpy import load_file, save_file

    shutil.copytree(folder, copy)
    random = np.random.default_rng(5)
    weights = load_file(copy / "model.safetensors")
    changed = {name: (value + 0.05 * random.standard_normal(value.shape)).astype(np.float32) for name, value in weights.items()}
    save_file(changed, copy / "model.safetensors", metadata={"format": "pt"})
    return copy


def _two_sources(store: ArtifactStore, texts: list[tuple[str, str]]) -> Artifact:
    splits = ["train"] * 24 + ["validation"] * 8 + ["test"] * 8
    rows = [
        replace(document(n, *texts[n], split, n // 2 % 2 if split == "train" else -1), source="even" if n % 2 == 0 else "odd")
        for n, split in enumerate(splits)
    ]
    return corpus_of(store, rows, seed=77)


def test_blend_strength_principles_and_swaps_compose_on_another_reference(
    target_store: ArtifactStore, target_model: Artifact, tiny_model_dir: Path, tiny_corpus_texts: list[tuple[str, str]],
    own_principles: Path, tmp_path: Path,
) -> None:  # fmt: skip
    other = _another_model(tiny_model_dir, tmp_path / "other")
    blend = [{"style": style, "weight": weight, "sources": [style]} for style, weight in (("even", 0.75), ("odd", 0.25))]
    config = target_config(
        blend=blend, strength=0.8, debias="words", reference=ModelConfig(name=str(other)), ngram_weight=0.2,
        principles=[{"name": "more-of-it", "strength": 0.5}, {"name": "aloud", "strength": 0.2}],
    )  # fmt: skip
    corpus = _two_sources(target_store, tiny_corpus_texts)
    target = build_target(config, corpus, target_model, target_store)
    reader, summary = TargetReader(target.path), target.json("summary.json")
    assert reader.header.reference_digest == resolve_model(ModelConfig(name=str(other)), target_store).digest != target_model.digest
    assert summary["mixture"]["blend"] == {"even": 0.75, "odd": 0.25} and summary["strength"] == 0.8
    assert set(summary["folds"][0]["adapters_sha256"]) == {"even", "odd"}
    assert summary["debias"]["swapped_passages"] > 10 and len(reader) == 24 + summary["debias"]["swapped_passages"] - (24 - _plain(reader))
    _each_swap_mirrors_its_passage(reader, target_model)
    _each_style_is_an_origin(target, target_model)
    assert {name.removeprefix("principle:") for name in target.manifest.inputs if ":" in name} >= {"aloud", "more-of-it", "words"}


def _each_style_is_an_origin(target: Artifact, model: Artifact) -> None:
    """Of what n-grams and tail leave, three quarters are from one style and one from the other; what came after is said in words."""
    view = inspect_passage(target, model, 0)
    assert view.origins == ("observed", "ngram", "reference: even", "reference: odd", "tail")
    for token in view.tokens:
        assert tuple(token.origin) == view.origins and sum(token.origin.values()) == pytest.approx(1)
        assert token.origin["reference: even"] == pytest.approx(3 * token.origin["reference: odd"])
        assert len(origin_bar(token.origin)) == 10
    assert view.reshaped.startswith("strength 0.8") and "more-of-it (β = 0.5)" in view.reshaped and "swaps of words" in view.reshaped
    page = passage_page(view)
    assert "reference: even" in page and "Reshaped: strength 0.8" in page
    assert page.count("hsl(") == len(view.tokens) + 2, "one other colour in each bar and in the legend"
    assert "▒ reference: even, ▚ reference: odd" in str(passage_table(view).title)


def _plain(reader: TargetReader) -> int:
    return len({(row.doc_id, row.index) for row in reader})


def _each_swap_mirrors_its_passage(reader: TargetReader, model: Artifact) -> None:
    """A row that follows one of the same passage is its swap: other tokens at the swapped words, the same masses."""
    swap = swap_of(read_toml(principle_path("words"), Principle), load_tokenizer(model), reader.header.vocab_size)
    rows = list(reader)
    pairs = [(one, two) for one, two in pairwise(rows) if (one.doc_id, one.index) == (two.doc_id, two.index)]
    assert len(pairs) > 10
    for one, two in pairs:
        assert np.array_equal(swap.ids(one.token_ids_T), two.token_ids_T)
        np.testing.assert_allclose(np.sort(one.probs_TK), np.sort(two.probs_TK), atol=1e-6)
        assert (two.ids_TK == two.observed[:, None]).any(axis=1).all()


def test_a_reference_with_another_tokenizer_is_refused_and_both_are_named(
    target_store: ArtifactStore, target_corpus: Artifact, target_model: Artifact, tiny_model_dir: Path, home: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    other = _another_model(tiny_model_dir, tmp_path / "foreign")
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    monkeypatch.setattr(preparation, "cross_fit", lambda *_: pytest.fail("trained"))
    with pytest.raises(ValueError, match=r"foreign has another tokenizer \(.*384 tokens\) than the model tiny-llama"):
        build_target(target_config(reference=ModelConfig(name=str(other))), target_corpus, target_model, target_store)


def _taught(model: Artifact, corpus: Artifact, folder: Path) -> Path:
    """The tiny model after some lessons on the training documents, as a model of its own."""
    from timbre.corpus.documents import read_documents
    from timbre.corpus.passages import select_passages
    from timbre.models import load_model
    from timbre.training.reference import train_on_passages

    tokenizer = load_tokenizer(model)
    passages = select_passages(read_documents(corpus, "train"), tokenizer, budget_tokens=24 * 48, passage_tokens=48, seed=0)
    lessons = {"epochs": 3, "learning_rate": 1e-2, "rank": 8, "batch_tokens": 192, "seed": 1, "progress": SILENT}
    adapter = train_on_passages(model, passages, scratch=folder / "lessons", **lessons)  # type: ignore[arg-type]
    with_adapter(load_model(model), adapter, merged=True).save_pretrained(folder / "taught")
    tokenizer.save_pretrained(folder / "taught")
    return folder / "taught"


def test_a_better_model_is_a_reference_without_being_adapted_and_a_worse_one_is_none_although_it_was(
    target_store: ArtifactStore, target_corpus: Artifact, target_model: Artifact, tiny_model_dir: Path, tmp_path: Path
) -> None:
    """Both are compared with what the student would have been without the target: its own base."""
    taught = ModelConfig(name=str(_taught(target_model, target_corpus, tmp_path)))
    distilled = build_target(target_config(reference=taught, reference_epochs=0), target_corpus, target_model, target_store)
    admission = distilled.json("admission.json")
    assert admission["admitted"] and admission["log_score_gain"]["low"] > 0.1 and "adaptation_gain" not in admission
    assert admission["base_nll"] - admission["reference_nll"] == pytest.approx(admission["log_score_gain"]["mean"])
    assert {fold["adapter_sha256"] for fold in distilled.json("summary.json")["folds"]} == {None}

    student = resolve_model(taught, target_store)
    weak = target_config(reference=ModelConfig(name=str(tiny_model_dir)), reference_epochs=1, reference_learning_rate=1e-3)
    store = ArtifactStore(tmp_path / "refused", SILENT)
    with pytest.raises(TargetRefused, match=r"target refused: on \d+ unseen tokens .* against the base model"):
        build_target(weak, target_corpus, student, store)
    refused = json.loads(next(store.home.glob("work/*/refused-admission.json")).read_text())
    assert refused["adaptation_gain"]["low"] > 0 > refused["log_score_gain"]["high"], "it learnt, and still knows less than the student"


def test_what_is_fitted_is_scored_as_it_will_be_stored(
    target_store: ArtifactStore, target_corpus: Artifact, target_model: Artifact, own_principles: Path, tmp_path: Path
) -> None:
    """With a strength, a principle and a swap: the stored temperature is the best of the grid by the scores of whole targets."""
    config = target_config(
        fit=("temperature",), strength=0.4, debias="words", principles=[{"name": "more-of-it", "strength": 0.5}], reference_epochs=2
    )
    target = build_target(config, target_corpus, target_model, target_store)
    tokenizer = load_tokenizer(target_model)
    dataset = gather(config, target_corpus, tokenizer, 512)
    adapters = cross_fit(target_model, dataset.training, config, tmp_path, SILENT)
    principles = read_all({name: principle_path(name) for name in ("more-of-it", "words")})
    shaping = preparation._shaping(config, principles, tokenizer, 384, target_model)
    reference = Reference(target_model, adapters, config, 384, Extras(shaping=shaping))
    assert reference.shaped and shaping.swap is not None
    grid = [Mixture(temperature, (1.0,), 0.0) for temperature in temperatures(config)]
    totals = np.zeros(len(grid))
    for fold in (0, 1):
        together = dict(reference.observed(dataset.validation, fold, grid))
        for place, mixture in list(enumerate(grid))[::7]:
            alone = dict(reference.score(dataset.validation, fold, mixture))
            for number, scores in alone.items():
                np.testing.assert_allclose(together[number][place], scores.log_probs_N, atol=2e-4)
        totals += np.sum([log_p_MN.sum(axis=1) for log_p_MN in together.values()], axis=0)
    assert target.json("summary.json")["mixture"]["temperature"] == grid[int(np.argmax(totals))].temperature


def test_identical_documents_are_refused(
    target_store: ArtifactStore, target_model: Artifact, tiny_corpus_texts: list[tuple[str, str]]
) -> None:
    author, text = tiny_corpus_texts[0]
    rows = [document(n, author, text, "train" if n < 6 else "validation", n % 2 if n < 6 else -1) for n in range(8)]
    with pytest.raises(ValueError, match="6 training documents are identical"):
        build_target(target_config(), corpus_of(target_store, rows, seed=91), target_model, target_store)


def test_a_source_outside_the_blend_is_named(
    target_store: ArtifactStore, target_model: Artifact, tiny_corpus_texts: list[tuple[str, str]]
) -> None:
    blend = [{"style": "even", "weight": 1.0, "sources": ["even"]}]
    with pytest.raises(ValueError, match="holds odd, which no style"):
        build_target(target_config(blend=blend), _two_sources(target_store, tiny_corpus_texts), target_model, target_store)


def test_prompts_need_a_chat_template(target_store: ArtifactStore, target_corpus: Artifact, tiny_model_dir: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(tiny_model_dir, plain)
    (plain / "chat_template.jinja").unlink()
    model = resolve_model(ModelConfig(name=str(plain)), ArtifactStore(tmp_path / "store", SILENT))
    with pytest.raises(ValueError, match="no chat template"):
        build_target(target_config(formats=("instruction",)), target_corpus, model, target_store)
    with pytest.warns(UserWarning, match="cut to continuation"):
        both = build_target(target_config(formats=("continuation", "instruction")), target_corpus, model, target_store)
    plain_rows, rows = (TargetReader(built.path) for built in (build_target(target_config(), target_corpus, model, target_store), both))
    assert [row.first_label for row in rows] == [row.first_label for row in plain_rows]


def test_a_blend_by_name_becomes_a_style_with_both_sources(home: Path) -> None:
    parts = parse_blend("literary=0.7, technical=0.3")
    assert [(part.style, part.weight, part.sources) for part in parts] == [
        ("literary", 0.7, ("moby-dick",)),
        ("technical", 0.3, ("django-docs",)),
    ]
    assert blended_style(parts, "sea-manual", home) == "sea-manual" == blended_style(parts, "sea-manual", home)
    from timbre.corpus.sources import find_style

    assert find_style("sea-manual", home)[1].sources == ("moby-dick", "django-docs")
    with pytest.raises(ValueError, match="already"):
        blended_style(parts[::-1], "sea-manual", home)
    with pytest.raises(ValueError, match="cannot name a style"):
        blended_style(parts, "../up", home)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("literary=0.7,technical=0.2", "sum to 0.9"), ("literary=1", "two styles"), ("literary,technical", "no share"),
        ("literary=x,technical=1", "no share"), ("literary=0.5,literary=0.5", "twice"), ("literary=0.5,nowhere=0.5", "unknown style"),
        ("literary=nan,technical=1", "no share"), ("literary=-0.5,technical=1.5", "no share"),
    ],
)  # fmt: skip
def test_a_blend_that_cannot_be_is_a_sentence(home: Path, text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_blend(text)
