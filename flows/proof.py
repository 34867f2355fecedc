"""The proof in pieces: cells that are missing, for some minutes at a time.

make proof     the same, without Prefect and to the end
"""

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact

from timbre.page.render import cell
from timbre.tasks.proof import prove_for


@flow(name="proof", flow_run_name="proof", persist_result=False)
def prove(minutes: float = 60.0, large: bool = False) -> int:
    """Run cells of the proof that are missing; how many of the CPU size still are.

    Args:
        minutes: No cell is begun after so many.
        large: The large size and the ablations instead, for a GPU.

    Raises:
        ValueError: the benchmarks are not on this machine, or a cell went wrong.
    """
    found = prove_for(minutes, large=large)
    rows = "\n".join(f"| {name} | {cell(row['answer'])} |" for name, row in found["rows"].items())
    create_markdown_artifact(
        f"{found['cells']} cells, {len(found['missing'])} missing\n\n| style | says |\n|---|---|\n{rows}\n", key="proof"
    )
    get_run_logger().info("%d cells, %d missing", found["cells"], len(found["missing"]))
    return len(found["missing"])
