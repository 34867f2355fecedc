"""Who is champion: by evidence, once, and reversibly."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from timbre.artifacts import Artifact, ArtifactStore, Input, IntegrityError, Stage, Workspace, sha256_file
from timbre.config import Frozen
from timbre.progress import SILENT
from timbre.registry.ledger import CompareAndSetLost, Ledger
from timbre.registry.ports import Version, model_name
from timbre.registry.promotion import PromotionRefused, gone, promote, publish, repair, rollback
from timbre.settings import settings

MODEL = "timbre-literary"
Gate = Mapping[str, Any]


@dataclass
class MemoryRegistry:
    """A registry in memory that can be told to die before an alias moves."""

    items: list[Version] = field(default_factory=list)
    holders: dict[str, int] = field(default_factory=dict)
    dies: bool = False
    kept: dict[str, Path] = field(default_factory=dict)

    def versions(self, model: str) -> list[Version]:
        return [
            replace(item, aliases=tuple(alias for alias, number in self.holders.items() if number == item.number)) for item in self.items
        ]

    def register(self, model: str, bundle: Path, tags: Mapping[str, str]) -> Version:
        self.items.append(Version(model, len(self.items) + 1, tags))
        return self.items[-1]

    def set_alias(self, model: str, alias: str, number: int) -> None:
        if self.dies and alias != "challenger":
            raise ConnectionError("the registry is gone")
        self.holders[alias] = number

    def delete_alias(self, model: str, alias: str) -> None:
        self.holders.pop(alias, None)

    def download(self, version: Version, folder: Path) -> Path:
        if version.bundle not in self.kept:
            raise ValueError(f"no bundle of v{version.number} is kept here")
        return self.kept[version.bundle]


class Say(Frozen):
    text: str
    name: str


def _write(config: Say, inputs: Mapping[str, Input], work: Workspace) -> None:
    (work.output / config.name).write_text(config.text)


@dataclass
class House:
    store: ArtifactStore
    ledger: Ledger
    registry: MemoryRegistry

    def bundle(self, name: str) -> Artifact:
        return self.store.build(Stage("bundle", 1, _write), Say(text=name, name="model.onnx"), {})

    def verdict(
        self, bundle: Artifact, outcome: str = "PASS", strictness: int = 1, wording: str | None = None, gates: Sequence[Gate] = ()
    ) -> Artifact:
        """`wording`: digest of the policy file; that of the file in force unless given."""
        name = "quick" if strictness == 1 else "standard"
        digest = wording or sha256_file(settings().root / "mlflow" / "policies" / f"{name}.toml")
        text = json.dumps(
            {
                "verdict": outcome,
                "policy": {"name": name, "strictness": strictness, "digest": digest},
                "subject": {"bundle": bundle.digest, "candidate": "c", "base": "b"},
                "gates": [{"name": "held_out_nll", "kind": "superiority", "metric": "nll", "verdict": outcome}, *gates],
            }
        )
        return self.store.build(Stage("verdict", 1, _write), Say(text=text, name="verdict.json"), {})

    def publish(self, name: str, outcome: str = "PASS", strictness: int = 1, promotion: str = "auto"):  # type: ignore[no-untyped-def]
        bundle = self.bundle(name)
        verdict = self.verdict(bundle, outcome, strictness)
        return publish(MODEL, bundle, verdict, {}, self.registry, self.ledger, self.store, promotion=promotion, reason="test")


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}")
    yield House(ArtifactStore(tmp_path / "home", SILENT), ledger, MemoryRegistry())
    ledger.close()


def test_first_pass_becomes_champion_and_loses_the_challenger_alias(house: House) -> None:
    version, transition = house.publish("a")
    assert (version.number, transition.version) == (1, 1)
    assert house.registry.holders == {"champion": 1}


def test_second_pass_makes_the_old_champion_previous(house: House) -> None:
    house.publish("a")
    house.publish("b")
    assert house.registry.holders == {"champion": 2, "previous": 1}


def test_the_same_verdict_twice_makes_no_second_version_or_row(house: House) -> None:
    house.publish("a")
    _, transition = house.publish("a")
    assert transition is None
    assert (len(house.registry.items), len(house.ledger.transitions())) == (1, 1)


def test_a_fail_is_not_registered(house: House) -> None:
    assert house.publish("a", "FAIL") == (None, None)
    assert house.registry.items == []


def test_inconclusive_waits_as_challenger_and_cannot_be_promoted(house: House) -> None:
    house.publish("a")
    version, transition = house.publish("b", "INCONCLUSIVE")
    assert transition is None
    assert house.registry.holders == {"champion": 1, "challenger": 2}
    with pytest.raises(PromotionRefused, match="INCONCLUSIVE"):
        promote(version, house.registry, house.ledger, house.store, reason="please")


def test_promotion_refuses_evidence_about_another_bundle(house: House) -> None:
    other = house.verdict(house.bundle("other"))
    version = house.registry.register(MODEL, Path(), {"timbre.bundle": house.bundle("mine").digest, "timbre.verdict": other.digest})
    with pytest.raises(PromotionRefused, match="another bundle"):
        promote(version, house.registry, house.ledger, house.store, reason="x")


def test_a_policy_edited_after_the_verdict_promotes_nothing(house: House) -> None:
    bundle = house.bundle("a")
    verdict = house.verdict(bundle, wording="0" * 64)
    with pytest.raises(PromotionRefused, match="edited after this verdict"):
        publish(MODEL, bundle, verdict, {}, house.registry, house.ledger, house.store, promotion="auto", reason="test")
    assert "champion" not in house.registry.holders


@pytest.mark.parametrize("outcome", ["FAIL", "INCONCLUSIVE"])
def test_what_did_not_pass_does_not_pass_by_rewording_the_policy(house: House, outcome: str) -> None:
    """The margin is widened once the figures are known: the new verdict says PASS and is not promoted."""
    house.verdict(house.bundle("a"), outcome, wording="0" * 64)
    with pytest.raises(PromotionRefused, match=f"was {outcome} under an earlier wording"):
        house.publish("a")
    house.publish("b")
    assert house.registry.holders["champion"] == 2, "another candidate is judged by the new wording as by any other"


@pytest.mark.parametrize("outcome", ["FAIL", "INCONCLUSIVE"])
def test_a_policy_reworded_on_another_machine_rescues_nobody(house: House, outcome: str, tmp_path: Path) -> None:
    """Judged there under one wording, here under another: the ledger is what both share."""
    elsewhere = House(ArtifactStore(tmp_path / "elsewhere", SILENT), house.ledger, MemoryRegistry())
    bundle = elsewhere.bundle("a")
    failed = elsewhere.verdict(bundle, outcome, wording="0" * 64)
    rest = {"registry": elsewhere.registry, "ledger": house.ledger, "store": elsewhere.store, "promotion": "auto", "reason": "test"}
    publish(MODEL, bundle, failed, {}, **rest)  # type: ignore[arg-type]
    with pytest.raises(PromotionRefused, match=f"was {outcome} under an earlier wording") as refusal:
        house.publish("a")
    assert refusal.value.outcome == "PASS" and "champion" not in house.registry.holders
    assert [judged.outcome for judged, _ in house.ledger.verdicts(MODEL)] == [outcome, "PASS"]
    house.publish("b")
    assert house.registry.holders["champion"] == 2, "another candidate is judged by the new wording as by any other"


def test_a_pass_that_was_reached_first_is_not_taken_away_by_a_later_wording(house: House) -> None:
    version, _ = house.publish("a", promotion="manual")
    house.ledger.record(replace(house.ledger.verdicts()[0][0], verdict="later", outcome="FAIL", wording="0" * 64))
    assert promote(version, house.registry, house.ledger, house.store, reason="x").version == 1


def test_every_verdict_that_is_published_is_in_the_ledger_once(house: House) -> None:
    for name, outcome in (("a", "PASS"), ("b", "FAIL"), ("c", "INCONCLUSIVE"), ("b", "FAIL")):
        house.publish(name, outcome)
    assert [judged.outcome for judged, _ in house.ledger.verdicts()] == ["PASS", "FAIL", "INCONCLUSIVE"]


def test_a_policy_that_only_became_stricter_takes_nothing_away(house: House) -> None:
    house.verdict(house.bundle("a"), "PASS", wording="0" * 64)
    house.publish("a")
    assert house.registry.holders == {"champion": 1}


def test_promotion_refuses_damaged_evidence(house: House) -> None:
    version, _ = house.publish("a", promotion="manual")
    (house.store.home / "artifacts" / "verdict" / version.verdict / "verdict.json").write_text("{}")
    with pytest.raises(IntegrityError, match=r"verdict\.json"):
        promote(version, house.registry, house.ledger, house.store, reason="x")


def test_manual_promotion_waits_then_works(house: House) -> None:
    version, transition = house.publish("a", promotion="manual")
    assert transition is None
    assert house.registry.holders == {"challenger": 1}
    promote(version, house.registry, house.ledger, house.store, reason="looked at it")
    assert house.registry.holders == {"champion": 1}


def test_a_weaker_policy_cannot_replace_a_champion_of_a_stricter_one(house: House) -> None:
    house.publish("a", strictness=2)
    with pytest.raises(PromotionRefused, match="stricter"):
        house.publish("b", strictness=1)
    assert house.registry.holders == {"champion": 1, "challenger": 2}


def test_rollback_swaps_and_swaps_back(house: House) -> None:
    house.publish("a")
    house.publish("b")
    rollback(MODEL, house.registry, house.ledger, house.store, reason="bad smell")
    assert house.registry.holders == {"champion": 1, "previous": 2}
    rollback(MODEL, house.registry, house.ledger, house.store, reason="false alarm")
    assert house.registry.holders == {"champion": 2, "previous": 1}
    assert [transition.kind for transition in house.ledger.transitions(MODEL)] == ["promote", "promote", "rollback", "rollback"]


def test_a_cached_run_after_a_rollback_does_not_promote_again(house: House) -> None:
    house.publish("a")
    house.publish("b")
    rollback(MODEL, house.registry, house.ledger, house.store, reason="bad smell")
    house.publish("b")
    assert house.registry.holders["champion"] == 1


def test_rollback_without_previous_says_so(house: House) -> None:
    house.publish("a")
    with pytest.raises(ValueError, match="no previous champion"):
        rollback(MODEL, house.registry, house.ledger, house.store, reason="x")


def test_a_rollback_to_a_weaker_policy_lowers_nothing_that_is_asked(house: House) -> None:
    house.publish("a", strictness=1)
    house.publish("b", strictness=2)
    rollback(MODEL, house.registry, house.ledger, house.store, reason="bad smell")
    with pytest.raises(PromotionRefused, match=r"v2 was certified under the stricter 'standard', and a rollback does not lower") as refusal:
        house.publish("c", strictness=1)
    assert refusal.value.outcome == "PASS", "no gate failed"
    assert house.registry.holders == {"champion": 1, "previous": 2, "challenger": 3}


CEILING = {"name": "memorisation", "kind": "ceiling", "metric": "longest", "verdict": "PASS", "limit": 49}


@pytest.mark.parametrize(
    ("gates", "weaker"),
    [
        ([], True),
        ([CEILING | {"limit": 60}], True),
        ([CEILING | {"metric": "something easier"}], True),
        ([CEILING], False),
        ([CEILING | {"limit": 39}], False),
    ],
)
def test_the_same_rank_does_not_hide_a_weaker_gate(house: House, gates: list[Gate], weaker: bool) -> None:
    """The champion's policy was edited afterwards: what its verdict says of its gates is what must be shown again."""
    first, second = house.bundle("a"), house.bundle("b")
    rest = {"model": MODEL, "registry": house.registry, "ledger": house.ledger, "store": house.store, "promotion": "auto", "reason": "test"}
    champion = house.verdict(first, gates=[CEILING])
    publish(bundle=first, verdict=champion, lineage={}, **rest)  # type: ignore[arg-type]
    path = house.store.home / "artifacts" / "verdict" / champion.digest
    reworded = house.verdict(first, wording="0" * 64, gates=[CEILING])
    path.rename(path.with_name("aside"))
    reworded.path.rename(path)  # the champion's verdict as it would stand had the policy been worded otherwise
    house.store.open = lambda stage, digest: Artifact(path if digest == champion.digest else path.with_name(digest), reworded.manifest)  # type: ignore[method-assign]
    candidate = house.verdict(second, gates=gates)
    if weaker:
        with pytest.raises(PromotionRefused, match=r"now asks for less than the one that certified v1 \(memorisation\)"):
            publish(bundle=second, verdict=candidate, lineage={}, **rest)  # type: ignore[arg-type]
    else:
        publish(bundle=second, verdict=candidate, lineage={}, **rest)  # type: ignore[arg-type]
    assert house.registry.holders["champion"] == (1 if weaker else 2)


@pytest.mark.parametrize("lost", ["verdict", "bundle"])
@pytest.mark.parametrize("how", ["damaged", "absent"])
def test_rollback_returns_only_to_what_still_opens(house: House, lost: str, how: str) -> None:
    first, _ = house.publish("a")
    house.publish("b")
    digest = first.verdict if lost == "verdict" else first.bundle
    folder = house.store.home / "artifacts" / lost / digest
    if how == "damaged":
        next(file for file in sorted(folder.iterdir()) if file.name != "manifest.json").write_text("something else")
    else:
        folder.rename(folder.with_name("elsewhere"))
    with pytest.raises(IntegrityError if how == "damaged" else ValueError, match=r"v1, the champion before.*nothing was rolled back"):
        rollback(MODEL, house.registry, house.ledger, house.store, reason="x")
    assert [transition.version for transition in house.ledger.transitions(MODEL)] == [1, 2] and house.registry.holders["champion"] == 2


def test_rollback_takes_the_bundle_from_the_registry_where_it_is_only_there(house: House, tmp_path: Path) -> None:
    first, _ = house.publish("a")
    second, _ = house.publish("b")
    folder = house.store.home / "artifacts" / "bundle" / first.bundle
    house.registry.kept[first.bundle] = folder.rename(tmp_path / "kept")
    rollback(MODEL, house.registry, house.ledger, house.store, reason="x")
    assert house.registry.holders["champion"] == 1
    other = house.store.home / "artifacts" / "bundle" / second.bundle
    other.rename(tmp_path / "other")
    house.registry.kept[second.bundle] = tmp_path / "kept"
    with pytest.raises(IntegrityError, match="the registry holds bundle"):
        rollback(MODEL, house.registry, house.ledger, house.store, reason="x")


def test_rollback_to_a_version_that_is_gone_moves_nothing(house: House) -> None:
    house.publish("a")
    house.publish("b")
    del house.registry.items[0]
    with pytest.raises(ValueError, match=r"v1, the champion before, is gone .* nothing was rolled back"):
        rollback(MODEL, house.registry, house.ledger, house.store, reason="x")
    assert [transition.version for transition in house.ledger.transitions(MODEL)] == [1, 2]
    assert house.registry.holders["champion"] == 2
    repair(MODEL, house.registry, house.ledger)
    assert gone(MODEL, house.registry, house.ledger) == [
        "timbre-literary v1 is previous in the ledger but gone from the registry: no rollback"
    ]


def test_two_promoters_that_saw_the_same_champion_cannot_both_win(house: House) -> None:
    house.publish("a")
    seen = house.ledger.latest(MODEL)
    facts = {"model": MODEL, "kind": "promote", "verdict": "v", "policy": "quick", "strictness": 1, "reason": "race"}
    house.ledger.append(seen, version=2, **facts)  # type: ignore[arg-type]
    with pytest.raises(CompareAndSetLost):
        house.ledger.append(seen, version=3, **facts)  # type: ignore[arg-type]
    assert [transition.version for transition in house.ledger.transitions(MODEL)] == [1, 2]


def test_aliases_that_did_not_follow_are_repaired_from_the_ledger(house: House) -> None:
    house.publish("a")
    house.registry.dies = True
    with pytest.raises(ConnectionError):
        house.publish("b")
    latest = house.ledger.latest(MODEL)
    assert latest is not None
    assert (latest.version, latest.applied, house.registry.holders["champion"]) == (2, False, 1)
    house.registry.dies = False
    repair(MODEL, house.registry, house.ledger)
    assert house.registry.holders == {"champion": 2, "previous": 1}


def test_a_fail_after_a_crash_heals_the_aliases_all_the_same(house: House) -> None:
    house.publish("a")
    house.registry.dies = True
    with pytest.raises(ConnectionError):
        house.publish("b")
    house.registry.dies = False
    assert house.publish("c", "FAIL") == (None, None)
    assert house.registry.holders == {"champion": 2, "previous": 1}


def test_an_alias_set_late_by_the_slower_of_two_is_set_right_again(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """While this process repairs after move 1, another one makes move 2 and sets its aliases first."""
    house.publish("a")
    house.publish("b")
    house.registry.holders = {}
    transitions, plain = house.ledger.transitions(MODEL), house.ledger.latest
    answers = [transitions[0]]
    monkeypatch.setattr(house.ledger, "latest", lambda model: answers.pop() if answers else plain(model))
    repair(MODEL, house.registry, house.ledger)
    assert house.registry.holders == {"champion": 2, "previous": 1}


def test_the_ledger_is_written_before_any_alias_moves(house: House) -> None:
    house.registry.dies = True
    with pytest.raises(ConnectionError):
        house.publish("a")
    assert [transition.version for transition in house.ledger.transitions(MODEL)] == [1]


@pytest.mark.parametrize(("base", "name"), [(None, "timbre-literary"), ("some--qwen-0.5b", "timbre-literary--some--qwen-0.5b")])
def test_model_names_tell_the_base_apart(base: str | None, name: str) -> None:
    assert model_name("literary", base) == name
