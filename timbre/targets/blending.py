"""Blends by name: from `literary=0.7,technical=0.3` to a style with the sources of both, and the parts of `target.blend`."""

import math
from collections.abc import Sequence
from pathlib import Path

from timbre.artifacts import write_atomically
from timbre.config import BlendPart
from timbre.corpus.sources import NAME, find_style, style_paths


def parse_blend(text: str) -> tuple[BlendPart, ...]:
    """The parts of a blend, with the sources of each style.

    Raises:
        ValueError: not of the form STYLE=SHARE,…, a style unknown or named twice, shares that do not sum to 1, or a source in
            two of the styles.
    """
    shares: dict[str, float] = {}
    for item in text.split(","):
        style, equals, share = (word.strip() for word in item.partition("="))
        try:
            weight = float(share)
        except ValueError:
            weight = math.nan
        if not equals or not 0 < weight <= 1:
            raise ValueError(f"{item.strip()!r} is no share of a blend: write STYLE=SHARE with a share above 0, for example literary=0.7")
        if style in shares:
            raise ValueError(f"the blend names {style!r} twice: give each style once")
        shares[style] = weight
    if len(shares) < 2:
        raise ValueError("a blend needs two styles or more, for example literary=0.7,technical=0.3")
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise ValueError(f"the shares of the blend sum to {sum(shares.values()):g}: make them sum to 1")
    parts = tuple(BlendPart(style=style, weight=weight, sources=find_style(style)[1].sources) for style, weight in shares.items())
    sources = [source for part in parts for source in part.sources]
    if twice := sorted({source for source in sources if sources.count(source) > 1}):
        raise ValueError(
            f"{', '.join(twice)} belongs to two styles of the blend: a document can be drawn for one only; choose other styles"
        )
    return parts


def blended_style(parts: Sequence[BlendPart], name: str, home: Path) -> str:
    """Write the style that holds the sources of all parts into the home folder; its name.

    Raises:
        ValueError: a name that cannot be one, or that another style has.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot name a style: use small letters, digits and hyphens, 48 at most")
    sources = [source for part in parts for source in part.sources]
    text = (
        f'name = "{name}"\ndescription = "A blend of {", ".join(part.style for part in parts)}."\n'
        f"sources = [{', '.join(f'{source!r}' for source in sources)}]\nsplit_by_date = false\n"
    ).replace("'", '"')
    known = style_paths(home).get(name)
    if known is not None and known.read_text(encoding="utf-8") != text:
        raise ValueError(f"there is a style {name!r} already: give the blend another name with --name")
    write_atomically(home / "styles" / f"{name}.toml", text.encode())
    return name
