"""What a run prints of the voice: one line of figures, and base beside tuned in 80 columns, the first prompts as they stand."""

import io
import json
from typing import Any

from rich.console import Console

from timbre.artifacts import ArtifactStore, Stage, Workspace, json_lines
from timbre.cli.samples import chosen, print_samples, print_voice, voice_lines
from timbre.config import ModelConfig
from timbre.progress import SILENT


def told(characters: float, words: float | None, floor: float | None = 0.52) -> dict[str, Any]:
    rows = {name: {"auc": auc, "floor": floor} for name, auc in (("characters", characters), ("words", words)) if auc is not None}
    return {"told_apart": rows | {"texts": 128, "not_measured": {}}}


def row(kind: str, name: str, text: str, cluster: str = "d", **more: Any) -> dict[str, Any]:
    human = {"human": "and so the whale went down"} if kind == "style" else {}
    return {"kind": kind, "prompt_id": name, "cluster": cluster, "sample": 0, "prompt": f"prompt {name}", "text": text} | human | more


def test_the_voice_line_says_base_tuned_chance_and_how_many() -> None:
    lines = "\n".join(voice_lines(told(0.974, 0.979), told(0.806, 0.81)))
    assert "by characters 0.97 → 0.81 (human 0.52); by words 0.98 → 0.81 (human 0.52)" in lines
    assert "128 texts a side" in lines


def test_a_family_that_one_side_lacks_is_not_compared_and_none_is_no_line() -> None:
    lines = "\n".join(voice_lines(told(0.9, None), told(0.8, 0.7, None)))
    assert "characters" in lines and "words" not in lines and "human " not in lines.partition(":")[2]
    few = {"told_apart": {"not_measured": {"words": "4 texts a side are too few: 20 are the least"}}}
    assert list(voice_lines(few, few)) == ["Voice     not measured: 4 texts a side are too few: 20 are the least"]
    assert list(voice_lines({}, told(0.8, 0.7))) == [] == list(voice_lines({"told_apart": {"not_measured": {}}}, {}))


def test_samples_are_the_first_opening_and_an_instruction_to_open_a_chapter() -> None:
    base = [row("style", "a", "A report."), row("style", "b", "B"), row("instruction", "i", "I"), row("instruction", "o", "Sure!", "open")]
    tuned = [row("memorisation", "r", "R"), *({**each, "text": f"tuned {each['text']}"} for each in base)]
    assert list(chosen(base, tuned)) == [
        ("prompt a", "A report.", "tuned A report.", "and so the whale went down"),
        ("prompt o", "Sure!", "tuned Sure!", ""),
    ]


def test_the_end_of_a_run_fits_80_columns_with_both_texts_side_by_side(tmp_path: Any) -> None:
    texts = {"base": "The conference will be held. " * 30, "tuned": "Thus, the great whale of the [deep] sea. " * 30}

    def evaluation(name: str, auc: float) -> Any:
        def build(_: ModelConfig, __: object, work: Workspace) -> None:
            (work.output / "summary.json").write_text(json.dumps(told(auc, auc)))
            (work.output / "generations.jsonl").write_bytes(json_lines([row("style", "a", texts[name])]))

        return ArtifactStore(tmp_path, SILENT).build(Stage("evaluation", 1, build), ModelConfig(name=name), {})

    out = io.StringIO()
    console = Console(file=out, width=80)
    both = evaluation("base", 0.97), evaluation("tuned", 0.81)
    print_voice(console, *both)
    print_samples(console, *both)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert any("The conference" in line and "Thus, the great" in line for line in lines), "side by side"
    assert "[deep]" in out.getvalue(), "a text is no markup"
