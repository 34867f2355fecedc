"""A challenger in serving, over real sockets and a real registry: its share, its shadow, and the way back from what breaks."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.unit.conftest import EXPORT
from tests.unit.serving.conftest import MODEL, Running, serving
from tests.unit.serving.test_serving_command import until
from timbre.artifacts import Artifact, ArtifactStore, canonical_json, json_lines, sha256_file
from timbre.config import EvaluationConfig, GateConfig
from timbre.registry.ledger import Ledger, Transition
from timbre.registry.trials import Trial
from timbre.serving.challengers import in_share
from timbre.serving.engine import Engine
from timbre.settings import PROJECT_ROOT, Settings

PROMPT = "Beyond the grey water, the old"
BROKEN = 3


@dataclass
class Home:
    """A home whose registry has versions 1 (champion), 2 (writes otherwise) and 3 (verified, and breaks off on most prompts)."""

    home: Path
    bundles: dict[int, Artifact]
    verdicts: dict[int, str]

    @property
    def ledger(self) -> Ledger:
        return Ledger(f"sqlite:///{self.home / 'ledger.db'}")

    def trial(self, version: int, share: float, *, shadow: bool = False) -> Trial:
        """What `timbre canary start` writes."""
        with closing(self.ledger) as ledger:
            trials, champion = ledger.trials(MODEL), ledger.latest(MODEL)
            assert champion is not None
            return ledger.add_trial(
                trials[-1] if trials else None, model=MODEL, event="begin", version=version, bundle=self.bundles[version].digest,
                move=champion.sequence, reason="test", share=share, shadow=shadow, seed=5,
            )  # fmt: skip

    def promote(self, version: int) -> None:
        with closing(self.ledger) as ledger:
            ledger.append(
                ledger.latest(MODEL), model=MODEL, kind="promote", version=version, verdict=self.verdicts[version], policy="quick",
                strictness=10, reason="test",
            )  # fmt: skip

    def latest(self) -> Transition:
        with closing(self.ledger) as ledger:
            found = ledger.latest(MODEL)
        assert found is not None
        return found

    def trials(self) -> list[Trial]:
        with closing(self.ledger) as ledger:
            return ledger.trials(MODEL)


def breaking(bundle: Artifact, store: ArtifactStore, make: Callable[..., Artifact], folder: Path) -> Artifact:
    """The same bundle with a graph whose embedding knows the first 40 tokens only: it loads, writes a first token, and breaks on others."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(bundle.file("model.onnx")))
    known = {tensor.name: tensor for tensor in graph.graph.initializer}
    gather = next(node for node in graph.graph.node if node.op_type == "Gather" and len(known.get(node.input[0], graph).dims or ()) == 2)
    cut = numpy_helper.from_array(numpy_helper.to_array(known[gather.input[0]])[:40].copy(), "cut_embedding")
    graph.graph.initializer.append(cut)
    gather.input[0] = "cut_embedding"
    onnx.save(graph, str(folder / "model.onnx"))

    def write(out: Path) -> None:
        for name in bundle.manifest.files:
            if not name.startswith(("model.onnx", "serving.onnx")):
                (out / name).write_bytes(bundle.file(name).read_bytes())
        (out / "bundle.json").write_bytes(canonical_json(bundle.json("bundle.json") | {"serving": None}))
        (out / "model.onnx").write_bytes((folder / "model.onnx").read_bytes())

    return make(store, "bundle", EXPORT.model_copy(update={"parity_prompts": 3}), write)


@pytest.fixture(scope="module")
def broken_bundle(
    tiny_store: ArtifactStore, tiny_bundle: Artifact, make_artifact: Callable[..., Artifact], tmp_path_factory: pytest.TempPathFactory
) -> Artifact:
    return breaking(tiny_bundle, tiny_store, make_artifact, tmp_path_factory.mktemp("broken"))


@pytest.fixture(scope="module")
def place(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_bundle: Artifact,
    other_bundle: Artifact,
    broken_bundle: Artifact,
    make_artifact: Callable[..., Artifact],
) -> Home:
    """The "human" texts of the release are the champion's own, so that it is near them and version 2 is not."""
    from timbre.tasks.stores.mlflow import MlflowStore

    home = tmp_path_factory.mktemp("canary")
    store = ArtifactStore(home)
    bundles = {1: tiny_bundle, 2: other_bundle, BROKEN: broken_bundle}
    engine = Engine.open(tiny_bundle.path)
    rows = [
        {"prompt_id": str(n), "kind": "style", "human": "".join(engine.stream(PROMPT, max_new_tokens=100, seed=n))} for n in range(60)
    ]  # fmt: skip
    generations = make_artifact(
        store, "generations", EvaluationConfig(), lambda out: (out / "generations.jsonl").write_bytes(json_lines(rows)) and None
    )
    evaluation = store.build(_stage("evaluation"), EvaluationConfig(), {"generations": generations})
    registry = MlflowStore.open(Settings(home=home))
    policy = sha256_file(PROJECT_ROOT / "mlflow" / "policies" / "quick.toml")
    made = Home(home, bundles, {})
    for number, bundle in bundles.items():
        store.adopt(bundle.path)
        subject = {"bundle": bundle.digest, "candidate": evaluation.digest, "base": "b"}
        rule = {"name": "quick", "strictness": 10, "digest": policy}
        verdict = {"verdict": "PASS", "policy": rule, "subject": subject, "gates": [], "n": number}
        text = canonical_json(verdict)
        artifact = make_artifact(
            store, "verdict", GateConfig(policy=f"v{number}"), lambda out, text=text: (out / "verdict.json").write_bytes(text) and None
        )
        made.verdicts[number] = artifact.digest
        run = registry.run_for(f"k{number}", "literary", f"run {number}", {})
        tags = {"timbre.run": run, "timbre.verdict": artifact.digest, "timbre.bundle": bundle.digest}
        assert registry.register(MODEL, bundle.path, tags).number == number
    made.promote(1)
    return made


def _stage(name: str) -> Any:
    from timbre.artifacts import Stage

    return Stage(name, 1, lambda config, inputs, work: (work.output / "summary.json").write_text("{}") and None)


@pytest.fixture
def home(place: Home) -> Iterator[Home]:
    """Version 1 is champion, whatever a test before left."""
    if place.latest().version != 1:
        place.promote(1)
    yield place


def version(server: Running, client: str, **more: Any) -> int:
    answer = httpx.post(
        server.address + "/v1/completions", json={"prompt": PROMPT, "max_tokens": 40} | more, headers={"x-timbre-client": client},
        timeout=120, trust_env=False,
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert answer.headers["x-timbre-version"] == str(body["timbre"]["version"])
    return int(body["timbre"]["version"])


def on_trial(server: Running, number: int) -> Callable[[], bool]:
    return lambda: server.get("/ready").json()["trials"].get("literary", {}).get("version") == number


def test_a_canary_answers_its_share_sticks_to_clients_and_two_servers_agree(home: Home) -> None:
    trial = home.trial(2, 0.3)
    clients = [f"reader {number}" for number in range(60)]
    expected = {client: 2 if in_share(trial, f"client {client}") else 1 for client in clients}
    assert 8 <= sum(number == 2 for number in expected.values()) <= 30  # binomial: 18, four standard deviations
    engines = {number: Engine.open(home.bundles[number].path) for number in (1, 2)}
    with serving(home.home) as one, serving(home.home) as two:
        for server in (one, two):
            until(on_trial(server, 2))
        with ThreadPoolExecutor(8) as pool:
            told = list(pool.map(lambda pair: version(pair[0], pair[1]), [(server, client) for client in clients for server in (one, two)]))
        assert told == [expected[client] for client in clients for _ in range(2)]
        by_user = one.text(PROMPT, max_tokens=20, seed=3, user=next(client for client in clients if expected[client] == 2))
        assert by_user["choices"][0]["text"] == "".join(engines[2].stream(PROMPT, max_new_tokens=20, seed=3))  # nothing is mixed
        until(lambda: 'role="challenger"' in one.get("/metrics").text)
        with closing(home.ledger) as ledger:
            ledger.add_trial(trial, model=MODEL, event="end", version=2, bundle=trial.bundle, move=trial.move, reason="test")
        until(lambda: not one.get("/ready").json()["trials"])
        assert {version(one, client) for client in clients[:10]} == {1}


def test_a_shadow_is_measured_and_never_returned(home: Home) -> None:
    trial = home.trial(2, 1.0, shadow=True)
    with serving(home.home) as server:
        until(on_trial(server, 2))
        assert {version(server, f"reader {number}") for number in range(12)} == {1}
        until(lambda: f'timbre_watched_texts{{model="{MODEL}",role="shadow",version="2"}} 12.0' in server.get("/metrics").text)
    with closing(home.ledger) as ledger:
        ledger.add_trial(trial, model=MODEL, event="end", version=2, bundle=trial.bundle, move=trial.move, reason="test")


def test_a_challenger_that_breaks_is_taken_off_and_every_request_is_answered(home: Home) -> None:
    home.trial(BROKEN, 1.0)
    with serving(home.home) as server:
        until(on_trial(server, BROKEN))
        assert {version(server, f"reader {number}") for number in range(8)} == {1}
        until(lambda: home.trials()[-1].event == "end")
        ended = home.trials()[-1]
        assert "broke off" in ended.reason and ended.evidence["findings"][0]["verdict"] == "FAIL"
        until(lambda: not server.get("/ready").json()["trials"])
    assert home.latest().version == 1


def streamed(server: Running, prompt: str | list[int], seed: int) -> tuple[set[int], list[str]]:
    """The versions that a stream names, and what its last events are: `error`, `[DONE]` or `text`."""
    body = {"prompt": prompt, "max_tokens": 20, "seed": seed, "stream": True, "user": f"reader {seed}"}
    with httpx.stream("POST", server.address + "/v1/completions", json=body, timeout=60, trust_env=False) as answer:
        events = [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]
    told = [json.loads(event) for event in events if event != "[DONE]"]
    kinds = ["error" if "error" in event else "text" for event in told] + ["[DONE]"] * events.count("[DONE]")
    return {event["timbre"]["version"] for event in told if "timbre" in event}, kinds


def test_a_stream_of_a_breaking_challenger_is_the_champions_before_its_first_word_and_ends_with_an_error_after_it(home: Home) -> None:
    home.trial(BROKEN, 1.0)
    with serving(home.home) as server:
        until(on_trial(server, BROKEN))
        for seed in range(3):  # it breaks while it reads the prompt
            versions, kinds = streamed(server, PROMPT, seed)
            assert versions == {1} and kinds[-1] == "[DONE]" and "error" not in kinds
        found = [streamed(server, [5, 6, 7], seed) for seed in range(6)]  # it reads this, and breaks on a word of its own
        until(lambda: home.trials()[-1].event == "end")
    assert all(len(versions) == 1 for versions, _ in found)
    broken = [kinds for versions, kinds in found if versions == {BROKEN}]
    assert broken and all(kinds[-1] == "error" and "[DONE]" not in kinds for kinds in broken)


def test_a_champion_that_breaks_gives_way_to_the_one_before_it_through_the_ledger(home: Home) -> None:
    with serving(home.home) as server:
        home.promote(BROKEN)
        until(lambda: server.get("/ready").json()["styles"]["literary"]["version"] == BROKEN)
        refused = [server.post("/v1/completions", prompt=PROMPT, max_tokens=20).status_code for _ in range(4)]
        assert refused == [503] * 4
        until(lambda: home.latest().kind == "rollback", 180)
        back = home.latest()
        assert (back.version, back.replaced_version) == (1, BROKEN) and "broke off" in back.reason
        returned = next(one for one in reversed(home.trials()) if one.event == "return")
        assert returned.evidence["findings"][0]["name"] == "errors" and returned.version == BROKEN
        until(lambda: server.get("/ready").json()["styles"]["literary"]["version"] == 1)
        assert version(server, "reader") == 1
        assert home.latest().sequence == back.sequence


def test_a_champion_that_writes_otherwise_is_returned_by_its_style_and_a_challenger_promoted_by_policy(home: Home) -> None:
    wide = ["errors=0.9", "style=20", "style_margin=20", "latency_factor=100", "least=12", "automatic_promotion=true"]
    home.trial(2, 0.5)
    with serving(home.home, *(part for each in wide for part in ("--policy", each))) as server:
        until(on_trial(server, 2))
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda number: version(server, f"reader {number}", max_tokens=100), range(90))) == {1, 2}
        until(lambda: home.latest().version == 2, 180)
        promoted = home.latest()
        assert promoted.kind == "promote" and "by policy" in promoted.reason
        decided = home.trials()[-1]
        assert decided.event == "promote" and {finding["verdict"] for finding in decided.evidence["findings"]} == {"PASS"}
    with serving(home.home, "--policy", "style=0.1", "--policy", "least=12") as server:  # greedy: it goes round in circles
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: version(server, f"reader {n}", prompt=f"{PROMPT} {n}", max_tokens=100, temperature=0), range(40)))
        until(lambda: home.latest().kind == "rollback", 180)
        assert home.latest().version == 1 and "human text" in home.latest().reason


def test_a_bundle_on_trial_that_is_damaged_is_never_asked(home: Home) -> None:
    damaged = home.home / "artifacts" / "bundle" / home.bundles[2].digest / "tokenizer.json"
    whole = damaged.read_bytes()
    damaged.unlink()  # a link to what other tests read
    damaged.write_bytes(whole[:-1] + b" ")
    try:
        with serving(home.home) as server:
            home.trial(2, 1.0)
            until(lambda: home.trials()[-1].event == "end")
            assert "cannot be served" in home.trials()[-1].reason and version(server, "reader") == 1
            assert not server.get("/ready").json()["trials"]
    finally:
        damaged.write_bytes(whole)


def test_a_look_at_the_service_holds_it_to_the_ledger_and_says_when_it_is_down(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    from timbre.config import ModelConfig
    from timbre.settings import settings
    from timbre.tasks.serving_check import look_at

    monkeypatch.setenv("TIMBRE_HOME", str(home.home))
    settings.cache_clear()
    try:
        with serving(home.home) as server:
            looked = look_at("literary", ModelConfig(), server.address)
            assert (looked.model, looked.version, looked.champion) == (MODEL, 1, 1) and looked.wrote == 8
            with pytest.raises(ValueError, match="no champion yet"):
                look_at("oratory", ModelConfig(), server.address)
        with pytest.raises(ValueError, match="does not answer"):
            look_at("literary", ModelConfig(), server.address)
    finally:
        settings.cache_clear()


def killed_at(home: Path, what: str, where: str, verb: str) -> int:
    """`timbre canary VERB` in a process that is killed before or after it calls what the ledger is written or moved with; its code."""
    script = f"""
import os, signal
from {what.rpartition(".")[0]} import {what.rpartition(".")[2].partition(":")[0]} as owner
name = "{what.partition(":")[2]}"
real = getattr(owner, name)
def call(*given, **more):
    if "{where}" == "after":
        real(*given, **more)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, name, call)
from timbre.cli import app
app(["canary", *{verb.split()!r}])
"""
    variables = os.environ | {"TIMBRE_HOME": str(home)}
    return subprocess.run([sys.executable, "-c", script], env=variables, cwd=PROJECT_ROOT, timeout=120, check=False).returncode


def test_a_canary_command_that_was_killed_leaves_nothing_or_all_and_the_same_command_goes_on(home: Home) -> None:
    def canary(verb: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "timbre.cli", "canary", *verb.split()]
        variables = os.environ | {"TIMBRE_HOME": str(home.home)}
        return subprocess.run(command, env=variables, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=120, check=False)

    before = len(home.trials())
    assert killed_at(home.home, "timbre.registry.ledger.Ledger:add_trial", "before", "start 2 --share 0.2") == -9
    assert len(home.trials()) == before
    assert killed_at(home.home, "timbre.registry.ledger.Ledger:add_trial", "after", "start 2 --share 0.2") == -9
    assert canary("start 2 --share 0.2").returncode == 0  # it goes on, and is not begun twice
    assert [trial.event for trial in home.trials()[before:]] == ["begin"]
    assert killed_at(home.home, "timbre.registry.ledger.Ledger:add_trial", "after", "promote --reason better") == -9
    assert home.latest().version == 1 and home.trials()[-1].event == "promote"
    refused = canary("start 3 --shadow")
    assert refused.returncode == 2 and "`timbre canary settle` does it" in refused.stderr
    done = canary("promote --reason better")
    assert done.returncode == 0 and home.latest().version == 2, done.stderr
    assert [trial.event for trial in home.trials()[before:]] == ["begin", "promote"]
    with closing(home.ledger) as ledger:
        assert not [checked.wrong for checked in ledger.check().values() if checked.wrong]
