"""Listening: the socket, the clients' slowness, the log, and an end that finishes what was begun."""

import asyncio
import json
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from timbre.serving.guard import App, is_loopback
from timbre.serving.keys import Keys
from timbre.serving.limits import Limits
from timbre.serving.workers import end_with_parent

_CLOSING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def check_address(host: str, keys: Keys, path: Path) -> None:
    """Raises: ValueError: others could ask this server, and it has no keys."""
    if not keys and not is_loopback(host):
        raise ValueError(
            f"{host} can be reached from elsewhere, and {path} holds no keys: make one with `timbre serve --new-key NAME`, "
            "or listen on 127.0.0.1"
        )


def listening(host: str, port: int) -> socket.socket:
    """A socket that is bound; port 0 takes a free one.

    Raises:
        ValueError: the address is taken, or is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise ValueError(f"cannot listen on {host}, port {port}: {(error.strerror or str(error)).lower()}") from error
    return bound


def taken_over(number: int) -> socket.socket:
    """A socket that the process which keeps this one up has bound; this one stops when that one is gone."""
    end_with_parent()
    return socket.socket(fileno=number)


def serve(app: App, bound: socket.socket, limits: Limits, *, started: Callable[[], None], stopping: Callable[[], None]) -> None:
    """Answer until SIGINT, SIGTERM or SIGHUP; then take nothing new and finish what was begun. A second signal cuts it off."""
    config = uvicorn.Config(
        app, http=_patient(limits.read_seconds), ws="none", lifespan="off", log_config=None, access_log=False, server_header=False,
        proxy_headers=False, timeout_keep_alive=15, timeout_graceful_shutdown=round(limits.drain_seconds),
    )  # fmt: skip
    asyncio.run(_Server(config, started, stopping).serve(sockets=[bound]))


class _Server(uvicorn.Server):
    """uvicorn, with signals that end it in peace and are not raised again."""

    def __init__(self, config: uvicorn.Config, started: Callable[[], None], stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._tell_started, self._tell_stopping = started, stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._tell_started()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in _CLOSING:
            loop.add_signal_handler(number, self._end)
        try:
            yield
        finally:
            for number in _CLOSING:
                loop.remove_signal_handler(number)

    def _end(self) -> None:
        if self.should_exit:
            self.force_exit = True
        self.should_exit = True
        self._tell_stopping()


def _patient(seconds: float) -> type[H11Protocol]:
    """HTTP/1.1 that leaves a client which does not get its headers out in so many seconds, on any request of a connection."""

    class Patient(H11Protocol):
        _timer: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._arm()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._between_requests():
                self._arm()

        def handle_events(self) -> None:
            super().handle_events()
            if self.scope is not None:
                cast("dict[str, Any]", self.scope)["timbre.abort"] = self.transport.abort
            if not self._between_requests():
                self._disarm()

        def connection_lost(self, exc: Exception | None) -> None:
            self._disarm()
            super().connection_lost(exc)

        def _between_requests(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _arm(self) -> None:
            if self._timer is None:
                self._timer = self.loop.call_later(seconds, self._leave)

        def _disarm(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _leave(self) -> None:
            self._timer = None
            if self._between_requests():
                self.transport.abort()

    return Patient


class _Lines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"at": at, "level": record.levelname.lower(), "event": record.getMessage()}
        line |= getattr(record, "about", {})
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def log_to_stderr(level: int = logging.INFO) -> None:
    """JSON lines on stderr, of this package and of warnings elsewhere."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("timbre.serving").setLevel(level)
