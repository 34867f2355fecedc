"""A sequence-level target for people: which completions of a prompt are human-like, what the model overuses, and the decision."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timbre.artifacts import Artifact
from timbre.sequence.pool import FILE

if TYPE_CHECKING:
    from rich.console import Console
    from transformers import PreTrainedTokenizerBase

Row = dict[str, Any]
SHOWN = 10
"""Rows of either table on a terminal."""
_WARM = ("default", "yellow", "dark_orange", "red")
_STEPS = (3.0, 6.0, 9.0)
"""Nats of surprisal from which a token is tinted, and tinted more."""


@dataclass(frozen=True)
class CompletionView:
    """A completion: its share among those of its prompt, where 1 is the mean, and each token with −log p₀ in nats."""

    weight: float
    tokens: tuple[tuple[str, float], ...]

    @property
    def text(self) -> str:
        return "".join(token for token, _ in self.tokens)


@dataclass(frozen=True)
class SequenceView:
    """A prompt, its completions from the most human-like to the least, and what stands of the whole target."""

    prompt_id: str
    prompt: str
    human: str
    completions: tuple[CompletionView, ...]
    admission: Row
    moments: tuple[Row, ...]
    overused: tuple[Row, ...]


def inspect_completions(sequence: Artifact, completions: Artifact, model: Artifact, number: int) -> SequenceView:
    """Prompt `number` of a sequence-level target.

    Raises:
        ValueError: no such prompt, or no completions were drawn; the sentence says why.
    """
    from timbre.models import load_tokenizer

    rows, admission = completions.json_lines(FILE), sequence.json("admission.json")
    if not rows:
        raise ValueError(f"there are no completions: {admission['why']}")
    if not 0 <= number < len(rows):
        raise ValueError(f"this target has prompts 0..{len(rows) - 1}, there is no prompt {number}")
    row, tokenizer = rows[number], load_tokenizer(model)
    weights = [line["weight"] for line in sequence.json_lines("weights.jsonl") if line["prompt_id"] == row["prompt_id"]]
    views = [
        CompletionView(
            len(weights) * weight, tuple(zip(_spelled(tokenizer, one["token_ids"]), [-p for p in one["log_probs"]], strict=True))
        )
        for weight, one in zip(weights, row["completions"], strict=True)
    ]
    views.sort(key=lambda view: -view.weight)
    return SequenceView(
        row["prompt_id"], row["prompt"], row["human"], tuple(views), admission, tuple(sequence.json("moments.json")),
        tuple(sequence.json("overused.json")),
    )  # fmt: skip


def _spelled(tokenizer: "PreTrainedTokenizerBase", ids: list[int]) -> list[str]:
    return [str(tokenizer.decode([token])) for token in ids]


def print_view(view: SequenceView, console: "Console") -> None:
    """For a terminal of 80 columns: the decision, the completions with unlikely tokens tinted, two tables."""
    from rich.text import Text

    console.print(view.admission["why"], markup=False)
    console.print(f"\nprompt {view.prompt_id}: …{' '.join(view.prompt.split())[-120:]}", markup=False, soft_wrap=True)
    console.print(f"human: {' '.join(view.human.split())}", markup=False, soft_wrap=True)
    for one in view.completions:
        line = Text(f"\n{one.weight:.2f}× ", style="bold")
        for token, surprisal in one.tokens:
            line.append(token.replace("\n", " "), style=_WARM[sum(surprisal >= step for step in _STEPS)])
        console.print(line, soft_wrap=True)
    console.print("\n1× is a completion's fair share; the warmer a token, the less the tuned model expected it (from 3, 6 and 9 nats).")
    _print_tables(view, console)


def _print_tables(view: SequenceView, console: "Console") -> None:
    from rich.table import Table

    moments = Table(box=None, pad_edge=False, title="\nWhat is matched, farthest apart first", title_justify="left")
    for name in ("feature", "human", "plain", "weighted", "apart (sd)"):
        moments.add_column(name, justify="left" if name == "feature" else "right")
    for row in view.moments[:SHOWN]:
        moments.add_row(row["feature"], *(f"{row[name]:.3g}" for name in ("human", "plain", "weighted")), f"{row['apart']:+.2f}")
    console.print(moments)
    over = Table(box=None, pad_edge=False, title="\nWhat the model overuses (a thousand words)", title_justify="left")
    for name in ("phrase", "model", "human", "ratio"):
        over.add_column(name, justify="left" if name == "phrase" else "right")
    for row in view.overused[:SHOWN]:
        over.add_row(row["phrase"], f"{row['rate']:.2f}", f"{row['human_rate']:.2f}", f"{row['ratio']:.1f}")
    console.print(over)


def sequence_page(view: SequenceView) -> str:
    """The same as a page of its own, without script: tokens tinted by surprisal, exact figures where one points."""
    from timbre.page.render import render

    completions = [
        {
            "weight": one.weight,
            "tokens": [{"text": token, "surprisal": surprisal, "tint": min(0.75, surprisal / 16)} for token, surprisal in one.tokens],
        }
        for one in view.completions
    ]  # fmt: skip
    return render(Path(__file__).parent / "templates", "sequence.html", {"view": view, "completions": completions})
