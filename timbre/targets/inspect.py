"""A passage of a target, token by token: what else might have stood there, how wide the choice was, where the mass came from."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from timbre.artifacts import Artifact
from timbre.store import StoreHeader, TargetReader
from timbre.targets.mixture import SparseDistributions

if TYPE_CHECKING:
    from rich.table import Table

ORIGINS = ("observed", "ngram", "reference", "tail")
_BLOCKS = dict(zip(ORIGINS, "█▓▒░", strict=True))
_BAR = 10


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
    origin: dict[str, float]
    """Mass by where it came from, summing to 1: α from what was written; the tail, which no token is named for; and the rest from
    reference and n-grams in proportion to their weights at this position."""


@dataclass(frozen=True)
class PassageView:
    """A passage and its positions. `prompt` has no distribution: the first token, or all of a prompt."""

    doc_id: str
    index: int
    prompt: str
    tokens: tuple[TokenView, ...]
    coding: str
    top_k: int
    alpha: float


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
    for position, observed in enumerate(found.observed):
        ids, probs = found.ids_TK[position], found.probs_TK[position]
        others = [place for place in np.argsort(-probs, kind="stable") if ids[place] != observed and probs[place] > 0][:alternatives]
        eta = 0.0 if found.eta_T is None else float(found.eta_T[position])
        tokens.append(
            TokenView(
                token=spelled(observed), probability=float(probs[ids == observed].sum()),
                alternatives=tuple((spelled(ids[place]), float(probs[place])) for place in others),
                tail_mass=float(found.tail_T[position]), effective_support=float(widths[position]),
                origin=origins(reader.header, float(found.tail_T[position]), eta),
            )
        )  # fmt: skip
    prompt = str(tokenizer.decode(found.token_ids_T[: found.first_label]))
    return PassageView(found.doc_id, found.index, prompt, tuple(tokens), reader.header.coding, reader.header.top_k, reader.header.alpha)


def origins(header: StoreHeader, tail: float, eta: float) -> dict[str, float]:
    """Shares of `ORIGINS` at a position whose n-grams have the weight `eta` inside the bracket."""
    tail = min(tail, 1 - header.alpha)
    rest = 1 - header.alpha - tail
    return {"observed": header.alpha, "ngram": eta * rest, "reference": (1 - eta) * rest, "tail": tail}


def passage_table(view: PassageView) -> "Table":
    """The passage as a table for a terminal of 80 columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    legend = ", ".join(f"{block} {name}" for name, block in _BLOCKS.items())
    table = Table(
        title=f"{view.doc_id}, passage {view.index}; begins with {view.prompt[-40:]!r}\n"
        f"mass from: {legend}. choices: effective support exp(H).",
        title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False,
    )  # fmt: skip
    table.add_column("token", width=14, no_wrap=True)
    table.add_column("target", width=6, justify="right")
    table.add_column("choices", width=7, justify="right")
    table.add_column("mass from", width=_BAR)
    table.add_column("might have been", width=32, no_wrap=True, overflow="ellipsis")
    for token in view.tokens:
        others = " ".join(f"{text!r} {probability:.3f}" for text, probability in token.alternatives)
        table.add_row(
            Text(repr(token.token)), f"{token.probability:.3f}", f"{token.effective_support:.1f}", origin_bar(token.origin), Text(others)
        )
    return table


def origin_bar(origin: dict[str, float]) -> str:
    """Ten blocks in the proportions of the origins; ends are rounded, so that there are always ten."""
    ends = np.rint(np.cumsum([origin[name] for name in ORIGINS]) * _BAR).astype(int)
    starts = np.concatenate([[0], ends[:-1]])
    return "".join(_BLOCKS[name] * int(stop - start) for name, start, stop in zip(ORIGINS, starts, ends, strict=True))
