"""One question to a language model behind an OpenAI-compatible chat endpoint, by plain HTTP.

>>> endpoint = ChatEndpoint("http://localhost:11434/v1", "some-model")
>>> endpoint.ask([{"role": "user", "content": "..."}], SCHEMA)
'{"narration": "..."}'

Busy and broken servers are asked again, each time after a longer wait; the whole answer has to come within a time limit.
The key comes from the environment alone, goes to the endpoint's own address alone (redirections are not followed), and is
taken out of whatever a server says before that is shown.
"""

from __future__ import annotations

import email.utils
import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from palmist.errors import InputError

__all__ = ["ChatEndpoint", "EndpointError", "RefusalError"]

_LARGEST_ANSWER = 1 << 20  # bytes; one sentence is asked for
_LONGEST_WAIT = 60.0  # seconds between two attempts, whatever the server asks for
_AGAIN = {408, 409, 425, 429}
_UNKNOWN_OPTION = {400, 422}


class EndpointError(Exception):
    """No usable answer came, after all attempts."""


class RefusalError(Exception):
    """The model, or a filter around it, would not answer."""


class _RetryError(Exception):
    """This attempt failed and the next one may not; `after`: seconds that the server asks to wait."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None  # a redirection would take the key along


@dataclass
class ChatEndpoint:
    """Where a language model answers.

    url: base address as OpenAI's clients take it (http://host/v1) or that of chat/completions itself. model: its name there.
    key: sent as a bearer token, None for servers without. timeout: seconds for one whole answer. attempts: how often one
    question is put at most. wait: seconds before the second attempt, doubled each time.
    requests: how many went out so far.

    Raises InputError for an address that is none, or a key that cannot be sent.
    """

    url: str
    model: str
    key: str | None = field(default=None, repr=False)
    timeout: float = 60.0
    attempts: int = 4
    wait: float = 1.0
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)
    requests: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        try:
            parts = urllib.parse.urlsplit(self.url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or any(letter.isspace() for letter in self.url):
            raise InputError(f"the endpoint {self.url!r} is no address; expected one like http://localhost:11434/v1")
        if parts.username is not None or parts.password is not None:
            raise InputError("the endpoint's address holds a user or a password; put the key into PALMIST_LLM_KEY instead")
        if not self.model.strip():
            raise InputError("the endpoint needs the name of a model; give --llm-model or set PALMIST_LLM_MODEL")
        if self.key is not None and not (self.key.isascii() and self.key.isprintable() and self.key.strip()):
            raise InputError("PALMIST_LLM_KEY holds something that cannot be sent; expected printable ASCII on one line")
        self._plain = False  # set once the server has refused the options that not every server knows
        self._opener = urllib.request.build_opener(_NoRedirect)

    @classmethod
    def from_options(cls, url: str | None, model: str | None) -> Self | None:
        """The endpoint that options or PALMIST_LLM_URL and PALMIST_LLM_MODEL name, with the key of PALMIST_LLM_KEY; None
        without an address."""
        url = url or os.environ.get("PALMIST_LLM_URL")
        if not url:
            if model:
                raise InputError(f"--llm-model {model} has no endpoint; give --llm URL or set PALMIST_LLM_URL")
            return None
        return cls(url, model or os.environ.get("PALMIST_LLM_MODEL") or "", os.environ.get("PALMIST_LLM_KEY") or None)

    def ask(self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any]) -> str:
        """The text that the model answers. schema: of the JSON that is wanted; servers that know such schemas are bound to it.

        Raises:
            RefusalError: the model or its filter refuses.
            EndpointError: no answer after all attempts, or one that is no chat completion.
            InputError: the address, the key or the model's name is wrong, which no further attempt would mend.
        """
        wait, reason = self.wait, ""
        for attempt in range(self.attempts):
            try:
                return self._answer(self._post(messages, schema))
            except _RetryError as failed:
                reason = str(failed)
                if attempt + 1 < self.attempts:
                    asked = wait if failed.after is None else max(wait, failed.after)
                    self.sleep(min(asked, _LONGEST_WAIT))
                    wait *= 2
        raise EndpointError(f"{reason}, {self.attempts} times")

    def _post(self, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any]) -> bytes:
        """The body of a good answer to one attempt, in time."""
        body: dict[str, Any] = {"model": self.model, "messages": list(messages)}
        if not self._plain:
            wanted = {"name": "answer", "strict": True, "schema": schema}
            body |= {"temperature": 0, "response_format": {"type": "json_schema", "json_schema": wanted}}
        path = self.url.rstrip("/")
        path = path if path.endswith("/chat/completions") else f"{path}/chat/completions"
        headers = {"Content-Type": "application/json", "User-Agent": "palmist"}
        request = urllib.request.Request(path, json.dumps(body).encode(), headers, method="POST")
        if self.key is not None:
            request.add_unredirected_header("Authorization", f"Bearer {self.key}")
        self.requests += 1
        end = time.monotonic() + self.timeout
        try:
            with self._opener.open(request, timeout=self.timeout) as response:
                return _read(response, end)
        except urllib.error.HTTPError as error:
            with error:
                return self._failed(error, messages, schema)
        except TimeoutError as error:
            raise _RetryError(f"no answer within {self.timeout:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise _RetryError(f"no answer within {self.timeout:g} s") from error
            raise _RetryError(f"the connection failed ({self._shown(str(reason) or type(reason).__name__)})") from error

    def _failed(self, error: urllib.error.HTTPError, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any]) -> bytes:
        """What an error status means: ask again, ask more plainly, a refusal, or the end."""
        code = error.code
        try:
            said = error.read(4096).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException):
            said = ""
        if code in _AGAIN or code >= 500:
            raise _RetryError(f"the endpoint answered {code}", _retry_after(error.headers.get("Retry-After")))
        if "content_filter" in said or "content_policy" in said:
            raise RefusalError("a content filter refused")
        if code in _UNKNOWN_OPTION and not self._plain:
            self._plain = True
            return self._post(messages, schema)
        if code in _UNKNOWN_OPTION or code == 413:
            raise EndpointError(f"the endpoint answered {code}: {self._shown(said)}")
        fix = {
            401: "set PALMIST_LLM_KEY to a key that it takes",
            403: "set PALMIST_LLM_KEY to a key that may do this",
            404: "check the address and --llm-model",
        }.get(code, "check the address, it usually ends with /v1")
        raise InputError(f"the endpoint {self.url} answered {code} ({self._shown(said) or 'without a reason'}); {fix}")

    def _answer(self, body: bytes) -> str:
        try:
            choice = json.loads(body)["choices"][0]
            message = choice["message"]
            content, refusal = message.get("content"), message.get("refusal")
            if isinstance(content, list):  # parts, as some servers give them
                content = "".join(part.get("text") or "" for part in content)
            finish = choice.get("finish_reason")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise _RetryError("the answer was no chat completion") from error
        if refusal or finish == "content_filter":
            raise RefusalError("a content filter refused" if finish == "content_filter" else "the model refused")
        if content is not None and not isinstance(content, str):
            raise _RetryError("the answer was no chat completion")
        if not content or not content.strip():
            raise RefusalError("the model gave an empty answer")
        return content

    def _shown(self, text: str) -> str:
        """Foreign text on one short line, without the key."""
        if self.key:
            text = text.replace(self.key, "...")
        return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:200]


def _read(response: http.client.HTTPResponse, end: float) -> bytes:
    """The body, if it comes before `end` even when it comes in drops."""
    parts, size = [], 0
    while part := response.read1(65536):
        parts.append(part)
        size += len(part)
        if size > _LARGEST_ANSWER:
            raise EndpointError(f"the answer is larger than {_LARGEST_ANSWER >> 20} MiB")
        if time.monotonic() > end:
            raise TimeoutError
    if response.length:  # read1 says nothing when the server hangs up early
        raise http.client.IncompleteRead(b"".join(parts), response.length)
    return b"".join(parts)


def _retry_after(header: str | None) -> float | None:
    """Seconds of a Retry-After header, which may also be a date."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
