"""Where a soft target was measured not to pay, the plan says so and proposes SFT: one file, `data/evidence/little-text.json`, decides.

`python -m benchmarks.little_text --page` writes that file from its committed figures, by the rule that was fixed before they were.
"""

import json
import math
from collections.abc import Mapping
from typing import Any

from timbre.config import ReleaseConfig
from timbre.settings import settings

EVIDENCE = "data/evidence/little-text.json"
_NEAR = math.sqrt(2)
"""How many times more or fewer training tokens than a measured size its answer still speaks for."""


def advice(config: ReleaseConfig) -> str:
    """A sentence where plain SFT, stopped early, did as well as a soft target on about as much text; else nothing.

    It speaks only of what was measured: `forward_kl` at one setting, at sizes within a factor of √2 of this one.
    """
    path = settings().file(EVIDENCE)
    if config.training.objective != "forward_kl" or not path.is_file():
        return ""
    found: Mapping[str, Any] = json.loads(path.read_bytes())
    budget = config.target.train_tokens
    sizes = {int(tokens): figures for tokens, figures in found["sizes"].items() if 1 / _NEAR <= int(tokens) / budget <= _NEAR}
    if not sizes:
        return ""
    nearest = min(sizes, key=lambda tokens: abs(math.log(tokens / budget)))
    if sizes[nearest]["pays"]:
        return ""
    told = "; ".join(
        f"{_SAID[name]} {mean:+.3f} [{low:+.3f}, {high:+.3f}]"
        for name, (mean, low, high) in sizes[nearest]["figures"].items()
        if name in _SAID
    )
    return (
        f"on {nearest:,} tokens of the style {found['style']} a soft target was not better than SFT stopped early over {found['seeds']} "
        f"seeds ({told}; positive is the soft target's, 95% bounds): `--objective sft` is proposed, see {found['page']}"
    )


_SAID = {"likelier": "likelier by nats a token", "voice, characters": "nearer by characters", "voice, words": "nearer by words"}
