"""What a person reads before and after a run."""

import shlex
import shutil
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from timbre.cli.errors import OF_REFUSAL, WAITING
from timbre.cli.options import DEFAULT_MODEL

if TYPE_CHECKING:
    from rich.console import Console

    from timbre.config import ReleaseConfig
    from timbre.flows.release import Outcome
    from timbre.pipeline.plan import Plan
    from timbre.tasks.release import Released

_COLOURS = {"PASS": "green", "FAIL": "red", "INCONCLUSIVE": "yellow"}


def exit_code(config: "ReleaseConfig", released: "Released") -> int:
    """0 promoted or nothing to do, 2 passed under a policy that is not enough, 3 FAIL, 4 INCONCLUSIVE, 5 passed and waiting."""
    if released.verdict != "PASS" or released.refused:
        return OF_REFUSAL[released.verdict]
    waiting = config.publish.promotion == "manual" and released.champion != released.version and not released.promoted
    return WAITING if waiting else 0


def as_json(outcome: "Outcome") -> dict[str, Any]:
    """The outcome for programs: digests, gates, version, champion."""
    verdict = outcome.steps["verdict"].open()
    return {
        **outcome.released.model_dump(),
        "steps": {name: built.model_dump() for name, built in outcome.steps.items()},
        "gates": verdict.json("verdict.json")["gates"],
        "corpus": {name: outcome.steps["corpus"].open().json("counts.json")[name] for name in ("read", "kept", "rejected")},
        **({"sequence": outcome.steps["sequence"].open().json("admission.json")} if "sequence" in outcome.steps else {}),
        **places(outcome),
    }


def places(outcome: "Outcome") -> dict[str, str]:
    """Where to look; the page against the champion before only where there is one."""
    from timbre.tasks.latest import latest_folder

    style = str(outcome.steps["corpus"].open().manifest.config["style"])
    found = {
        "report": str(latest_folder(style) / "report.html"),
        "data": str(latest_folder(style) / "data.html"),
        "data_docs": str(latest_folder(style) / "data_docs" / "index.html"),
        "bundle": str(outcome.steps["bundle"].open().path),
    }
    return found | ({"compared": outcome.released.comparison} if outcome.released.comparison else {})


def print_plan(plan: "Plan", price: float | None = None) -> None:
    """The steps, which of them stand already, and what the others will take."""
    from rich.table import Table

    console, table = _console(), Table(box=None, pad_edge=False)
    for name, justify in (("step", "left"), ("state", "left"), ("planned", "right"), ("what", "left")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for item in plan.items:
        table.add_row(item.step, "cached" if item.cached else "to run", "" if item.cached else _duration(item.seconds), item.what)
    console.print(table)
    if plan.corpus is not None:
        console.print(corpus_line(plan.corpus), soft_wrap=True, markup=False)
    cost = f", {plan.cost(price):.2f} at {price:g} an hour" if price is not None else ""
    console.print(f"planned {_duration(plan.seconds)}, peak memory about {plan.memory_gib:.1f} GiB{cost}")
    console.print(f"{plan.numbers} (TIMBRE_DTYPE pins it)")
    for note in (*plan.warnings, *([plan.advice] if plan.advice else [])):
        console.print(f"note: {note}", markup=False)


def _duration(seconds: float) -> str:
    """Seconds up to half an hour, then minutes, from an hour on hours."""
    if seconds < 1800:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def print_summary(config: "ReleaseConfig", outcome: "Outcome", plan: "Plan") -> None:
    """Steps with planned and actual seconds, gates with intervals, who holds which alias, and where things are."""
    from rich.table import Table

    console = _console()
    steps = Table(box=None, pad_edge=False, title="Steps", title_justify="left", title_style="bold")
    for name, justify in (("step", "left"), ("digest", "left"), ("planned", "right"), ("actual", "right")):
        steps.add_column(name, justify=justify)  # type: ignore[arg-type]
    planned = {item.step: item for item in plan.items}
    for name, built in outcome.steps.items():
        actual = "cached" if built.cached else _duration(built.seconds)
        steps.add_row(name, built.digest[:12], "" if planned[name].cached else _duration(planned[name].seconds), actual)
    console.print(steps)

    run = [name for name, built in outcome.steps.items() if not built.cached]
    if run:
        expected = sum(planned[name].seconds for name in run)
        console.print(f"planned {_duration(expected)}, actual {_duration(sum(outcome.steps[name].seconds for name in run))}")

    console.print(corpus_line(outcome.steps["corpus"].open().json("counts.json")), highlight=False, soft_wrap=True)
    if "sequence" in outcome.steps:
        why = outcome.steps["sequence"].open().json("admission.json")["why"]
        console.print(f"sequence level: {why}", markup=False, highlight=False, soft_wrap=True)
    print_gates(outcome.steps["verdict"].open().json("verdict.json")["gates"])
    print_release(config, outcome)


def corpus_line(counts: Mapping[str, Any]) -> str:
    """How many documents the corpus read, kept and rejected, and for which reasons."""
    rejected = {reason.replace("_", " "): count for reason, count in counts["rejected"].items() if count}
    reasons = f" ({', '.join(f'{count} {reason}' for reason, count in rejected.items())})" if rejected else ""
    return f"corpus: {counts['read']} documents read, {counts['kept']} kept, {sum(rejected.values())} rejected{reasons}"


def print_gates(rows: Iterable[Mapping[str, Any]], words: Mapping[str, str] | None = None) -> None:
    """One line a gate: verdict, figure, one-sided bounds, what is asked, on how many items; then what did not pass, in words.

    Args:
        words: what verdicts are called where they are none on a release.
    """
    from rich.measure import Measurement
    from rich.table import Table

    console, shown = _console(), list(rows)
    lines = [_gate_row(gate, words or {}) for gate in shown]

    def table(columns: int) -> tuple[Table, int]:
        """With so many of the columns, and how wide it is if nothing is cut."""
        gates = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), title="\nGates", title_justify="left", title_style="bold")
        for name in ("gate", "says" if words else "verdict", "figure", "95% bounds", "required", "n")[:columns]:
            gates.add_column(name, justify="right" if name in ("figure", "n") else "left", no_wrap=True)
        for line in lines:
            gates.add_row(*line[:columns])
        return gates, Measurement.get(console, console.options.update(max_width=1000), gates).maximum

    gates, wide = table(6)
    if wide > console.width:  # the report and --json have how many items
        gates, wide = table(5)
    console.width = max(console.width, wide)  # the terminal may break a line; nothing of it is cut
    console.print(gates)
    console = _console()
    for gate in shown:
        if gate["verdict"] != "PASS":
            console.print(f"{gate['name']}: {gate['sentence']}", markup=False)


def _gate_row(gate: Mapping[str, Any], words: Mapping[str, str]) -> tuple[str, ...]:
    """A gate's verdict, figure, one-sided bounds, and what the policy asks, in the gate's unit."""
    scale = float(gate["scale"])

    def figure(name: str, digits: int = 3) -> str:
        if gate[name] is None:
            return ""
        value = scale * gate[name]
        return f"{value:.{digits if abs(value) >= 0.01 else digits - 1}g}"  # all of a row fits 80 columns

    required = {
        "superiority": "> 0",
        "non_inferiority": f"> -{figure('margin')}",
        "ceiling": f"<= {figure('limit')}",
        "floor": f">= {figure('limit')}",
    }.get(gate["kind"], "yes")
    bounds = f"{figure('low', 2)} … {figure('high', 2)}" if gate["low"] is not None else ""
    verdict = f"[{_COLOURS[gate['verdict']]}]{words.get(gate['verdict'], gate['verdict'])}[/]"
    return gate["name"], verdict, figure("value"), bounds, f"{required} {gate['unit']}".strip(), str(gate["n"] or "")


def print_release(config: "ReleaseConfig", outcome: "Outcome") -> None:
    """How it sounds, the verdict, two samples, which version holds which alias, where things are, and what to do next."""
    from timbre.cli.samples import print_samples, print_voice

    console, released = _console(), outcome.released
    base, tuned = (outcome.steps[name].open() for name in ("base_evaluation", "evaluation"))
    print_voice(console, base, tuned)
    console.print(f"[bold]Verdict[/]   [{_COLOURS[released.verdict]}]{released.verdict}[/] under policy {config.gate.policy}")
    if outcome.steps["adapter"].open().json("summary.json").get("kept_untrained"):
        console.print("training only harmed unseen text, so the untrained model was kept: lower training.learning_rate, or give more text")
    which = _which(config)
    champion = f"v{released.champion} is champion" if released.champion is not None else "there is no champion"
    match released:
        case _ if released.version is None:
            console.print(f"{released.model}: not registered; {champion}")
        case _ if released.promoted:
            console.print(f"{released.model}: v{released.version} registered and promoted; {champion}")
        case _ if released.verdict == "INCONCLUSIVE":
            console.print(f"{released.model}: v{released.version} is challenger, too few items to tell; {champion}")
        case _ if released.champion == released.version:
            console.print(f"{released.model}: nothing new; {champion}")
        case _:
            how = f"`{_by_hand(released, which)}` promotes it"
            console.print(f"{released.model}: v{released.version} stays as it is; {champion}. {released.refused or how}")
    print_samples(console, base, tuned)
    console.print()
    for name, path in places(outcome).items():
        console.print(f"{name:9} {path}", soft_wrap=True, highlight=False, markup=False)
    for line in next_steps(config, released):
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def next_steps(config: "ReleaseConfig", released: "Released") -> list[str]:
    """What to type next, the first thing first: read the page; hear the champion beside the base, or see why there is none."""
    which = _which(config)
    lines = [f"timbre open --style {config.style}"]
    if released.champion is not None:
        lines.insert(0, f'timbre generate{which} --beside base "It was"')
    if released.champion == released.version and released.champion is not None:
        lines.append(f"timbre serve{which}")
    elif released.verdict == "PASS" and released.version is not None and not released.promoted:
        lines.append(_by_hand(released, which))
    return [f"{'next' if place == 0 else '':9} {line}" for place, line in enumerate(lines)]


def _by_hand(released: "Released", which: str) -> str:
    return f"timbre approve {released.waits[:12]}" if released.waits else f"timbre promote {released.version}{which}"


def _which(config: "ReleaseConfig") -> str:
    """The options that name this style and model, as a shell reads them."""
    words = ["--style", config.style, *(["--model", config.model.name] if config.model.name != DEFAULT_MODEL else [])]
    return f" {shlex.join(words)}"


def _console() -> "Console":
    from rich.console import Console

    return Console(width=min(shutil.get_terminal_size((80, 24)).columns, 110), highlight=False)
