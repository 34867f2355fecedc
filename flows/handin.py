"""Texts that a data team hands in.

    timbre handin essays/ --style essays --by "Data team" --author "A. Writer" --licence "own work"     the same, without Prefect

Started by hand, or by the event `timbre-corpus.arrived`. What is refused fails the run, whose page says what to fix.
"""

from pathlib import Path

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from timbre.corpus.adding import Request
from timbre.corpus.handins import HandIn
from timbre.page.render import cell
from timbre.tasks.handin import hand_in

_SHOWN = 100


@flow(name="handin", flow_run_name="handin-{style}", persist_result=False, timeout_seconds=6 * 3600)
def hand_in_corpus(path: Path, style: str, by: str, author: str, licence: str, consent: str = "", name: str = "") -> str:
    """Hold texts to the data contract and version them; the tag of the corpus in the data registry.

    Args:
        path: File or folder on the worker's machine.
        style: The style these texts are written in; made if it does not exist.
        by: Who hands them in.
        author: Who wrote them.
        licence: Under which terms they may be used.
        consent: How the author agreed that their manner is learnt.
        name: Name of the source; by default of style and file.

    Raises:
        ValueError: the contract does not hold; the page of the run says per document what to fix.
    """
    request = Request(path, style, author, licence, name or None, consent=consent or None)
    record = hand_in(request, style, by)
    create_markdown_artifact(_markdown(record), key=f"handin-{style}")
    if record.outcome == "refused":
        raise ValueError(f"refused: {len(record.findings)} findings, each with what to do, stand under Artifacts of this run")
    get_run_logger().info("%s: %s", record.outcome, record.revision)
    return record.revision


def _markdown(record: HandIn) -> str:
    rows = [f"| {cell(item.rule)} | {cell(item.document or 'all')} | {cell(item.found)} | {cell(item.fix)} |" for item in record.findings]
    head = f"**{record.outcome}** {record.revision}\n\n{record.read} documents read, {record.kept} kept; contract {record.contract}\n\n"
    if not rows:
        return head
    more = f"\n\n{len(rows) - _SHOWN} more in the history" if len(rows) > _SHOWN else ""
    return head + "| rule | document | found | what to do |\n|---|---|---|---|\n" + "\n".join(rows[:_SHOWN]) + more + "\n"
