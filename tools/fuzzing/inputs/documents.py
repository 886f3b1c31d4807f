"""Damage to JSON, lines of JSON and YAML."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    10**30,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "../../x",
    [],
    {},
    [[]],
    [None],
    {"a": 1},
    2**31,
    2**63,
    0.5,
    [1, 2, 3],
    "\ud800",
    "9" * 400,
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of the values in a JSON document; of long lists the first few."""
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value[:6]) if isinstance(value, list) else ()
    for key, item in items:
        found += _places(item, (*path, key))
    return found


def _change_json(r: Random, data: bytes, change: Callable[[Any, Any], None]) -> bytes:
    """change(container, key) somewhere in the document; of a JSON-lines file in one line."""
    lines = data.splitlines() if b"}\n{" in data.strip() else [data]
    at = r.randrange(len(lines))
    document = json.loads(lines[at])
    places = _places(document)
    if not places:
        return json.dumps(r.choice(ODD_VALUES)).encode()
    depth = r.randrange(1, max(map(len, places)) + 1)
    path = r.choice([place for place in places if len(place) <= depth])
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    change(inner, path[-1])
    lines[at] = json.dumps(document).encode()
    return b"\n".join(lines) + b"\n"


def odd_json_value(r: Random, data: bytes) -> bytes:
    def change(inner: Any, key: Any) -> None:
        inner[key] = r.choice(ODD_VALUES)

    return _change_json(r, data, change)


def lose_json_value(r: Random, data: bytes) -> bytes:
    def change(inner: Any, key: Any) -> None:
        del inner[key]

    return _change_json(r, data, change)


def rename_json_key(r: Random, data: bytes) -> bytes:
    def change(inner: Any, key: Any) -> None:
        if isinstance(inner, dict):
            inner[r.choice(("", "x", f"{key}_", str(key).upper(), "__class__", "../x", "-1"))] = inner.pop(key)
        else:
            inner.insert(key, inner[key])

    return _change_json(r, data, change)


def wrap_json_value(r: Random, data: bytes) -> bytes:
    def change(inner: Any, key: Any) -> None:
        inner[key] = r.choice((lambda v: [v], lambda v: {"value": v}, str, lambda v: [v, v], lambda v: None))(inner[key])

    return _change_json(r, data, change)


def another_json_document(r: Random, data: bytes) -> bytes:
    deep = r.choice((500, 100_000))
    return r.choice(
        (b"[" * deep + b"]" * deep, b'{"a":' * deep + b"1" + b"}" * deep, b"1", b"null", b'"x"', b"[]", b"{}", b"NaN", b"[1, 2")
    )


YAML_TRICKS = (
    b"a: &a [x, x, x, x, x, x, x, x, x]\n"
    + b"".join(b"%c: &%c [%s]\n" % (k, k, b", ".join([b"*%c" % (k - 1)] * 9)) for k in range(98, 108)),
    b"model: &m {width: *m}\n",
    b"model: &m\n  self: *m\n",
    b"!!python/object/apply:os.system ['touch escaped']\n",
    b"steps: 2001-99-99\n",
    b"steps: !!int x\n",
    b"? [a, b]\n: 1\n",
    b"? {a: 1}\n: 1\n",
    b"<<: 3\n",
    b"<<: [1]\n",
    b"base: ../../../../etc/passwd\n",
    b"base: .\n",
    b"base: [x]\n",
    b"base: /dev/zero\n",
    b'base: "a\\0b"\n',
    b"1: 2\n",
    b"null: 1\n",
    b"model: {1: 2, null: 3}\n",
    b"seed: " + b"9" * 5000 + b"\n",
    b"--- a\n--- b\n",
    b"[" * 3000,
    b"a: " * 2000,
    b"steps: 1:2:3\n",
    b"steps: .nan\n",
    b"learning_rate: .inf\n",
    b"seed: 0o17\n",
    b"steps: !!binary x\n",
    b"%YAML 9.9\n---\na: 1\n",
    b"model: !!set {a, b}\n",
    b"model: !!timestamp 2001-01-01\n",
    b"steps: !!float ''\n",
)


def yaml_trick(r: Random, data: bytes) -> bytes:
    trick = r.choice(YAML_TRICKS)
    return r.choice((trick, trick + data, data + trick))
