"""A passage of a target, token by token: what else might have stood there, and how wide the choice was."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from timbre.artifacts import Artifact
from timbre.store import TargetReader
from timbre.targets.mixture import SparseDistributions

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class TokenView:
    """One position: the token that stands there and its target distribution."""

    token: str
    probability: float
    alternatives: tuple[tuple[str, float], ...]
    """The likeliest other tokens, best first."""
    tail_mass: float
    effective_support: float
    """exp(entropy) of the stored events: as many equally likely tokens would be as wide a choice."""


@dataclass(frozen=True)
class PassageView:
    """A passage and its positions. `first` has no distribution: nothing stands before it."""

    doc_id: str
    index: int
    first: str
    tokens: tuple[TokenView, ...]


def inspect_passage(target: Artifact, model: Artifact, row: int, *, alternatives: int = 5) -> PassageView:
    """Row `row` of a target with its tokens spelled out.

    Raises:
        ValueError: no such row, or the model's tokenizer is not the target's.
        IntegrityError: the target is damaged.
    """
    from timbre.models import load_tokenizer, model_facts

    reader = TargetReader(target.path, tokenizer_digest=model_facts(model)["tokenizer_digest"], verify=False)
    if not 0 <= row < len(reader):
        raise ValueError(f"this target has passages 0..{len(reader) - 1}, there is no passage {row}")
    tokenizer = load_tokenizer(model)
    found = reader[row]

    def spelled(token_id: int) -> str:
        return str(tokenizer.decode([int(token_id)]))

    widths = np.exp(SparseDistributions(found.ids_TK, found.probs_TK, found.tail_T).entropies)
    tokens = []
    for position, observed in enumerate(found.token_ids_T[1:]):
        ids, probs = found.ids_TK[position], found.probs_TK[position]
        others = [place for place in np.argsort(-probs, kind="stable") if ids[place] != observed][:alternatives]
        tokens.append(
            TokenView(
                token=spelled(observed), probability=float(probs[ids == observed].sum()),
                alternatives=tuple((spelled(ids[place]), float(probs[place])) for place in others),
                tail_mass=float(found.tail_T[position]), effective_support=float(widths[position]),
            )
        )  # fmt: skip
    return PassageView(found.doc_id, found.index, spelled(found.token_ids_T[0]), tuple(tokens))


def passage_table(view: PassageView) -> "Table":
    """The passage as a table for the terminal."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=f"{view.doc_id}, passage {view.index}; begins with {view.first!r}", title_justify="left")
    table.add_column("token")
    for heading in ("target", "effective support", "tail"):
        table.add_column(heading, justify="right")
    table.add_column("might have been")
    for token in view.tokens:
        others = ", ".join(f"{text!r} {probability:.3f}" for text, probability in token.alternatives if probability > 0)
        table.add_row(
            Text(repr(token.token)), f"{token.probability:.3f}", f"{token.effective_support:.1f}", f"{token.tail_mass:.3f}", Text(others)
        )
    return table
