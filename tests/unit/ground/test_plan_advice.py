"""What the plan proposes where a soft target was measured not to pay."""

import json
from pathlib import Path
from typing import Any

import pytest

from timbre.config import release_config
from timbre.pipeline.advice import EVIDENCE, advice

FIGURES = {"likelier": [0.001, -0.004, 0.006], "voice, characters": [-0.01, -0.03, 0.01], "voice, words": [0.0, -0.02, 0.02]}


@pytest.fixture
def evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes the evidence of a project of one's own: which sizes pay."""
    from timbre.settings import settings

    monkeypatch.setenv("TIMBRE_ROOT", str(tmp_path))
    settings.cache_clear()

    def write(pays: dict[int, bool]) -> None:
        path = tmp_path / EVIDENCE
        path.parent.mkdir(parents=True, exist_ok=True)
        sizes = {str(tokens): {"pays": answer, "figures": FIGURES} for tokens, answer in pays.items()}
        path.write_text(json.dumps({"page": "docs/explanation/little-text.md", "style": "literary", "seeds": 3, "sizes": sizes}))

    yield write
    settings.cache_clear()


def _asked(tokens: int, objective: str = "forward_kl") -> str:
    return advice(release_config("literary", overrides={"target.train_tokens": tokens, "training.objective": objective}))


def test_where_a_soft_target_did_not_pay_the_plan_proposes_sft_with_the_figures(evidence: Any) -> None:
    evidence({2_048: False, 4_096: True, 8_192: False})
    said = _asked(8_192)
    assert said.startswith("on 8,192 tokens of the style literary") and "`--objective sft` is proposed" in said
    assert "likelier by nats a token +0.001 [-0.004, +0.006]" in said and "docs/explanation/little-text.md" in said
    assert _asked(10_000) == said, "what is measured speaks for sizes near it"
    assert _asked(2_000).startswith("on 2,048 tokens")


def test_nothing_is_proposed_where_it_pays_where_nothing_was_measured_or_where_sft_is_asked_for(evidence: Any) -> None:
    evidence({4_096: True, 8_192: False})
    assert _asked(4_096) == _asked(65_536) == _asked(8_192, "sft") == ""
    evidence({})
    assert _asked(8_192) == ""


def test_the_plan_says_it(evidence: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from timbre.cli.summary import print_plan
    from timbre.pipeline.plan import Plan

    evidence({8_192: False})
    told = Plan((), 1.0, advice=_asked(8_192))
    assert "is proposed" in told.as_json(None)["advice"] and Plan((), 1.0).as_json(None)["advice"] == ""
    seen: list[str] = []
    monkeypatch.setattr("rich.console.Console.print", lambda self, *parts, **_: seen.extend(map(str, parts)))
    print_plan(told)
    assert any(line.startswith("note: on 8,192 tokens") for line in seen)
