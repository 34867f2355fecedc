import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from timbre.config import SamplerConfig
from timbre.corpus.passages import Passage
from timbre.evaluation import probes
from timbre.evaluation.likelihood import likelihood_summary, score_passages
from timbre.inference import generation
from timbre.inference.generation import Written
from timbre.inference.prompts import Prompt, SamplerName
from timbre.inference.scorer import Scorer, batches


@pytest.fixture(scope="module")
def tokenizer(tiny_model_dir: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model_dir)


@pytest.fixture(scope="module")
def scorer(tiny_model_dir: Path, tokenizer: Any) -> Scorer:
    from transformers import AutoModelForCausalLM

    return Scorer(AutoModelForCausalLM.from_pretrained(tiny_model_dir).eval(), len(tokenizer))


def plain_log_probability(scorer: Scorer, ids: list[int]) -> float:
    """One text, one forward, no cache, no padding, float64 softmax over everything."""
    import torch

    with torch.no_grad():
        logits = scorer.model(input_ids=torch.tensor([ids])).logits[0, :-1, : scorer.vocab_size].double()
    return float(logits.log_softmax(-1).gather(-1, torch.tensor(ids[1:])[:, None]).sum())


def probe(number: int, first: str, second: str, template: str = "t") -> probes.Probe:
    return probes.Probe(f"p{number}", template, template, first, second)


PAIRS = [
    ("The sailor said that she saw the old gate.", "The sailor said that he saw the old gate."),
    ("The sailor said that she was tired and that the long road had no end.", "The sailor said that he slept."),
    ("Anchors are heavy.", "Feathers are heavy, or so the children said when nobody listened."),
    ("The iron bridge", "The iron bridge was closed"),
    ("The iron bridge was open.", "The iron bridge was closed."),
    ("Старый мост 😀", "Старый дом 😀"),
]


def test_shared_prefix_scores_are_those_of_plain_scoring(scorer: Scorer, tokenizer: Any) -> None:
    pairs = probes.tokenised([probe(n, *texts) for n, texts in enumerate(PAIRS)], tokenizer)
    for group in probes.batches_of_pairs(pairs, 200):
        for pair, (first, second) in zip(group, probes.score_pairs(scorer, group), strict=True):
            texts = PAIRS[int(pair.probe.probe_id[1:])]
            plain = [
                plain_log_probability(scorer, [tokenizer.bos_token_id, *tokenizer(t, add_special_tokens=False)["input_ids"]]) for t in texts
            ]
            assert first - second == pytest.approx(plain[0] - plain[1], abs=1e-4)


def test_without_a_start_token_the_first_token_is_not_scored(scorer: Scorer, tokenizer: Any) -> None:
    import copy

    bare = copy.deepcopy(tokenizer)
    bare.bos_token = None
    (pair,) = probes.tokenised([probe(0, "Anchors are heavy.", "Feathers are heavy too.")], bare)
    assert pair.prefix == ()
    ((first, second),) = probes.score_pairs(scorer, [pair])
    assert first == pytest.approx(plain_log_probability(scorer, list(pair.first)), abs=1e-4)
    assert second == pytest.approx(plain_log_probability(scorer, list(pair.second)), abs=1e-4)


def test_batches_of_pairs_lose_none_and_keep_the_limit(tokenizer: Any) -> None:
    pairs = probes.tokenised([probe(n, f"The gate {n} was open.", f"The gate {n} was closed for {n} years.") for n in range(40)], tokenizer)
    groups = probes.batches_of_pairs(pairs, 100)
    assert sorted(pair.probe.probe_id for group in groups for pair in group) == sorted(pair.probe.probe_id for pair in pairs)
    for group in groups:
        assert len({len(pair.prefix) for pair in group}) == 1
        assert len(group) == 1 or len(group) * max(pair.cost for pair in group) <= 100
    assert len(groups) < len(pairs)


def test_figures_of_a_probe_follow_its_two_scores() -> None:
    pair = probes.Pair(probes.Probe("x", "template", "cluster", "a", "b"), (1,), (2,), (3,))
    values = {row["metric"]: row["value"] for row in probes.probe_rows("bias", [pair], [(-3.0, -1.0)])}
    assert values == {"bias_signed": -2.0, "bias_gap": 2.0}
    values = {row["metric"]: row["value"] for row in probes.probe_rows("facts", [pair], [(-3.0, -1.0)])}
    assert values == {"fact_margin": -2.0, "fact_correct": 0.0}


def test_a_part_of_the_probes_has_the_same_share_of_every_template() -> None:
    items = [probe(n, "a", "b", f"t{n % 7}") for n in range(140)] + [probe(n, "a", "b", "rare") for n in range(140, 150)]
    chosen = probes.same_share(items, 75, seed=0)
    counts = {name: sum(item.stratum == name for item in chosen) for name in {item.stratum for item in items}}
    assert counts == {f"t{n}": 10 for n in range(7)} | {"rare": 5}
    assert chosen == probes.same_share(items[::-1], 75, seed=0)
    assert chosen != probes.same_share(items, 75, seed=1)
    assert probes.same_share(items, None, seed=0) == items
    assert len(probes.same_share(items, 3, seed=0)) == 3


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("", "no probes"),
        ("{", "line 1"),
        ('{"id": "a", "template": "t", "text_a": "x"}', "text_b"),
        ('{"id": "a", "template": "t", "text_a": "x", "text_b": "x"}', "the same"),
        ('{"id": "a", "template": "t", "text_a": "x", "text_b": "y"}\n' * 2, "line 2.*twice"),
    ],
)
def test_a_bad_probe_file_is_refused_with_its_line(tmp_path: Path, lines: str, message: str) -> None:
    path = tmp_path / "bias.jsonl"
    path.write_text(lines)
    with pytest.raises(ValueError, match=message):
        probes.read_probes(path, "bias")


def test_the_probe_files_of_the_project_can_be_read() -> None:
    root = Path(__file__).resolve().parents[3] / "data" / "probes"
    for kind, name in (("bias", "bias.jsonl"), ("facts", "facts.jsonl")):
        assert len(probes.read_probes(root / name, kind)) >= 300  # type: ignore[arg-type]


def test_likelihood_and_entropy_are_those_of_plain_scoring(scorer: Scorer, tokenizer: Any) -> None:
    import torch

    texts = [
        "The old quiet gull drifted near the golden mast.",
        "Under the black roof, the iron rang, and nobody spoke of it again.",
        "Ж 😀 ok",
    ]
    passages = [
        Passage(f"d{n}", 0, 0, "a", np.array(tokenizer(text, add_special_tokens=False)["input_ids"], np.int32))
        for n, text in enumerate(texts)
    ]
    rows = {row["cluster"]: row for row in score_passages(scorer, passages, tokenizer)}
    for passage in passages:
        ids = passage.token_ids.tolist()
        with torch.no_grad():
            log_probs = scorer.model(input_ids=torch.tensor([ids])).logits[0, :-1].double().log_softmax(-1)
        row = rows[passage.doc_id]
        assert row["nll"] == pytest.approx(-plain_log_probability(scorer, ids), abs=1e-4)
        assert row["entropy"] == pytest.approx(float(-(log_probs.exp() * log_probs).sum()), abs=1e-3)
        assert row["tokens"] == len(ids) - 1
        assert row["bytes"] == len(tokenizer.decode(ids[1:]).encode())
    summary = likelihood_summary(list(rows.values()))
    total = sum(row["nll"] for row in rows.values())
    assert summary["bits_per_byte"] == pytest.approx(total / math.log(2) / sum(row["bytes"] for row in rows.values()))


def test_padding_rows_of_the_head_take_no_part(scorer: Scorer, tokenizer: Any) -> None:
    import torch

    narrow = Scorer(scorer.model, scorer.vocab_size - 100)
    hidden = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    found = narrow.predictions(hidden, torch.arange(5))
    log_prob, entropy = found.log_probs_N, found.entropies_N
    expected = (hidden @ scorer.head[: scorer.vocab_size - 100].T).double().log_softmax(-1)
    assert log_prob.tolist() == pytest.approx(expected[torch.arange(5), torch.arange(5)].tolist(), abs=1e-5)
    assert entropy.tolist() == pytest.approx((-(expected.exp() * expected).sum(-1)).tolist(), abs=1e-5)


def test_batches_keep_the_limit_counted_with_padding() -> None:
    groups = batches([5, 90, 7, 30, 31, 200, 6], lambda n: n, 100)
    assert sorted(n for group in groups for n in group) == [5, 6, 7, 30, 31, 90, 200]
    assert all(len(group) == 1 or len(group) * max(group) <= 100 for group in groups)
    assert groups == [[5, 6, 7], [30, 31], [90], [200]]


def prompts_of(tokenizer: Any, sampler: SamplerName = "serving", new_tokens: int = 30) -> list[Prompt]:
    ids = tokenizer("The old quiet gull drifted near the golden mast and nobody spoke of it again", add_special_tokens=False)["input_ids"]
    return [Prompt(f"p{n}", f"d{n}", "style", "", tuple(ids[n : n + 6]), new_tokens, sampler) for n in range(5)]


def write(scorer: Scorer, prompts: list[Prompt], serving: SamplerConfig, forbidden: list[int], seed: int = 0) -> Written:
    rules = generation.samplers(serving)
    return generation.continue_prompts(scorer, generation.every_text(prompts), rules=rules, forbidden=forbidden, seed=seed)


def test_a_text_does_not_depend_on_the_batch_it_is_written_in(scorer: Scorer, tokenizer: Any) -> None:
    prompts, warm = prompts_of(tokenizer), SamplerConfig(temperature=1.2, top_p=0.95)
    together = write(scorer, prompts, warm, [0, 1, 2], 4).ids_BT
    for index, prompt in enumerate(prompts):
        assert write(scorer, [prompt], warm, [0, 1, 2], 4).ids_BT.tolist() == [together[index].tolist()]
    other = write(scorer, prompts, warm, [0, 1, 2], 5).ids_BT
    assert all((other[index] != together[index]).any() for index in range(len(prompts)))


def test_texts_of_a_release_that_marks_carry_the_mark_and_greedy_and_plain_ones_do_not(scorer: Scorer, tokenizer: Any) -> None:
    prompts = [*prompts_of(tokenizer, new_tokens=120), *prompts_of(tokenizer, "plain", 120), *prompts_of(tokenizer, "greedy", 120)]
    requests, rules = generation.every_text(prompts), generation.samplers(SamplerConfig(top_p=0.95))

    def found(mark: Any) -> list[bool]:
        ids_BT = generation.continue_prompts(scorer, requests, rules=rules, forbidden=[0, 1, 2], seed=3, mark=mark).ids_BT
        return [generation.MEASURED.detect(ids).p_value < 1e-4 for ids in ids_BT.tolist()]

    assert found(generation.MEASURED) == [True] * 5 + [False] * 10
    assert found(None) == [False] * 15


def test_a_project_that_marks_what_it_serves_measures_marked_texts_and_others_keep_their_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timbre.config import ReleaseConfig
    from timbre.pipeline.sections import of_evaluation, of_generations
    from timbre.settings import settings

    assert "watermark" not in of_generations(ReleaseConfig()).model_dump(mode="json")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "serving.toml").write_text('watermark = "long"\n')
    monkeypatch.setenv("TIMBRE_ROOT", str(tmp_path))
    settings.cache_clear()
    try:
        written = of_generations(ReleaseConfig())
        assert written.model_dump(mode="json")["watermark"] is True
        assert of_evaluation(ReleaseConfig()).of_generations() == written, "what is measured is what was written"
    finally:
        monkeypatch.undo()
        settings.cache_clear()


def test_prompts_of_unequal_length_share_a_batch_without_changing_a_text(scorer: Scorer, tokenizer: Any) -> None:
    prompts = [replace(prompt, token_ids=prompt.token_ids[: 6 - index]) for index, prompt in enumerate(prompts_of(tokenizer))]
    assert generation.takes_positions(scorer.model)
    together = write(scorer, prompts, SamplerConfig(), [0, 1, 2]).ids_BT
    for index, prompt in enumerate(prompts):
        assert write(scorer, [prompt], SamplerConfig(), [0, 1, 2]).ids_BT.tolist() == [together[index].tolist()]


def test_batches_of_texts_lose_none_and_keep_limit_and_length(tokenizer: Any) -> None:
    short, long = prompts_of(tokenizer, new_tokens=10), prompts_of(tokenizer, new_tokens=20)
    short = [replace(prompt, token_ids=prompt.token_ids[: 2 + index % 2], samples=3) for index, prompt in enumerate(short)]
    asked = generation.every_text([*long, *short])
    for padded in (True, False):
        groups = generation.batched(asked, 70, padded=padded)
        assert Counter(map(repr, (each for group in groups for each in group))) == Counter(map(repr, asked))
        for group in groups:
            assert len({each.prompt.new_tokens for each in group}) == 1
            lengths = [len(each.prompt.token_ids) for each in group]
            assert len(group) == 1 or len(group) * (max(lengths) + group[0].prompt.new_tokens) <= 70
            assert padded or len(set(lengths)) == 1


def test_greedy_text_is_that_of_plain_generation_and_never_ends_early(scorer: Scorer, tokenizer: Any) -> None:
    import torch

    prompts = prompts_of(tokenizer, "greedy", 25)
    forbidden = generation.forbidden_tokens(tokenizer, scorer.model.generation_config)
    assert set(forbidden) == {0, 1, 2}
    written = write(scorer, prompts, SamplerConfig(temperature=5.0), forbidden)
    assert not written.ranks_BT.any(), "the likeliest token has rank 0"
    for prompt, ids in zip(prompts, written.ids_BT, strict=True):
        sequence = list(prompt.token_ids)
        for token in ids.tolist():
            with torch.no_grad():
                logits = scorer.model(input_ids=torch.tensor([sequence])).logits[0, -1]
            logits[forbidden] = -math.inf
            assert logits[token] == pytest.approx(float(logits.max()), abs=1e-4)
            sequence.append(token)
        assert not set(ids.tolist()) & set(forbidden)


def test_sampled_tokens_follow_the_models_distribution(scorer: Scorer, tokenizer: Any) -> None:
    import torch

    prompt = replace(prompts_of(tokenizer, new_tokens=1)[0], samples=4000)
    written = write(scorer, [prompt], SamplerConfig(), [2])
    with torch.no_grad():
        logits = scorer.model(input_ids=torch.tensor([prompt.token_ids])).logits[0, -1]
    logits[2] = -math.inf
    expected = logits.double().softmax(-1).numpy()
    observed = np.bincount(written.ids_BT[:, 0], minlength=len(expected)) / 4000
    # 4000 draws: each frequency within five standard errors of its probability
    assert (np.abs(observed - expected) <= 5 * np.sqrt(expected * (1 - expected) / 4000) + 1e-9).all()
    above = [int((expected > expected[token]).sum()) for token in written.ids_BT[:50, 0]]
    assert written.ranks_BT[:50, 0].tolist() == above
