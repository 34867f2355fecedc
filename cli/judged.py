"""What `timbre judge` prints, within 80 columns."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from timbre.judging.figures import Agreement, Figure, JudgeReport
    from timbre.judging.pairs import Paired


def print_judges(
    names: tuple[str, str], paired: "Paired", n_pairs: int, reports: "Sequence[JudgeReport]", agreed: "Agreement | None"
) -> None:
    """Every judge's figures, then whether they agree."""
    from timbre.judging.figures import NOTE

    _print_sides(names)
    left_out = [f"{count} texts of {side} without a partner" for side, count in zip("AB", paired.alone, strict=True) if count]
    left_out += [f"{paired.empty} pairs with an empty side"] if paired.empty else []
    _wrapped(f"{n_pairs} of {len(paired.pairs)} pairs, each in both orders" + (f"; left out: {', '.join(left_out)}" if left_out else ""))
    for report in reports:
        print(f"\n{report.judge}")
        _line("A preferred", report.win_rate, f"{report.wins} A, {report.ties} even, {report.losses} B")
        _line("2 × win rate", report.twice_win_rate, "1 is as often as B: best if B is human")
        _line("order decided", report.order_decided, f"first {report.first_place:.2f}, second {report.second_place:.2f} of pairs")
        _line("longer won", report.longer_preferred, "0.5 if length plays no part")
        if report.no_answer:
            reasons = ", ".join(f"{reason} {count}×" for reason, count in report.no_answer.items())
            _wrapped(f"no answer: {reasons}", "  ")
        for warning in report.warnings:
            _wrapped(f"warning: {warning}", "  ")
    print()
    if agreed is not None:
        _line("agreement", agreed.alpha, "Krippendorff's alpha")
        if agreed.same is not None:
            print(f"  all say the same about {agreed.same:.0%} of pairs")
    _wrapped(NOTE)


def print_ratings(report: Mapping[str, Any]) -> None:
    """Preferences and ratings of people."""
    _print_sides((report["names"]["A"], report["names"]["B"]))
    if "pairs" in report:
        study = report["pairs"]
        print(f"\nBlind test: {study['pairs']} pairs, A preferred (exact 95% interval, ties left out)")
        for rater, row in study["raters"].items():
            _preference(rater, row)
        if len(study["raters"]) > 1:
            _preference("most raters", study["majority"])
            _row("all, ties ½", study["win_rate"], "clustered by prompt")
            _row("agreement", study["agreement"], "Krippendorff's alpha")
        _row("2 × win rate", study["twice_win_rate"], "1 is as often as B: best if B is human")
        _preference("text 1 chosen", study["first_place"])
    if "form" in report:
        study = report["form"]
        print(f"\nForm: {study['texts']} texts, {len(study['raters'])} raters, 1 to 5")
        for scale, rows in study["scales"].items():
            for side in "AB":
                _row(f"{scale} {side}", rows[side])
            _row("  A − B", rows["difference"])
            _row("  agreement", rows["agreement"], "Krippendorff's alpha")
    print()
    _wrapped("Intervals are over texts: they hold for these raters, and a few raters do not speak for all.")


def _print_sides(names: tuple[str, str]) -> None:
    for side, name in zip("AB", names, strict=True):
        _wrapped(f"{side}  {name}")


def _preference(name: str, row: Mapping[str, Any]) -> None:
    share = "–" if row["share"] is None else f"{row['share']:.2f}"
    print(f"  {name[:16]:16} {share:>5} [{row['low']:.2f}, {row['high']:.2f}]  {row['wins']} to {row['losses']}, {row['ties']} ties")


def _row(name: str, row: Mapping[str, Any] | None, note: str = "") -> None:
    from timbre.judging.figures import Figure

    if row is not None:
        _line(name, Figure(**row), note)


def _line(name: str, figure: "Figure | None", note: str = "") -> None:
    if figure is None:
        print(f"  {name[:16]:16}     –  nothing can be said")
        return
    bounds = "[no interval]" if figure.low is None or figure.high is None else f"[{figure.low:.2f}, {figure.high:.2f}]"
    print(f"  {name[:16]:16} {figure.value:5.2f} {bounds:14} {note}".rstrip())


def _wrapped(text: str, indent: str = "") -> None:
    print(textwrap.fill(text, 80, initial_indent=indent, subsequent_indent=indent + "  "))
