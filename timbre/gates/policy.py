"""Gate policies: what a candidate must show, written down before it is built (`mlflow/policies/*.toml`).

A gate compares one figure with one bound:

    superiority       paired difference to the base model, L > 0
    non_inferiority   paired difference to the base model, L > −margin
    ceiling, floor    one figure of the evidence, at most or at least `limit`
    equality          one figure of the evidence, exactly `equals`

Paired gates name a metric of `items.parquet` (with `families`, one of `<metric>_<family>` each, which must agree: the gate passes
if every family does); the others a figure as `<artifact>.<file>.<field>...`, for example
`bundle.parity.max_abs_logit_difference`, or `a / b` or `a - b` of two figures. Beside the files of the artifacts there are
`corpus.provenance` and `corpus.contract_check`, computed from the corpus (timbre.gates.corpus_evidence).
"""

import tomllib
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from timbre.config import Frozen

Kind = Literal["superiority", "non_inferiority", "ceiling", "floor", "equality"]
PAIRED: tuple[Kind, ...] = ("superiority", "non_inferiority")
_NEEDS: dict[Kind, str] = {"non_inferiority": "margin", "ceiling": "limit", "floor": "limit", "equality": "equals"}


class Gate(Frozen):
    """One requirement."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str = Field(min_length=1, description="What a person calls it.")
    kind: Kind
    metric: str = Field(min_length=1)
    why: str = Field(min_length=10, description="Why the bound is what it is.")
    direction: Literal["lower", "higher"] = Field("lower", description="Which way is better; for paired gates.")
    outcome: Literal["mean", "binary", "share"] = Field(
        "mean",
        description="binary: right or wrong an item, judged by Tango's bound; share: in [0, 1] an item, and mostly 0 or 1, judged with "
        "what a small set has not shown.",
    )
    families: tuple[str, ...] = Field((), description="Paired gates: the gate is judged by each `<metric>_<family>`, and all must agree.")
    champion_margin: float | None = Field(
        None, ge=0, allow_inf_nan=False,
        description="With families: at promotion, and beside another version, the candidate is not worse than that by more than this.",
    )  # fmt: skip
    weight: str | None = Field(None, description="Metric of `items.parquet` that divides and weighs each item: tokens of a passage.")
    margin: float | None = Field(None, ge=0, allow_inf_nan=False, description="δ of non_inferiority, in the metric's unit.")
    limit: float | None = Field(None, allow_inf_nan=False, description="Of ceiling and floor.")
    equals: bool | int | str | None = Field(None, description="Of equality.")
    over_base: bool = Field(False, description="Ceiling and floor of candidate − base instead of the candidate alone.")
    certify: bool = Field(
        False, description="Ceiling and floor of a rate: its one-sided 95% bound must keep the limit (fields low and high beside it)."
    )
    detail: str | None = Field(None, description="A sentence or figure of the evidence that is printed behind the gate's own.")
    count: str | None = Field(None, description="Of ceiling and floor: the figure that says how many items theirs is of.")
    minimum_items: int = Field(1, ge=1, description="Fewer items (paired ones, or those of `count`) cannot PASS.")
    minimum_clusters: int = Field(1, ge=1, description="Fewer documents, templates or facts cannot PASS.")
    unit: str = Field("", description="Printed after the figures.")
    scale: float = Field(1.0, gt=0, allow_inf_nan=False, description="Printed figures are multiplied by it: 100 for points.")

    @property
    def paired(self) -> bool:
        return self.kind in PAIRED

    @model_validator(mode="after")
    def _has_its_bound(self) -> Self:
        needed = _NEEDS.get(self.kind)
        for bound in ("margin", "limit", "equals"):
            given = getattr(self, bound) is not None
            if given != (bound == needed):
                raise ValueError(f"gate {self.name!r}: a {self.kind} gate {'needs' if bound == needed else 'takes no'} {bound!r}")
        if (self.families and not self.paired) or (self.champion_margin is not None and not self.families):
            raise ValueError(f"gate {self.name!r}: families belong to paired gates, and champion_margin to gates with families")
        if len(set(self.families)) < len(self.families) or len(self.families) == 1:
            raise ValueError(f"gate {self.name!r}: families are two or more that must agree, each named once")
        if self.weight and self.outcome != "mean":
            raise ValueError(f"gate {self.name!r}: weight belongs to the outcome 'mean'")
        if not self.paired and (self.weight or self.outcome != "mean"):
            raise ValueError(f"gate {self.name!r}: weight and outcome belong to paired gates")
        if self.over_base and self.kind not in ("ceiling", "floor"):
            raise ValueError(f"gate {self.name!r}: over_base belongs to ceiling and floor gates")
        if self.certify and (self.kind not in ("ceiling", "floor") or self.over_base or " " in self.metric):
            raise ValueError(f"gate {self.name!r}: certify belongs to ceiling and floor gates of one rate of the candidate")
        if (self.count is not None) != (self.kind in ("ceiling", "floor") and self.minimum_items > 1):
            raise ValueError(
                f"gate {self.name!r}: a ceiling or floor gate that needs minimum_items says by `count` what of, and only those"
            )
        if self.detail is not None and self.paired:
            raise ValueError(f"gate {self.name!r}: detail belongs to gates of one figure")
        return self

    def at_least_as_strict_as(self, other: "Gate") -> bool:
        """Whether passing this gate implies at least what passing `other` does."""
        same = (self.kind, self.metric, self.weight, self.direction, self.outcome, self.over_base) == (
            other.kind, other.metric, other.weight, other.direction, other.outcome, other.over_base,
        )  # fmt: skip
        if (
            not same
            or not set(other.families) <= set(self.families)
            or _larger(self.champion_margin, other.champion_margin)
            or (other.certify and not self.certify)
            or self.minimum_items < other.minimum_items
            or self.minimum_clusters < other.minimum_clusters
        ):
            return False
        match self.kind:
            case "non_inferiority":
                return (self.margin or 0.0) <= (other.margin or 0.0)
            case "ceiling":
                return (self.limit or 0.0) <= (other.limit or 0.0)
            case "floor":
                return (self.limit or 0.0) >= (other.limit or 0.0)
            case "equality":
                return self.equals == other.equals
            case "superiority":
                return True


def _larger(own: float | None, other: float | None) -> bool:
    """Whether a margin asks for less than another; none at all asks for nothing."""
    return other is not None and (own is None or own > other)


class Policy(Frozen):
    """A named list of gates; all must PASS. A higher `strictness` outranks a lower one at promotion."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    strictness: int = Field(ge=1)
    summary: str = Field(min_length=10)
    gates: tuple[Gate, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [gate.name for gate in self.gates]
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"policy {self.name!r}: two gates are called {', '.join(sorted(repeated))}")
        return self

    def weaker_gates(self, other: "Policy") -> list[str]:
        """Gates of `other` that this policy lacks or holds to a weaker bound; empty means it is at least as strict."""
        own = {gate.name: gate for gate in self.gates}
        return [gate.name for gate in other.gates if gate.name not in own or not own[gate.name].at_least_as_strict_as(gate)]


def read_policy(path: Path) -> Policy:
    """The policy in a TOML file, whose name is its own.

    Raises:
        ValueError: not readable, not TOML, or not a policy; the sentence names file and field.
    """
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{path}: not a readable policy ({error})") from error
    try:
        policy = Policy.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{path}: {'.'.join(str(part) for part in first['loc']) or 'policy'}: {first['msg']}") from error
    if policy.name != path.stem:
        raise ValueError(f"{path}: it calls itself {policy.name!r}; file name and policy name must be the same")
    return policy
