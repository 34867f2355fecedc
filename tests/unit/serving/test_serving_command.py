"""How `timbre serve` begins, follows promotions, fills up and ends; on a home with real bundles, over a real socket."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.unit.serving.conftest import Promotions, Running, serving
from timbre.settings import PROJECT_ROOT

PROMPT = "Beyond the grey water, the old"
HEAVY = ("libtorch", "libarrow", "libonnx.", "/torch/", "/transformers/", "/pandas/", "/scipy/", "/mlflow/", "/prefect/", "/pyarrow/")


def refused(home: Path, *options: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "timbre.cli", "serve", "--port", "0", *options],
        cwd=PROJECT_ROOT, env=os.environ | {"TIMBRE_HOME": str(home)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stderr


def until(what: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it did not come to pass"


def test_the_served_version_follows_the_champion_and_no_request_is_lost_or_mixed(promotions: Callable[[], Promotions]) -> None:
    place = promotions()
    with serving(place.home, "--limit", "max_tokens=400") as server:
        expected = {1: server.text(PROMPT, seed=4, max_tokens=60, n=2)}

        def send(_: int) -> tuple[int, str, list[str]]:
            body = server.text(PROMPT, seed=4, max_tokens=60, n=2)
            return body["timbre"]["version"], body["system_fingerprint"], [choice["text"] for choice in body["choices"]]

        with ThreadPoolExecutor(6) as pool:
            answers = [pool.submit(send, number) for number in range(12)]
            place.promote(2)
            until(lambda: server.get("/ready").json()["styles"]["literary"]["version"] == 2)
            expected[2] = server.text(PROMPT, seed=4, max_tokens=60, n=2)
            answers += [pool.submit(send, number) for number in range(12)]
            place.promote(1)  # and back, as a rollback does
            until(lambda: server.get("/ready").json()["styles"]["literary"]["version"] == 1)
            answers += [pool.submit(send, number) for number in range(6)]
            told = [answer.result() for answer in answers]
        for version, fingerprint, texts in told:
            assert texts == [choice["text"] for choice in expected[version]["choices"]] and fingerprint.startswith(f"v{version}-")
        assert expected[2]["timbre"]["version"] == 2 and {version for version, *_ in told} >= {1}
        assert expected[1]["choices"][0]["text"] != expected[2]["choices"][0]["text"]
        assert [line["version"] for line in server.log if line["event"] == "serving"] == [2, 1]


def test_a_champion_whose_bundle_is_damaged_is_not_served_and_the_one_before_goes_on(promotions: Callable[[], Promotions]) -> None:
    place = promotions()
    with serving(place.home) as server:
        place.promote(2)
        damaged = place.home / "artifacts" / "bundle" / place.bundles[2].digest / "tokenizer.json"
        # promoted and damaged in one look: whatever the server saw first, it never writes with damaged files
        damaged.write_bytes(damaged.read_bytes()[:-1] + b" ")
        until(lambda: "not the one in the manifest" in str(server.get("/ready").json()["not_served"]) or _version(server) == 2)
        assert server.text(PROMPT, max_tokens=3)["timbre"]["version"] == _version(server)


def _version(server: Running) -> int:
    return int(server.get("/ready").json()["styles"]["literary"]["version"])


def test_serving_maps_no_heavy_library(promotions: Callable[[], Promotions]) -> None:
    with serving(promotions().home) as server:
        server.text(PROMPT, max_tokens=5)
        server.post("/v1/chat/completions", messages=[{"role": "user", "content": "Hello"}], max_tokens=3)
        mapped = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "onnxruntime" in mapped and not [name for name in HEAVY if name in mapped]


def test_the_server_itself_imports_no_more_than_the_extra_says() -> None:
    code = (
        "import sys\n"
        "import timbre.serving.app, timbre.serving.listen, timbre.tasks.serving, timbre.cli.serve\n"
        "print(' '.join(sorted({name.partition('.')[0] for name in sys.modules})))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True)
    heavy = {
        "torch",
        "transformers",
        "peft",
        "pandas",
        "pyarrow",
        "onnx",
        "scipy",
        "mlflow",
        "prefect",
        "dvc",
        "great_expectations",
        "matplotlib",
    }
    assert not heavy & set(done.stdout.split())


def test_a_full_queue_answers_429_with_retry_after_and_what_was_taken_on_is_written(promotions: Callable[[], Promotions]) -> None:
    with serving(promotions().home, "--limit", "rows=2", "--limit", "waiting=2", "--limit", "max_tokens=400") as server:
        options = {"prompt": PROMPT, "max_tokens": 300, "temperature": 0}
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _: server.post("/v1/completions", **options), range(12)))
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {200, 429} and statuses.count(200) >= 2
        for answer in answers:
            if answer.status_code == 429:
                assert int(answer.headers["Retry-After"]) >= 1 and answer.json()["error"]["type"] == "rate_limit_error"
        assert len({answer.json()["choices"][0]["text"] for answer in answers if answer.status_code == 200}) == 1


def test_keys_are_asked_for_and_an_open_address_needs_them(promotions: Callable[[], Promotions]) -> None:
    home = promotions().home
    code, said = refused(home, "--host", "0.0.0.0")
    assert code == 2 and "timbre serve --new-key NAME" in said
    made = subprocess.run(
        [sys.executable, "-m", "timbre.cli", "serve", "--new-key", "app"],
        cwd=PROJECT_ROOT, env=os.environ | {"TIMBRE_HOME": str(home)}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    key, file = made.stdout.strip(), home / "serving" / "keys"
    assert key.startswith("timbre-") and key not in file.read_text() and file.stat().st_mode & 0o077 == 0
    with serving(home, "--host", "0.0.0.0") as server:
        address = server.address.replace("0.0.0.0", "127.0.0.1")
        for given, status in ((None, 401), (key + "x", 401), (key[:-1], 401), ("a b", 401), (key, 200)):
            headers = {} if given is None else {"Authorization": f"Bearer {given}"}
            response = httpx.post(
                f"{address}/v1/completions", json={"prompt": "a", "max_tokens": 1}, headers=headers, timeout=30, trust_env=False
            )
            assert response.status_code == status, response.text
        for path, status in (("/health", 200), ("/ready", 200), ("/metrics", 401), ("/v1/models", 401), ("/openapi.json", 401)):
            assert httpx.get(address + path, trust_env=False).status_code == status
        until(lambda: any(line.get("key") == "app" for line in server.log))
        assert key not in "".join(server.lines)


def test_a_stopping_server_finishes_its_streams_and_takes_nothing_new(promotions: Callable[[], Promotions]) -> None:
    with serving(promotions().home, "--limit", "max_tokens=400") as server:
        whole = server.text(PROMPT, max_tokens=300, temperature=0)["choices"][0]["text"]
        body = {"prompt": PROMPT, "max_tokens": 300, "temperature": 0, "stream": True}
        text, done = "", False
        with httpx.stream("POST", f"{server.address}/v1/completions", json=body, timeout=60, trust_env=False) as stream:
            for line in stream.iter_lines():
                if not text and line:
                    server.process.send_signal(signal.SIGTERM)
                if line == "data: [DONE]":
                    done = True
                elif line:
                    text += "".join(choice["text"] for choice in json.loads(line.removeprefix("data: "))["choices"])
        assert done and text == whole
        assert server.process.wait(60) == 0
        with pytest.raises(httpx.ConnectError):
            server.get("/health")


def test_a_slow_body_is_given_up_and_a_slow_header_is_cut_off(promotions: Callable[[], Promotions]) -> None:
    import socket

    with serving(promotions().home, "--limit", "read_seconds=0.5") as server:
        host, port = server.address.removeprefix("http://").split(":")
        for sent, answer in (
            (
                b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{",
                b"HTTP/1.1 408",
            ),
            (b"POST /v1/completions HTTP/1.1\r\nHost: loc", b""),
        ):
            with socket.create_connection((host, int(port)), timeout=20) as connection:
                connection.sendall(sent)
                try:
                    assert connection.recv(4096).startswith(answer)
                except ConnectionResetError:
                    assert not answer
        assert server.text(PROMPT, max_tokens=1)


def test_a_request_that_takes_too_long_is_answered_408(promotions: Callable[[], Promotions]) -> None:
    with serving(promotions().home, "--limit", "request_seconds=0.05", "--limit", "max_tokens=400") as server:
        late = server.post("/v1/completions", prompt=PROMPT, max_tokens=400, n=16)
        assert late.status_code == 408 and "fewer tokens" in late.json()["error"]["message"]
        until(lambda: 'timbre_rows{model="timbre-literary",version="1"} 0.0' in server.get("/metrics").text)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "has no champion yet: `timbre run --style literary` makes one"),
        (("--style", "baroque"), "baroque"),
        (("--host", "203.0.113.7"), "holds no keys"),
        (("--limit", "speed=9"), "NAME one of body_bytes"),
        (("--limit", "rows=0"), "rows"),
    ],
)
def test_what_cannot_be_served_is_refused_before_anything_listens(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    code, told = refused(tmp_path, *options)
    assert code == 2 and said in told


def test_a_port_that_is_taken_is_named(promotions: Callable[[], Promotions]) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, told = refused(promotions().home, "--port", str(taken.getsockname()[1]))
    assert code == 2 and "cannot listen on 127.0.0.1" in told


def test_a_marked_text_is_detected_and_an_unmarked_one_is_not(promotions: Callable[[], Promotions], tmp_path: Path) -> None:
    home = promotions().home

    def command(*words: str) -> "subprocess.CompletedProcess[str]":
        variables = os.environ | {"TIMBRE_HOME": str(home)}
        return subprocess.run(
            [sys.executable, "-m", "timbre.cli", *words], cwd=PROJECT_ROOT, env=variables, capture_output=True, text=True, check=False
        )

    (tmp_path / "text.txt").write_text("Nobody marked this.")
    keyless = command("detect", str(tmp_path / "text.txt"))
    assert keyless.returncode == 2 and "--new-watermark-key" in keyless.stderr
    assert command("serve", "--new-watermark-key").returncode == 0
    key = home / "serving" / "watermark.key"
    assert key.stat().st_mode & 0o077 == 0 and command("serve", "--new-watermark-key").returncode == 2
    key.write_text(bytes(range(len(key.read_text().strip()) // 2)).hex() + "\n")  # one secret a test run: an answer that stays the same
    with serving(home, "--policy", "watermark=long", "--limit", "max_tokens=400") as server:
        options = {"seed": 5, "max_tokens": 300, "temperature": 1.0}
        texts = {
            name: server.text(PROMPT, **options, **more)["choices"][0]["text"]
            for name, more in (("marked", {}), ("plain", {"watermark": False}))
        }
        assert server.text(PROMPT, **options)["choices"][0]["text"] == texts["marked"]
        assert server.post("/v1/completions", prompt=PROMPT, watermark=True, temperature=0).status_code == 400
        short = [server.text(PROMPT, seed=5, max_tokens=50, **more)["choices"][0]["text"] for more in ({}, {"watermark": False})]
        assert short[0] == short[1]
    told = {}
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        told[name] = json.loads(command("detect", str(tmp_path / name), "--json").stdout)
    assert told["marked"]["marked"], told
    assert not told["plain"]["marked"] and told["plain"]["tokens"] > 100
    assert command("detect", str(tmp_path / "none")).returncode == 2


def test_timbre_up_refuses_a_style_without_a_champion_before_it_starts_anything(promotions: Callable[[], Promotions]) -> None:
    place = promotions()
    done = subprocess.run(
        [sys.executable, "-m", "timbre.cli", "up", "--serve", "literary", "--serve", "oratory"],
        cwd=PROJECT_ROOT, env=os.environ | {"TIMBRE_HOME": str(place.home)}, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 2 and "timbre-oratory has no champion yet" in done.stderr
    assert not (place.home / "logs").exists()


def test_a_server_that_trusts_a_key_serves_what_it_signed_and_goes_on_with_it(promotions: Callable[[], Promotions]) -> None:
    from timbre.registry import signing

    place = promotions()
    key = signing.key_file(place.home)
    signing.new_key(key)
    trusting = ("--trust", str(key.with_name("key.pub")))
    code, said = refused(place.home, *trusting)
    assert code == 6 and "is not signed" in said
    signing.sign(place.home, place.bundles[1].digest, key)
    with serving(place.home, *trusting) as server:
        assert server.text(PROMPT, max_tokens=4)["timbre"]["version"] == 1
        place.promote(2)  # by a hand without the key
        until(lambda: "not signed" in server.get("/ready").text)
        assert server.text(PROMPT, max_tokens=4)["timbre"]["version"] == 1
        signing.sign(place.home, place.bundles[2].digest, key)
        until(lambda: server.text(PROMPT, max_tokens=4)["timbre"]["version"] == 2)
