"""One released version against another, on the same items, gates and page as a candidate against its base."""

from collections.abc import Mapping
from pathlib import Path

from timbre.artifacts import Artifact, FileInput
from timbre.gates.evidence import read_evidence
from timbre.gates.policy import read_policy
from timbre.gates.report import write_report
from timbre.gates.verdict import Judgement, judge

COMPARED = ("candidate", "base", "bundle", "adapter", "target", "corpus")


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
    subject = {name: artifacts[name].digest for name in COMPARED}
    verdict = {
        "verdict": judgement.verdict,
        "policy": {"name": policy.name, "strictness": policy.strictness, "summary": policy.summary, "digest": policy_file.digest},
        "subject": subject | {"model": artifacts["adapter"].manifest.inputs.get("model", "")},
        "style": artifacts["corpus"].manifest.config.get("style", ""),
    }
    write_report(folder, verdict, judgement, evidence, artifacts, headline=f"{ours} compared with {rival}.")
    return judgement
