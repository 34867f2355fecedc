"""The true/false pairs of `data/probes/facts.jsonl` by topic, for the report: which kind of knowledge moved.

The gates judge all facts together; a topic's interval is wide (10 to 40 facts) and only says where to look.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from timbre.evaluation.factuality.shares import by, lookup, share
from timbre.evaluation.probes import Probe
from timbre.statistics import bootstrap_interval

_TOPICS = {
    "geography": """capital-of-country continent-of-country ocean-superlative ocean-location river-continent river-of-city
        mountain-superlative range-continent desert-continent neighboring-country country-outline polar-region enclave-city
        country-superlative canal-location us-state-capital island-ocean landmark-city monument-country animal-home""",
    "countries": """language-of-country currency-of-country national-flag origin-of-dish ruler-country ancient-language poem-form
        foreign-word""",
    "sky": """sky-direction planet-order planet-superlative planet-nickname orbit sky-object-kind planet-feature orbital-period
        season navigation cause-in-nature""",
    "matter": """chemical-symbol compound-elements atomic-number gas-of-air freezing-point boiling-point change-of-state
        particle-charge speed-comparison metal-property mineral-composition magnetism color-mixing rock-type atmosphere-layer
        material-source""",
    "living things": """animal-class number-of-legs name-of-young animal-diet animal-product metamorphosis animal-superlative
        molecule-shape plant-part plant-process seed-of-tree dried-fruit""",
    "body and health": "organ-function body-count blood-cells vitamin-deficiency hormone-organ profession",
    "people and history": """scientist-theory inventor discoverer year-of-event explorer-voyage constitutional-amendment
        leader-of-movement disaster-cause""",
    "arts and tales": """mythology-role author-of-work painter-of-work composer-of-work instrument-part-count fictional-character
        fairy-tale sculptor-of-work""",
    "numbers and measures": """addition multiplication polygon-sides angle-measure square-root fraction prime-number roman-numeral
        mathematical-constant calendar-count calendar-order unit-conversion time-units number-word leap-year unit-of-quantity
        measuring-instrument computer-unit""",
    "language": "antonym irregular-plural irregular-past alphabet abbreviation word-class prefix-meaning computer-language",
    "daily life": """holiday-date tool-use food-ingredient team-size chess-rule traffic-rule sport-symbol religious-text
        religious-festival game-equipment""",
}
TOPIC_OF: Mapping[str, str] = {template: topic for topic, templates in _TOPICS.items() for template in templates.split()}
OTHER = "other"


def facts_by_topic(rows: Iterable[Mapping[str, Any]], probes: Sequence[Probe], seed: int = 0) -> dict[str, Any]:
    """Shares told right and mean leads, all together and by topic.

    Args:
        rows: the item rows "fact_correct" and "fact_margin" of `probes.probe_rows`.
        probes: those that were read; templates that no topic knows are "other".

    Returns:
        {"correct": share, "margin": {value, low, high} in nats, "topics": {topic: {"correct", "margin"}}}; intervals of 95%
        by fact. A bound that nothing can be said about is None.
    """
    rows = list(rows)
    topic = {probe.probe_id: TOPIC_OF.get(probe.stratum, OTHER) for probe in probes}
    correct, margin = lookup(rows, "fact_correct"), lookup(rows, "fact_margin")
    if not correct:
        raise ValueError("no fact probe was scored: evaluation.fact_items or the probe file is empty")
    items = sorted(correct)
    names, clusters = [topic.get(item, OTHER) for item in items], [correct[item][0] for item in items]
    values, leads = [correct[item][1] for item in items], [margin[item][1] for item in items]
    tables = by(names, values, clusters, seed)
    return {
        "correct": share(values, clusters, seed),
        "margin": _mean(leads, clusters, seed),
        "topics": {name: {"correct": table, "margin": _mean(*_of(name, names, leads, clusters), seed)} for name, table in tables.items()},
    }


def _of(name: str, names: Sequence[str], values: Sequence[float], clusters: Sequence[str]) -> tuple[list[float], list[str]]:
    places = [place for place, own in enumerate(names) if own == name]
    return [values[place] for place in places], [clusters[place] for place in places]


def _mean(values: Sequence[float], clusters: Sequence[str], seed: int) -> dict[str, float | None]:
    interval = bootstrap_interval(values, clusters, seed=seed)
    known = interval.clusters > 1
    return {"value": interval.mean, "low": interval.low if known else None, "high": interval.high if known else None}
