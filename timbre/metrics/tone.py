"""Beside style: how wide the range of feelings is, and how hard a text is to read.

The word list is our own, small and English. Where hardly a word of it occurs (another language, or tables), the figures are
None: nothing is read into a text that the list does not know. The reading level counts letters and holds for any script
that separates words.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from timbre.words import sentences, words

_WORDS = {
    "joy": """
        joy joyful glad happy happily happiness delight delighted merry cheer cheerful laugh laughed laughing laughter smile
        smiled smiling pleasure pleased pleasant bliss rejoice jolly mirth love loved loving lovely beloved sweet gay content
        charm charming triumph proud pride hope hoped hopeful comfort kind tender gentle grateful thankful welcome celebrate
        bright delicious
    """,
    "sadness": """
        sad sadly sadness sorrow sorrowful grief grieve grieved mourn mournful weep wept weeping cry cried tears tear lonely
        loneliness misery miserable gloom gloomy despair melancholy dreary lament woe wretched unhappy regret lost loss broken
        forlorn desolate heartbroken pity poor bitter alas dead death dying die died grave
    """,
    "anger": """
        anger angry angrily rage raged raging fury furious wrath mad hate hated hatred hateful curse cursed damn damned revenge
        vengeance spite fierce fiercely violent violence quarrel outrage indignant resent scorn enraged enemy cruel savage
        strike struck
    """,
    "fear": """
        fear feared fearful afraid dread dreadful terror terrible terribly terrify horror horrible fright frightened frightful
        panic scared alarm alarmed anxious anxiety worry worried nervous tremble trembled trembling danger dangerous peril
        perilous doom threat threaten ghastly shudder
    """,
    "disgust": """
        disgust disgusting disgusted loathe loathing loathsome foul filthy filth vile nasty rotten rot stink stench sick
        sickening ugly hideous repulsive revolting gross contempt despise abhor corrupt dirty
    """,
    "surprise": """
        surprise surprised surprising astonish astonished astonishing astonishment amaze amazed amazing amazement wonder
        wondered wonderful wondrous marvel marvellous sudden suddenly startled strange strangely unexpected incredible shock
        shocked stunned curious
    """,
}
FEELINGS: dict[str, frozenset[str]] = {feeling: frozenset(list_.split()) for feeling, list_ in _WORDS.items()}
_OF = {word: feeling for feeling, list_ in FEELINGS.items() for word in list_}
_SEEN_SHARE = 0.001
_LONG = 6


def feeling_rate(text: str) -> float | None:
    """Words that name a feeling, a hundred words."""
    sequence = words(text)
    return 100 * sum(word in _OF for word in sequence) / len(sequence) if sequence else None


def feelings(text: str) -> Counter[str]:
    """How often each of six feelings (Ekman 1992) is named."""
    return Counter(_OF[word] for word in words(text) if word in _OF)


def emotional_range(texts: Sequence[str]) -> float | None:
    """Effective number of feelings named over all texts, exp of the entropy of their shares: 1 (one feeling) to 6 (all alike).

    None where fewer than one word in a thousand names a feeling: then the list does not speak the language of the texts.
    """
    size = sum(len(words(text)) for text in texts)
    counts = np.array([sum(each) for each in zip(*([feelings(text)[name] for name in FEELINGS] for text in texts), strict=True)], float)
    return range_of_counts(counts, size)


def range_of_counts(counts_6: np.ndarray, size: int) -> float | None:
    """`emotional_range` of counts of each feeling among `size` words."""
    total = float(counts_6.sum())
    if not size or total < max(1.0, _SEEN_SHARE * size):
        return None
    share = counts_6[counts_6 > 0] / total
    return float(np.exp(-(share * np.log(share)).sum()))


def reading_level(text: str) -> float | None:
    """LIX (Björnsson 1968): words a sentence + 100 × share of words of more than six letters. 25 easy, 40 plain, 55 hard."""
    sequence = words(text)
    if not sequence:
        return None
    return len(sequence) / max(len(sentences(text)), 1) + 100 * sum(len(word) > _LONG for word in sequence) / len(sequence)
