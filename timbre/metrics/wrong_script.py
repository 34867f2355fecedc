"""Letters of a script that the human texts do not use: what a multilingual base slips into when its tail is sampled."""

from collections.abc import Sequence

from timbre.words import scripts

_RARE_SCRIPT = 0.01


def wrong_script_rates(texts: Sequence[str], human: Sequence[str]) -> tuple[float, float]:
    """Share of generated and of human texts with a letter of a script that makes up less than 1% of the human letters."""
    letters: dict[str, int] = {}
    for text in human:
        for script, count in scripts(text).items():
            letters[script] = letters.get(script, 0) + count
    expected = {script for script, count in letters.items() if count >= _RARE_SCRIPT * sum(letters.values())}

    def rate(of: Sequence[str]) -> float:
        return sum(not scripts(text).keys() <= expected for text in of) / len(of) if of else 0.0

    return rate(texts), rate(human)
