"""A passage of a target as one self-contained page: the text as it reads, and behind every word what might have stood there.

No script and nothing from elsewhere. A token is tinted by how many choices the target leaves; pointing at it, or reaching it
with Tab, opens its card.
"""

import math
from collections.abc import Sequence
from html import escape

from timbre.page.render import shared_style
from timbre.targets.inspect import PassageView, TokenView

_NAMES = {"observed": "written here", "ngram": "n-grams", "tail": "unnamed tail"}
_STYLE = """
:root { --warm:205,110,40; --observed:var(--accent); --ngram:#7a9e7e; --reference:#d08c4a; --tail:#c9c0b1 }
@media screen and (prefers-color-scheme: dark) { :root { --warm:230,140,70; --ngram:#8fb894; --reference:#e0a263; --tail:#5b554b } }
main { max-width:46rem; padding-bottom:14rem } h1 { font-size:1.5rem; line-height:1.3; max-width:none }
.prompt { white-space:pre-wrap }
.passage { margin:2rem 0; white-space:pre-wrap; overflow-wrap:break-word; font-size:1.15rem; line-height:2;
  font-family:"Iowan Old Style","Palatino Linotype",Palatino,"Book Antiqua",Georgia,"DejaVu Serif",serif }
.t { position:relative; cursor:default; outline:0 } .t mark { border-radius:3px; padding:0; background:rgba(var(--warm),var(--w)) }
.t:hover>mark,.t:focus>mark { box-shadow:0 0 0 2px var(--observed) }
.card { display:none; position:absolute; z-index:2; left:0; top:1.7em; width:17rem; padding:.8rem 1rem; background:var(--paper);
  border:1px solid var(--rule); border-radius:8px; box-shadow:0 8px 30px rgba(0,0,0,.18); white-space:normal;
  font:13px/1.5 system-ui,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif; color:var(--ink) }
.t:hover>.card,.t:focus>.card { display:block } .card b { font-weight:600 }
.row { display:grid; grid-template-columns:6.5rem 1fr 3rem; gap:.5rem; align-items:center }
.row code { overflow:hidden; text-overflow:ellipsis; white-space:pre; font-size:12px }
.row i { display:block; height:.55rem; border-radius:2px; background:var(--reference) }
.row.own i { background:var(--observed) } .row span { text-align:right; font-variant-numeric:tabular-nums }
.shares { display:flex; height:.7rem; border-radius:4px; overflow:hidden; margin:.6rem 0 .2rem } .shares i { display:block }
.legend { display:flex; flex-wrap:wrap; gap:.3rem 1.2rem }
.legend i { display:inline-block; width:.8rem; height:.8rem; border-radius:2px; margin-right:.4rem; vertical-align:-1px }
@media (max-width: 64rem) { .card { position:fixed; left:1rem; right:1rem; top:auto; bottom:1rem; width:auto } }
.choices { display:block; width:100%; height:70px; margin-top:1rem }
.choices path { fill:rgba(var(--warm),.35); stroke:rgb(var(--warm)); stroke-width:1 }
"""
"""What this page has beyond the style sheet of all pages."""


def passage_page(view: PassageView) -> str:
    """The page."""
    tokens = "".join(_token(token, place) for place, token in enumerate(view.tokens))
    count = max(len(view.tokens), 1)
    mean = {name: sum(token.origin[name] for token in view.tokens) / count for name in view.origins}
    choices = sorted(token.effective_support for token in view.tokens)
    stored = f"{view.top_k} tokens a position" if view.coding == "topk" else f"{view.top_k} draws a position"
    half = choices[len(choices) // 2] if choices else 0.0
    afterwards = f" Reshaped: {escape(view.reshaped)}." if view.reshaped else ""
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(view.doc_id)} · target</title><style>{shared_style()}{_STYLE}</style>"
    )
    body = (
        f"<h1>{escape(view.doc_id)}, passage {view.index}</h1>"
        '<p class="note">Point at a word, or press Tab: its card shows what else this target would have accepted there. '
        f"The warmer a word, the wider the choice. {len(view.tokens)} positions; half of them leave fewer than {half:.1f} choices. "
        f"α = {view.alpha:g}, {stored}.{afterwards}</p>{_curve([token.effective_support for token in view.tokens])}"
        f'<div class="passage"><span class="prompt">{escape(view.prompt)}</span>{tokens}</div>'
        f'<div class="note">Where the mass came from, on average{_bar(mean)}<div class="legend">{_legend(mean)}</div></div>'
    )
    return f'<!doctype html><html lang="en"><head>{head}</head><body><main>{body}</main></body></html>\n'


def _token(token: TokenView, place: int) -> str:
    warmth = min(0.75, 0.12 * math.log2(max(token.effective_support, 1.0)))
    rows = _row(token.token, token.probability, own=True) + "".join(_row(text, probability) for text, probability in token.alternatives)
    card = (
        f"<b>{token.effective_support:.1f}</b> choices, position {place + 1}{_bar(token.origin)}{rows}"
        f'<div class="row"><code>all others</code><i style="width:{100 * token.tail_mass:.1f}%;background:var(--tail)"></i>'
        f"<span>{token.tail_mass:.3f}</span></div>"
    )
    word = token.token.lstrip(" ") or token.token  # the space before a word would be a coloured bar at the end of a line
    shown = f"{token.token.removesuffix(word)}<mark>{escape(word)}</mark>"
    return f'<span class="t" tabindex="0" style="--w:{warmth:.2f}">{shown}<span class="card" role="note">{card}</span></span>'


def _row(text: str, probability: float, *, own: bool = False) -> str:
    visible = escape(text.replace("\n", "⏎").replace(" ", "·"))
    return (
        f'<div class="row{" own" if own else ""}"><code>{visible}</code><i style="width:{100 * probability:.1f}%"></i>'
        f"<span>{probability:.3f}</span></div>"
    )


def _bar(origin: dict[str, float]) -> str:
    parts = "".join(f'<i style="width:{100 * share:.2f}%;background:{_colour(name, origin)}"></i>' for name, share in origin.items())
    spoken = escape(", ".join(f"{_NAMES.get(name, name)} {share:.0%}" for name, share in origin.items()))
    return f'<div class="shares" role="img" aria-label="{spoken}">{parts}</div>'


def _legend(mean: dict[str, float]) -> str:
    return "".join(
        f'<span><i style="background:{_colour(name, mean)}"></i>{escape(_NAMES.get(name, name))} {share:.1%}</span>'
        for name, share in mean.items()
    )


def _colour(name: str, origin: dict[str, float]) -> str:
    """Of a part of the bar; the first reference has the page's own, further styles turn its hue by equal steps."""
    if name in _NAMES:
        return f"var(--{name})"
    references = [other for other in origin if other not in _NAMES]
    place = references.index(name)
    return "var(--reference)" if not place else f"hsl({(31 + 300 * place // len(references)) % 360} 48% 55%)"


def _curve(support: Sequence[float]) -> str:
    """How wide the choice is along the passage, on a logarithmic scale."""
    if len(support) < 2:
        return ""
    heights = [math.log2(max(value, 1.0)) for value in support]
    top = max([*heights, 1.0])
    points = " ".join(f"{1000 * place / (len(heights) - 1):.1f},{66 - 60 * height / top:.1f}" for place, height in enumerate(heights))
    return (
        '<svg class="choices" viewBox="0 0 1000 70" preserveAspectRatio="none" role="img" '
        f'aria-label="Choices along the passage, from 1 to {2**top:.0f}">'
        f'<path d="M0,66 L{points} L1000,66 Z"/></svg>'
    )
