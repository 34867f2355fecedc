"""One released version against another, on the same items, gates and page as a candidate against its base."""

from collections.abc import Mapping
from pathlib import Path

from timbre.artifacts import Artifact, FileInput
from timbre.gates.evidence import read_evidence
from timbre.gates.policy import read_policy
from timbre.gates.report import write_report
from timbre.gates.stage import verdict_document
from timbre.gates.verdict import Judgement, judge


def compare(artifacts: Mapping[str, Artifact], policy_file: FileInput, names: tuple[str, str], folder: Path) -> Judgement:
    """Judge the candidate against another version and write report.html and report.md into `folder`.

    Args:
        artifacts: those of the candidate, and as "base" the evaluation of the version it is compared with.
        names: what people call the candidate and that version: ("v3", "v2").

    Raises:
        ValueError: the policy is not one.
    """
    ours, rival = names
    policy = read_policy(policy_file.path)
    evidence = read_evidence(artifacts, rival)
    judgement = judge(evidence, policy)
    verdict = verdict_document(judgement, policy, policy_file.digest, artifacts)
    write_report(folder, verdict, judgement, evidence, artifacts, headline=f"{ours} compared with {rival}.", ours=ours)
    return judgement
