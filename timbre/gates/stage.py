"""The stage "verdict": one candidate, its evidence, one policy; what follows is a verdict, a page and a model card."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from timbre.artifacts import CRASHED, Artifact, FileInput, Input, Stage, Workspace, canonical_json
from timbre.config import GateConfig

if TYPE_CHECKING:
    from timbre.gates.policy import Policy
    from timbre.gates.verdict import Judgement

ARTIFACTS = ("candidate", "base", "bundle", "adapter", "target", "corpus")
BESIDE = ("misuse", "base_misuse")
"""What candidate and base answered to requests that they should not go along with, where they were asked: read as part of each."""
SHOWN = ("baseline", "baseline_adapter")
"""For the page only, where there are any: no gate reads them."""


def _build(config: GateConfig, inputs: Mapping[str, Input], workspace: Workspace) -> None:
    from timbre.gates.evidence import read_evidence
    from timbre.gates.policy import read_policy
    from timbre.gates.releases import measured_under_others
    from timbre.gates.report import write_report
    from timbre.gates.verdict import judge

    file = inputs["policy"]
    assert isinstance(file, FileInput)
    policy = read_policy(file.path)
    if policy.name != config.policy:
        raise ValueError(f"{file.path}: the policy {config.policy!r} was asked for, this one is {policy.name!r}")
    artifacts = {name: value for name in ARTIFACTS if isinstance(value := inputs[name], Artifact)}
    assert len(artifacts) == len(ARTIFACTS)
    artifacts |= {name: shown for name in (*BESIDE, *SHOWN) if isinstance(shown := inputs.get(name), Artifact)}
    evidence = read_evidence(artifacts)
    judgement = judge(evidence, policy)
    verdict = verdict_document(judgement, policy, file.digest, artifacts)
    text = json.dumps(verdict, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    (workspace.output / "verdict.json").write_text(text + "\n", encoding="utf-8")
    write_report(workspace.output, verdict, judgement, evidence, artifacts)
    if reason := measured_under_others(artifacts["candidate"], artifacts["base"]):
        # What is measured again may come out the same, with the same digest: the verdict must be asked for again all the same.
        (workspace.output / CRASHED).write_bytes(canonical_json({"failed": reason}))


def verdict_document(judgement: "Judgement", policy: "Policy", policy_digest: str, artifacts: Mapping[str, Artifact]) -> dict[str, Any]:
    """What `verdict.json` holds: the verdict, the policy, every gate, and the digests of what was judged."""
    subject = {name: artifacts[name].digest for name in ARTIFACTS}
    return {
        "verdict": judgement.verdict,
        "policy": {"name": policy.name, "strictness": policy.strictness, "summary": policy.summary, "digest": policy_digest},
        "gates": [gate.as_json() for gate in judgement.gates],
        "better": {"gates": list(judgement.better), "family": list(judgement.family), "family_wise_error": 0.05, "correction": "Holm"},
        "subject": subject | {"model": artifacts["adapter"].manifest.inputs.get("model", "")},
        "style": artifacts["corpus"].manifest.config.get("style", ""),
    }


STAGE: Stage[GateConfig] = Stage("verdict", 9, _build)
