"""A passage of a target, token by token: what else might have stood there, how wide the choice was, where the mass came from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np

from timbre.artifacts import Artifact
from timbre.store import StoreHeader, TargetReader
from timbre.targets.mixture import SparseDistributions

if TYPE_CHECKING:
    from rich.table import Table

ORIGINS = ("observed", "ngram", "reference", "tail")
"""Of a plain target; a blend has `reference: STYLE` for each of its styles in the place of `reference`."""
_BLOCKS = {"observed": "█", "ngram": "▓", "tail": "░"}
_STYLE_BLOCKS = "▒▚▤▥▞▧▨▦"
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
    """Mass by where it came from, in the order of `PassageView.origins`, summing to 1: α from what was written; the tail, which no
    token is named for; and the rest from n-grams and each style's reference in proportion to their weights at this position,
    before it was reshaped."""


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
    origins: tuple[str, ...] = ORIGINS
    reshaped: str = ""
    """What changed the masses of n-grams and references afterwards, in words: these act on whole distributions and add no mass of
    their own."""


def inspect_passage(target: Artifact, model: Artifact, row: int, *, alternatives: int = 5) -> PassageView:
    """Row `row` of a target with its tokens spelled out.

    Raises:
        ValueError: no such row, or the model's tokenizer is not the target's.
        IntegrityError: the target is damaged.
    """
    from timbre.models import load_tokenizer, model_facts

    reader = TargetReader(target.path, tokenizer_digest=model_facts(model)["tokenizer_digest"])
    if not 0 <= row < len(reader):
        raise ValueError(f"this target has passages 0..{len(reader) - 1}, there is no passage {row}")
    tokenizer, summary = load_tokenizer(model), target.json("summary.json")
    blend = summary.get("mixture", {}).get("blend", {})
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
                origin=origins(reader.header, float(found.tail_T[position]), eta, blend),
            )
        )  # fmt: skip
    prompt = str(tokenizer.decode(found.token_ids_T[: found.first_label]))
    header = reader.header
    return PassageView(
        found.doc_id, found.index, prompt, tuple(tokens), header.coding, header.top_k, header.alpha,
        tuple(origins(header, 0.0, 0.0, blend)), reshaped(summary),
    )  # fmt: skip


def origins(header: StoreHeader, tail: float, eta: float, blend: Mapping[str, float] | None = None) -> dict[str, float]:
    """Shares by origin at a position whose n-grams weigh `eta` in the reference distribution, and whose styles those of `blend`."""
    tail = min(tail, 1 - header.alpha)
    rest = 1 - header.alpha - tail
    references = {f"reference: {style}": weight * (1 - eta) * rest for style, weight in (blend or {}).items()}
    return {"observed": header.alpha, "ngram": eta * rest} | (references or {"reference": (1 - eta) * rest}) | {"tail": tail}


def reshaped(summary: Mapping[str, Any]) -> str:
    """Strength, principles and swaps of a target, from its `summary.json`; empty where there are none."""
    parts = [f"strength {summary['strength']:g} between the base model (0) and the style (1)"] if "strength" in summary else []
    parts += [f"principle {use['name']} (β = {use['strength']:g})" for use in summary.get("principles", [])]
    parts += [f"averaged with the swaps of {summary['debias']['table']}"] if "debias" in summary else []
    return "; ".join(parts)


def passage_table(view: PassageView) -> "Table":
    """The passage as a table for a terminal of 80 columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    legend = ", ".join(f"{block} {name}" for name, block in _blocks(view.origins).items())
    afterwards = f"\nreshaped: {view.reshaped}." if view.reshaped else ""
    table = Table(
        title=f"{view.doc_id}, passage {view.index}; begins with {view.prompt[-40:]!r}\n"
        f"mass from: {legend}. choices: effective support exp(H).{afterwards}",
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


def origin_bar(origin: Mapping[str, float]) -> str:
    """Ten blocks in the proportions of the origins; ends are rounded, so that there are always ten."""
    ends = np.rint(np.cumsum(list(origin.values())) * _BAR).astype(int)
    starts = np.concatenate([[0], ends[:-1]])
    return "".join(block * int(stop - start) for block, start, stop in zip(_blocks(origin).values(), starts, ends, strict=True))


def _blocks(names: Iterable[str]) -> dict[str, str]:
    styles = cycle(_STYLE_BLOCKS)
    return {name: _BLOCKS[name] if name in _BLOCKS else next(styles) for name in names}
