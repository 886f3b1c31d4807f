"""The chat endpoint against a server that misbehaves in every way that servers do."""

from __future__ import annotations

import json

import pytest

from chat_server import break_off, chat_server, completion, drops, hang_up, narration, raw, silence, status
from palmist.errors import InputError
from palmist.narration.chat import ChatEndpoint, EndpointError, RefusalError

QUESTION = [{"role": "user", "content": "say it"}]
SCHEMA = {"type": "object"}
KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    for name in ("PALMIST_LLM_URL", "PALMIST_LLM_MODEL", "PALMIST_LLM_KEY"):
        monkeypatch.delenv(name, raising=False)


def endpoint(url: str, waits: list[float] | None = None, **options: object) -> ChatEndpoint:
    slept = [] if waits is None else waits
    return ChatEndpoint(url, "tiny", sleep=slept.append, **options)  # type: ignore[arg-type]


def test_question_and_answer() -> None:
    with chat_server(completion("  yes ")) as server:
        asking = endpoint(server.url, key=KEY)
        assert asking.ask(QUESTION, SCHEMA) == "  yes "
    (asked,) = server.asked
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["Authorization"] == f"Bearer {KEY}"
    assert asked.body["messages"] == QUESTION
    assert asked.body["model"] == "tiny"
    assert asked.body["response_format"]["json_schema"]["schema"] == SCHEMA
    assert asking.requests == 1


def test_no_key_no_header_and_a_full_address_stays() -> None:
    with chat_server(completion([{"type": "text", "text": "ye"}, {"type": "text", "text": "s"}])) as server:
        assert endpoint(server.url + "/chat/completions/").ask(QUESTION, SCHEMA) == "yes"
    assert "Authorization" not in server.asked[0].headers
    assert server.asked[0].path == "/v1/chat/completions"


@pytest.mark.parametrize(
    "fault",
    [
        status(429), status(500), status(502), status(503), status(504), status(408), hang_up, break_off,
        raw(b"<html>gateway</html>"), raw(b"{}"), raw(b'{"choices": []}'), raw(b"[1]"), raw(b"\xff\xfe"),
        raw(b'{"choices": [{"message": {"content": 7}}]}'),
    ],
)  # fmt: skip
def test_faults_that_pass_are_tried_again(fault) -> None:
    waits: list[float] = []
    with chat_server(fault, fault, completion("yes")) as server:
        assert endpoint(server.url, waits).ask(QUESTION, SCHEMA) == "yes"
        assert len(server.asked) == 3
    assert waits == [1.0, 2.0]


def test_attempts_end() -> None:
    waits: list[float] = []
    with chat_server(status(503)) as server, pytest.raises(EndpointError, match="answered 503, 4 times"):
        endpoint(server.url, waits).ask(QUESTION, SCHEMA)
    assert len(server.asked) == 4
    assert waits == [1.0, 2.0, 4.0]


@pytest.mark.parametrize(("header", "wait"), [("7", 7.0), ("9999", 60.0), ("nonsense", 1.0), ("-5", 1.0), ("nan", 1.0)])
def test_a_server_that_names_a_wait_gets_it(header: str, wait: float) -> None:
    waits: list[float] = []
    with chat_server(status(429, Retry_After=header), completion("yes")) as server:
        endpoint(server.url, waits).ask(QUESTION, SCHEMA)
    assert waits == [wait]


def test_nobody_listens() -> None:
    with pytest.raises(EndpointError, match="connection failed"):
        endpoint("http://127.0.0.1:9", attempts=2).ask(QUESTION, SCHEMA)


@pytest.mark.parametrize("fault", [silence(2.0), drops(2.0)])
def test_the_whole_answer_must_come_in_time(fault) -> None:
    with chat_server(fault) as server, pytest.raises(EndpointError, match=r"no answer within 0\.2 s, 2 times"):
        endpoint(server.url, timeout=0.2, attempts=2).ask(QUESTION, SCHEMA)


def test_an_endless_answer_is_cut() -> None:
    with chat_server(raw(b" " * (3 << 20))) as server, pytest.raises(EndpointError, match="larger than 1 MiB"):
        endpoint(server.url).ask(QUESTION, SCHEMA)


@pytest.mark.parametrize(
    "answer",
    [
        completion(""), completion(None), completion("  \n"), completion("half", finish="content_filter"),
        completion(None, refusal="I will not"), status(400, '{"error": {"code": "content_filter"}}'),
    ],
)  # fmt: skip
def test_refusals(answer) -> None:
    with chat_server(answer) as server, pytest.raises(RefusalError):
        endpoint(server.url).ask(QUESTION, SCHEMA)
    assert len(server.asked) == 1


def test_a_server_without_schemas_is_asked_plainly_from_then_on() -> None:
    with chat_server(status(400, "unknown response_format"), completion("yes"), completion("yes")) as server:
        asking = endpoint(server.url)
        assert asking.ask(QUESTION, SCHEMA) == "yes"
        assert asking.ask(QUESTION, SCHEMA) == "yes"
    assert ["response_format" in asked.body for asked in server.asked] == [True, False, False]
    assert ["temperature" in asked.body for asked in server.asked] == [True, False, False]


def test_a_bad_request_that_stays_bad_is_no_answer() -> None:
    with chat_server(status(400, "too long")) as server, pytest.raises(EndpointError, match="400: too long"):
        endpoint(server.url).ask(QUESTION, SCHEMA)


@pytest.mark.parametrize(("code", "fix"), [(401, "PALMIST_LLM_KEY"), (403, "PALMIST_LLM_KEY"), (404, "--llm-model")])
def test_what_the_user_must_mend_is_said_at_once_and_without_the_key(code: int, fix: str) -> None:
    with chat_server(status(code, f"Incorrect key {KEY}\x1b[31m given")) as server, pytest.raises(InputError) as error:
        endpoint(server.url, key=KEY).ask(QUESTION, SCHEMA)
    assert len(server.asked) == 1
    assert fix in str(error.value)
    assert KEY not in str(error.value)
    assert "\x1b" not in str(error.value)
    assert KEY not in repr(endpoint(server.url, key=KEY))


def test_the_key_does_not_follow_a_redirection() -> None:
    with (
        chat_server(narration("x")) as other,
        chat_server(status(307, Location=f"{other.url}/chat/completions")) as server,
        pytest.raises(InputError, match="answered 307"),
    ):
        endpoint(server.url, key=KEY).ask(QUESTION, SCHEMA)
    assert other.asked == []


@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "file:///etc/passwd", "ftp://host/v1", "http://", "http://host:port/v1", "http://a b/v1"]
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(InputError, match="is no address"):
        ChatEndpoint(url, "tiny")


def test_other_options_that_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="user or a password") as error:
        ChatEndpoint(f"http://me:{KEY}@host/v1", "tiny")
    assert KEY not in str(error.value)
    with pytest.raises(InputError, match="--llm-model"):
        ChatEndpoint("http://host/v1", " ")
    with pytest.raises(InputError, match="PALMIST_LLM_KEY") as error:
        ChatEndpoint("http://host/v1", "tiny", f"{KEY}\r\nX-Evil: 1")
    assert KEY not in str(error.value)
    with pytest.raises(InputError, match="PALMIST_LLM_URL"):
        ChatEndpoint.from_options(None, "tiny")


def test_options_come_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ChatEndpoint.from_options(None, None) is None
    monkeypatch.setenv("PALMIST_LLM_URL", "http://one/v1")
    monkeypatch.setenv("PALMIST_LLM_MODEL", "first")
    monkeypatch.setenv("PALMIST_LLM_KEY", KEY)
    made = ChatEndpoint.from_options(None, None)
    assert made is not None
    assert (made.url, made.model, made.key) == ("http://one/v1", "first", KEY)
    made = ChatEndpoint.from_options("http://two/v1", "second")
    assert made is not None
    assert (made.url, made.model) == ("http://two/v1", "second")
    assert KEY not in json.dumps(str(made))
