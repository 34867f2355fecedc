"""A small HTTP server on this machine that speaks the OpenAI chat form and answers as it is told."""

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Says = str | tuple[int, dict[str, str], str]
"""Words of an answer, or a whole response: status, headers, body."""


@dataclass
class Endpoint:
    """What the server was asked, in the order in which it came."""

    address: str
    questions: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)


def shown(question: str) -> tuple[str, str]:
    """The two texts of a question, in the order in which they are shown."""
    found = re.search(r"\[Text A\]\n(.*)\n\[End of text A\].*\[Text B\]\n(.*)\n\[End of text B\]", question, re.DOTALL)
    assert found is not None, question
    return found[1], found[2]


def first(_: str) -> str:
    return "A"


def longer(question: str) -> str:
    one, other = (len(text.split()) for text in shown(question))
    return "tie" if one == other else "A" if one > other else "B"


def prefers(word: str) -> Callable[[str], str]:
    """A judge who prefers the text that holds a word, wherever it stands."""

    def answer(question: str) -> str:
        one, other = (word in text for text in shown(question))
        return "tie" if one == other else "A" if one else "B"

    return answer


@contextmanager
def serving(answer: Callable[[str], Says], model: str = "scripted-1") -> Iterator[Endpoint]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            question = body["messages"][0]["content"]
            with lock:
                endpoint.questions.append(question)
                endpoint.bodies.append(body)
                endpoint.headers.append(dict(self.headers))
            said = answer(question) if self.path == "/v1/chat/completions" else (404, {}, f"no {self.path}")
            chat = {
                "object": "chat.completion",
                "model": model,
                "choices": [{"index": 0, "message": {"role": "assistant", "content": said}}],
            }
            status, headers, text = (200, {}, json.dumps(chat)) if isinstance(said, str) else said
            data = text.encode()
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(data))} | headers).items():
                self.send_header(name, value)
            with suppress(BrokenPipeError, ConnectionResetError):  # whoever asked was killed, or waits no longer
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    lock = threading.Lock()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    endpoint = Endpoint(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
