"""`timbre serve` under load and under hostile requests: nothing fails, nothing is mixed, memory stays flat.

    python -m benchmarks.serving --load --json                        the champion of `literary` in this home
    python -m benchmarks.serving_load --bundle FOLDER --json          any bundle
    python -m benchmarks.serving_load --bundle FOLDER --hostile 1000 --load 0

A home of its own with two versions: the bundle, and the same with some weights scaled, which writes otherwise. A champion is served in
the form that this home serves (`--precision`), and so is the other version, which nobody judged. `timbre serve
--workers 2` answers REQUESTS from OpenAI's own client, AT_ONCE at a time; a quarter in, version 2 is promoted, half in, it is rolled
back, three quarters in, one of the two workers is killed (SIGKILL).

errors                 requests without an answer, after what the client asks again by itself (twice)
asked_again            how often it did
mixed                  answers whose text is not that of the version they name: the same prompt and seed gave that version another text
versions               answers by version
memory_growth          resident memory of all workers at the end ÷ that after the first tenth and a flip there and back

Then requests made from the server's OpenAPI schema, spoilt at random (types, extremes, NaN, nesting, lone surrogates, invalid UTF-8, cut
JSON, wrong methods, paths, headers):

hostile_5xx            answers of 500 and above, and connections that broke
hostile_formless       refusals that are not in OpenAI's form
"""

import argparse
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from benchmarks.hostile import hostile_requests
from timbre.artifacts import Artifact, ArtifactStore, Input, Stage, Workspace, canonical_json
from timbre.config import Frozen
from timbre.registry.ledger import Ledger, TransitionKind

MODEL = "timbre-literary"
PROMPTS = ("It was a bright, cold morning", "The sea", "Nobody in the village", "When the letter came", "Along the wall")
_SEEDS = 5


class _Named(Frozen):
    name: str


@dataclass
class Home:
    """A home in which two versions become champion by rows of the ledger, as promotions write them."""

    path: Path
    verdicts: dict[int, str]

    def move(self, version: int, kind: TransitionKind = "promote") -> None:
        """Make a version champion."""
        with closing(Ledger(f"sqlite:///{self.path / 'ledger.db'}")) as ledger:
            ledger.append(
                ledger.latest(MODEL), model=MODEL, kind=kind, version=version, verdict=self.verdicts[version], policy="load",
                strictness=1, reason="benchmarks.serving_load",
            )  # fmt: skip


def home_of(bundle: Artifact, folder: Path, form: Artifact | None = None, corpus: Artifact | None = None) -> Home:
    """A home with the bundle as version 1, champion, and another that writes otherwise as version 2.

    Args:
        form: the bundle's rounded weights that are served instead of its own; version 2 is then rounded alike.
        corpus: what that rounding is compared on.
    """
    store = ArtifactStore(folder)
    home = Home(folder, {})
    for version, made in enumerate((store.adopt(bundle.path), scaled(bundle, store)), start=1):
        if form is not None and corpus is not None:
            _name_form(made, store.adopt(form.path) if version == 1 else _rounded(made, form, corpus, store), store)
        subject = canonical_json({"verdict": "PASS", "subject": {"bundle": made.digest}})
        home.verdicts[version] = _built(store, "verdict", f"v{version}", {"verdict.json": subject}).digest
    home.move(1)
    return home


def _rounded(bundle: Artifact, form: Artifact, corpus: Artifact, store: ArtifactStore) -> Artifact:
    from timbre.export.quantised import Quantised, QuantisedConfig, resolve_quantised

    like = Quantised.read(form)
    config = QuantisedConfig.model_validate({"bits": like.bits, "block": like.block, "tokens": 64, "window": 64})
    return resolve_quantised(config, bundle, corpus, store)


def _name_form(bundle: Artifact, form: Artifact, store: ArtifactStore) -> None:
    """What `timbre quantise` writes at its end: that this form is served."""
    from timbre.export.quantised import Quantised
    from timbre.serving.engines import SERVED, ServedConfig

    name = f"int{Quantised.read(form).bits}"

    def write(_: ServedConfig, __: Mapping[str, Input], work: Workspace) -> None:
        (work.output / "served.json").write_bytes(canonical_json({"default": name}))

    config = ServedConfig.model_validate({"default": name})
    store.build(Stage(SERVED.name, SERVED.version, write), config, {"bundle": bundle, name: form})


def scaled(bundle: Artifact, store: ArtifactStore) -> Artifact:
    """The same bundle with every 64th number of its largest file of weights 1.5 times as large: another version, and none to release."""
    import numpy as np

    files = {name: bundle.file(name).read_bytes() for name in bundle.manifest.files}
    name = max((each for each in files if each.startswith("model.onnx")), key=lambda each: len(files[each]))
    data = np.frombuffer(files[name], np.uint8).copy()
    start = 0 if name != "model.onnx" else len(data) // 4
    numbers = data[start - start % 4 : len(data) - len(data) % 4].view(np.float32)
    sane = np.flatnonzero(np.isfinite(numbers) & (np.abs(numbers) > 1e-6) & (np.abs(numbers) < 10))[::64]
    numbers[sane[len(sane) // 4 :]] *= 1.5
    files[name] = data.tobytes()
    return _built(store, "bundle", "scaled", files)


def _built(store: ArtifactStore, stage: str, name: str, files: dict[str, bytes]) -> Artifact:
    def write(_: _Named, __: Mapping[str, Input], work: Workspace) -> None:
        for each, content in files.items():
            (work.output / each).write_bytes(content)

    return store.build(Stage(stage, 1, write), _Named(name=name), {})  # type: ignore[arg-type]


@dataclass
class Server:
    """A `timbre serve` of its own processes."""

    process: "subprocess.Popen[str]"
    address: str

    def workers(self) -> list[psutil.Process]:
        """The processes that answer: the server itself where it has no others."""
        found = [
            child for child in psutil.Process(self.process.pid).children() if child.is_running() and "serve" in " ".join(child.cmdline())
        ]
        return found or [psutil.Process(self.process.pid)]

    def memory_mib(self) -> float:
        """Resident memory of all of them."""
        return sum(worker.memory_info().rss for worker in self.workers()) / 2**20

    def served(self) -> int:
        """The version that takes requests."""
        ready = httpx.get(f"{self.address}/ready", timeout=60, trust_env=False).json()
        return int(ready["styles"]["literary"]["version"])


@contextmanager
def serving(home: Path, *options: str) -> Iterator[Server]:
    """`timbre serve` on a free port."""
    command = [sys.executable, "-m", "timbre.cli", "serve", "--port", "0", "--json", *options]
    with (home / "serve.log").open("w") as log:
        process = subprocess.Popen(command, env=os.environ | {"TIMBRE_HOME": str(home)}, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise RuntimeError(f"timbre serve ended before it answered: {(home / 'serve.log').read_text()[-2000:]}")
            yield Server(process, json.loads(line)["address"])
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def load(home: Home, requests: int, at_once: int, tokens: int) -> dict[str, Any]:
    """What came of so many requests with a promotion, a rollback and a killed worker among them."""
    with serving(home.path, "--workers", "2", "--limit", f"waiting={4 * at_once}") as server:
        done: list[dict[str, Any]] = []
        kept = threading.Lock()
        again, promoted = [0], threading.Event()

        def ask(number: int) -> None:
            if number >= 2 * requests // 5:
                promoted.wait(300)  # a tiny model would have answered all before a busy server has looked for another champion
            found = _ask(server.address, number, tokens, again)
            with kept:
                done.append(found)

        def ask_many(first: int, count: int) -> None:
            with ThreadPoolExecutor(at_once) as pool:
                list(pool.map(ask, range(first, first + count)))

        ask_many(0, requests // 10)
        for version, kind in ((2, "promote"), (1, "rollback")):
            home.move(version, kind)  # type: ignore[arg-type]
            _until(lambda version=version: server.served() == version)  # type: ignore[misc]
        before = server.memory_mib()
        killer = threading.Thread(target=_disturb, args=(home, server, done, requests, promoted))
        killer.start()
        ask_many(requests // 10, requests - requests // 10)
        killer.join()
        _until(lambda: len(server.workers()) == 2)
        time.sleep(5)
        after = server.memory_mib()
    texts: dict[tuple[int, str], set[str]] = {}
    for each in done:
        if "error" not in each:
            texts.setdefault((each["version"], each["about"]), set()).add(each["text"])
    return {
        "requests": len(done), "errors": sum("error" in each for each in done),
        "kinds_of_errors": dict(Counter(each["error"] for each in done if "error" in each)), "asked_again": again[0],
        "mixed": sum(len(found) - 1 for found in texts.values()) + _same(texts),
        "versions": dict(Counter(str(each.get("version")) for each in done)), "memory_mib": [round(before), round(after)],
        "memory_growth": after / before,
    }  # fmt: skip


def _same(texts: dict[tuple[int, str], set[str]]) -> int:
    """Whether the two versions write alike, so that nothing could be told of mixing; 1 if so."""
    both = [(texts[1, about], texts[2, about]) for version, about in texts if version == 1 and (2, about) in texts]
    return int(bool(both) and all(one == two for one, two in both))


def _disturb(home: Home, server: Server, done: list[dict[str, Any]], requests: int, promoted: threading.Event) -> None:
    """Promote, roll back and kill a process; `promoted` is set when the promotion is followed; most requests wait for it."""
    first = requests // 10
    for share, act in ((0.25, "promote"), (0.5, "rollback"), (0.75, "kill")):
        _until(lambda share=share: len(done) >= first + share * (requests - first) or len(done) >= requests)  # type: ignore[misc]
        if act == "kill":
            server.workers()[0].send_signal(signal.SIGKILL)
        else:
            home.move(2 if act == "promote" else 1, act)  # type: ignore[arg-type]
        if act == "promote":
            _until(lambda: server.served() == 2)
            promoted.set()


def _ask(address: str, number: int, tokens: int, again: list[int]) -> dict[str, Any]:
    import openai

    attempts = [0]

    def count(_: httpx.Request) -> None:
        attempts[0] += 1

    prompt, seed = PROMPTS[number % len(PROMPTS)], number // len(PROMPTS) % _SEEDS
    http = httpx.Client(trust_env=False, timeout=600, event_hooks={"request": [count]})
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", http_client=http) as client:
        try:
            answer = client.completions.create(model=MODEL, prompt=prompt, seed=seed, max_tokens=tokens)
        except openai.OpenAIError as error:
            return {"error": f"{type(error).__name__}: {error}"[:200]}
        finally:
            again[0] += attempts[0] - 1
    told: Any = answer.model_extra
    return {"version": told["timbre"]["version"], "about": f"{prompt} {seed}", "text": answer.choices[0].text}


def hostile(home: Home, count: int) -> dict[str, Any]:
    """What came of requests that are not what they should be."""
    with serving(home.path, "--limit", "max_tokens=8", "--limit", "body_bytes=65536") as server:
        schema = httpx.get(f"{server.address}/openapi.json", timeout=60, trust_env=False).json()
        good = {"prompt": "It was", "max_tokens": 4, "seed": 1}
        with httpx.Client(base_url=server.address, timeout=120, trust_env=False) as client:
            expected = client.post("/v1/completions", json=good).json()["choices"]
            before, statuses, bad, formless = server.memory_mib(), Counter[str](), list[str](), 0
            for number, request in enumerate(hostile_requests(schema, count)):
                try:
                    answer = client.request(request.method, request.path, content=request.body, headers=request.headers)
                except httpx.HTTPError as error:
                    bad.append(f"{number} {request.method} {request.path}: {type(error).__name__}")
                    continue
                statuses[str(answer.status_code)] += 1
                if answer.status_code >= 500:
                    bad.append(f"{number} {request.method} {request.path} {request.body[:200]!r}: {answer.status_code}")
                formless += answer.status_code >= 400 and not _in_form(answer)
            same = client.post("/v1/completions", json=good).json()["choices"] == expected
            after = server.memory_mib()
    return {
        "hostile": count, "hostile_5xx": len(bad), "hostile_bad": bad[:10], "hostile_formless": formless,
        "hostile_statuses": dict(sorted(statuses.items())), "next_is_fine": same, "hostile_memory_growth": after / before,
    }  # fmt: skip


def _in_form(answer: httpx.Response) -> bool:
    if answer.request.method == "HEAD":
        return True
    try:
        return {"message", "type", "param", "code"} <= set(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return False


def _until(what: Any, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise RuntimeError(f"what was waited for did not come to pass in {seconds:g} s")
        time.sleep(0.1)


def run(
    bundle: Artifact, requests: int = 500, at_once: int = 16, tokens: int = 24, hostile_count: int = 1000,
    form: Artifact | None = None, corpus: Artifact | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Both parts on one bundle; 0 requests leave a part out."""
    with tempfile.TemporaryDirectory(prefix="timbre-load-") as folder:
        home = home_of(bundle, Path(folder), form, corpus)
        figures: dict[str, Any] = {"bundle": bundle.digest, "load_before": os.getloadavg()[0], "tokens": tokens, "at_once": at_once}
        if requests:
            began = time.monotonic()
            figures |= load(home, requests, at_once, tokens)
            figures["seconds"] = round(time.monotonic() - began)
        if hostile_count:
            home.move(1)
            figures |= hostile(home, hostile_count)
        return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--style", default="literary")
    parser.add_argument("--bundle", type=Path, help="the folder of a bundle, instead of the champion; it is served in fp32")
    parser.add_argument(
        "--precision", default="auto", choices=("auto", "fp32", "int8", "int4"), help="form of the champion (default: as served)"
    )
    parser.add_argument("--load", type=int, default=500, help="requests")
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=24, help="length of each text")
    parser.add_argument("--hostile", type=int, default=1000, help="hostile requests")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    tell(
        given.bundle, given.style, requests=given.load, at_once=given.at_once, tokens=given.tokens, hostile_count=given.hostile,
        precision=given.precision, as_json=given.json,
    )  # fmt: skip


def tell(
    folder: Path | None, style: str, *, requests: int = 500, at_once: int = 16, tokens: int = 24, hostile_count: int = 1000,
    precision: str = "auto", as_json: bool,
) -> None:  # fmt: skip
    """Measure and print; exit code 3 where anything failed or was mixed."""
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line a request
    bundle, form, corpus = opened(folder, style, precision)
    figures = {"precision": precision_of(form)} | run(bundle, requests, at_once, tokens, hostile_count, form, corpus)
    print(json.dumps(figures) if as_json else "\n".join(f"{name:24} {value}" for name, value in figures.items()))
    if figures.get("errors") or figures.get("mixed") or figures.get("hostile_5xx"):
        sys.exit(3)


def precision_of(form: Artifact | None) -> str:
    """What numbers the weights are that are served."""
    from timbre.export.quantised import Quantised

    return "fp32" if form is None else f"int{Quantised.read(form).bits}"


def opened(folder: Path | None, style: str, precision: str = "auto") -> tuple[Artifact, Artifact | None, Artifact | None]:
    """The bundle of a folder or of a style's champion, the rounded weights that are served, and the corpus."""
    if folder is not None:
        return Artifact.open(folder), None, None
    from timbre.config import ModelConfig
    from timbre.export.facts import BundleFacts
    from timbre.serving.engines import find_served
    from timbre.tasks.bundles import bundle_of
    from timbre.tasks.context import open_store
    from timbre.tasks.quantised import quantised_of

    bundle, store = bundle_of(style, ModelConfig()).artifact, open_store()
    corpus, served = store.open("corpus", BundleFacts.read(bundle).digests["corpus"]), find_served(bundle.digest, store)
    if precision == "auto":
        precision = "fp32" if served is None else str(served.manifest.config["default"])
    form = None if precision == "fp32" else quantised_of(bundle, build=True, precision=precision)
    return bundle, form, corpus


if __name__ == "__main__":
    main()
