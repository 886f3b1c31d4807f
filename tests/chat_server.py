"""A language model's endpoint for tests, on 127.0.0.1: it answers what a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Asked:
    """One request: its path, headers and JSON body."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class ChatServer:
    """url: base address. asked: every request. answers: functions of the handler, one per request; the last one stays."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    answers: list[Callable[[Handler], None]] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    chat: ChatServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.chat.asked.append(Asked(self.path, dict(self.headers), json.loads(body)))
        answers = self.chat.answers
        with contextlib.suppress(ConnectionError):
            (answers.pop(0) if len(answers) > 1 else answers[0])(self)

    def log_message(self, *_: object) -> None:
        pass

    def send(self, code: int, body: bytes, **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def completion(content: Any, finish: str = "stop", **message: Any) -> Callable[[Handler], None]:
    """A chat completion with this content."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, **message}}
    return lambda handler: handler.send(200, json.dumps({"choices": [choice]}).encode())


def narration(text: str) -> Callable[[Handler], None]:
    return completion(json.dumps({"narration": text}))


def status(code: int, body: str = "{}", **headers: str) -> Callable[[Handler], None]:
    return lambda handler: handler.send(code, body.encode(), **headers)


def raw(body: bytes) -> Callable[[Handler], None]:
    return lambda handler: handler.send(200, body)


def hang_up(handler: Handler) -> None:
    """Close without a word."""
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


def break_off(handler: Handler) -> None:
    """Promise more than is sent."""
    handler.send_response(200)
    handler.send_header("Content-Length", "5000")
    handler.end_headers()
    handler.wfile.write(b'{"choices": [')
    handler.close_connection = True


def silence(seconds: float) -> Callable[[Handler], None]:
    def wait(handler: Handler) -> None:
        time.sleep(seconds)
        handler.close_connection = True

    return wait


def drops(seconds: float) -> Callable[[Handler], None]:
    """Send a byte now and then, never all."""

    def drip(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "5000")
        handler.end_headers()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            handler.wfile.write(b" ")
            time.sleep(0.05)
        handler.close_connection = True

    return drip


@contextlib.contextmanager
def chat_server(*answers: Callable[[Handler], None]) -> Iterator[ChatServer]:
    """A server that gives these answers, one after the other."""
    chat = ChatServer(answers=list(answers))
    handler = type("OwnHandler", (Handler,), {"chat": chat})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    chat.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield chat
    finally:
        server.shutdown()
        server.server_close()
