"""Rewriting: what a model answers counts only if it says what the facts say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chat_server import ChatServer, chat_server, completion, hang_up, narration, raw, status
from palmist.errors import InputError
from palmist.narration.chat import ChatEndpoint, RefusalError
from palmist.narration.facts import Facts, HandFacts, Piece
from palmist.narration.rewrite import OUTCOMES, Rewrite, Rewriter, fault, read_answer
from palmist.narration.sentences import sentence

KEY = "sk-very-secret-0123456789"
FACTS = Facts(
    1.0,
    {
        "right": HandFacts(1.0, (Piece(0.0, 0.5, "up", 0.2), Piece(0.5, 1.0, "right", 0.2))),
        "left": HandFacts(1.0, (Piece(0.0, 1.0, "stays", 0.0),)),
    },
)
TEMPLATE = "The right hand moves up and then to the right; the left hand stays still."
GOOD = "The right hand lifts up and then sweeps to the right while the left hand stays still."
WRONG_SIDE = "The left hand lifts up and then sweeps to the right while the right hand stays still."
WRONG_WAY = "The right hand lifts up and then sweeps to the left while the left hand stays still."


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


def rewriter(server: ChatServer, cache: Path | None = None, **options: object) -> Rewriter:
    endpoint = ChatEndpoint(server.url, "tiny", KEY, sleep=lambda _: None, **options)  # type: ignore[arg-type]
    return Rewriter(endpoint, cache)


def test_the_template_of_these_facts_is_the_one_below() -> None:
    assert sentence(FACTS) == TEMPLATE


def test_a_true_rewrite_is_taken_and_kept(tmp_path: Path) -> None:
    with chat_server(narration(GOOD), status(500)) as server:
        assert rewriter(server, tmp_path).rewrite(TEMPLATE, FACTS, "C lifts the cup") == Rewrite(GOOD, "llm")
        again = rewriter(server, tmp_path)
        assert again.rewrite(TEMPLATE, FACTS, "C lifts the cup") == Rewrite(GOOD, "cache")
        assert again.endpoint.requests == 0
        assert again.counts == {"cache": 1}
        assert again.rewrite(TEMPLATE, FACTS, "C lifts the mug").outcome == "failed"  # another caption is another question
    kept = "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert GOOD in kept
    assert KEY not in kept


def test_the_model_gets_draft_facts_and_caption_and_no_picture() -> None:
    with chat_server(narration(GOOD)) as server:
        rewriter(server).rewrite(TEMPLATE, FACTS, "C lifts the cup")
    *_, question = server.asked[0].body["messages"]
    assert json.loads(question["content"]) == {
        "draft": TEMPLATE,
        "caption": "C lifts the cup",
        "facts": {
            "right hand": ["up", "right"],
            "left hand": ["stays"],
            "contact": {"right hand": ["none"], "left hand": ["none"]},
        },
    }
    assert "image" not in json.dumps(server.asked[0].body)


def test_the_examples_of_the_prompt_keep_the_rules_themselves() -> None:
    with chat_server(narration(GOOD)) as server:
        rewriter(server).rewrite(TEMPLATE, FACTS)
    shown = server.asked[0].body["messages"][1:-1]
    assert len(shown) == 4
    for question, answer in zip(shown[::2], shown[1::2], strict=True):
        assert fault(read_answer(answer["content"]), json.loads(question["content"])["draft"]) is None


@pytest.mark.parametrize("wrong", [WRONG_SIDE, WRONG_WAY])
def test_a_changed_side_or_direction_is_mended_once(wrong: str) -> None:
    with chat_server(narration(wrong), narration(GOOD)) as server:
        assert rewriter(server).rewrite(TEMPLATE, FACTS) == Rewrite(GOOD, "llm")
    repair = server.asked[1].body["messages"]
    assert json.loads(repair[-2]["content"])["narration"] == wrong
    assert "it adds" in repair[-1]["content"]
    assert "it leaves out" in repair[-1]["content"]


@pytest.mark.parametrize("wrong", [WRONG_SIDE, WRONG_WAY])
def test_a_second_false_rewrite_is_rejected_and_the_verdict_kept(wrong: str, tmp_path: Path) -> None:
    with chat_server(narration(wrong)) as server:
        made = rewriter(server, tmp_path).rewrite(TEMPLATE, FACTS)
        assert (made.text, made.outcome) == (TEMPLATE, "rejected")
        assert "it adds" in made.reason
        assert len(server.asked) == 2
        assert rewriter(server, tmp_path).rewrite(TEMPLATE, FACTS) == made
        assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (GOOD, None),
        (TEMPLATE, None),
        ("The right hand rises and then goes to the right as the left hand stays still.", None),
        (WRONG_SIDE, "it adds"),
        (WRONG_WAY, "right hand: left"),
        ("The right hand moves up and then to the right.", "it leaves out left hand: stays"),
        ("The right hand moves up and to the right; the left hand stays still.", "up and to the right"),
        ("The right hand moves to the right and then up; the left hand stays still.", "in the order right, up"),
        ("The right hand moves down and then to the right; the left hand stays still.", "right hand: down"),
        ("Both hands move up and then to the right.", "left hand: up"),
        (f"{GOOD} {'Well. ' * 80}", "words"),
    ],
)
def test_fault(text: str, wrong: str | None) -> None:
    found = fault(text, TEMPLATE)
    assert found is None if wrong is None else wrong in str(found)


def test_mirrored_words_are_a_fault() -> None:
    from palmist.skeleton import mirror_words

    assert fault(mirror_words(GOOD), TEMPLATE) is not None
    assert fault(mirror_words(GOOD), mirror_words(TEMPLATE)) is None


@pytest.mark.parametrize(
    "answer",
    [
        completion("The right hand moves up."), completion('{"text": "x"}'), completion('{"narration": 3}'),
        completion('{"narration": "x", "more": 1}'), completion('["narration"]'), completion('{"narration": "x'),
        completion('{"narration": "a\\u0000b"}'), completion("[" * 5000),
    ],
)  # fmt: skip
def test_answers_of_another_schema_are_rejected_after_one_repair(answer) -> None:
    with chat_server(answer) as server:
        made = rewriter(server).rewrite(TEMPLATE, FACTS)
    assert (made.text, made.outcome) == (TEMPLATE, "rejected")
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    "answer",
    [
        completion("I cannot help with that."), completion("I'm sorry, but I can’t."), narration("I cannot describe people."),
        completion(""), narration("  "), completion("cut", finish="content_filter"), completion(None, refusal="no"),
    ],
)  # fmt: skip
def test_refusals_leave_the_template(answer, tmp_path: Path) -> None:
    with chat_server(answer) as server:
        first = rewriter(server, tmp_path).rewrite(TEMPLATE, FACTS)
        assert (first.text, first.outcome) == (TEMPLATE, "refused")
        assert rewriter(server, tmp_path).rewrite(TEMPLATE, FACTS) == first
    assert len(server.asked) == 1


@pytest.mark.parametrize("answer", [status(500), hang_up, raw(b"<html>")])
def test_no_answer_leaves_the_template_and_is_not_kept(answer, tmp_path: Path) -> None:
    with chat_server(answer) as server:
        made = rewriter(server, tmp_path, attempts=2).rewrite(TEMPLATE, FACTS)
    assert (made.text, made.outcome) == (TEMPLATE, "failed")
    with chat_server(narration(GOOD)) as server:
        assert rewriter(server, tmp_path).rewrite(TEMPLATE, FACTS).outcome == "llm"


def test_a_dead_endpoint_is_asked_no_more() -> None:
    with chat_server(status(500)) as server:
        asking = rewriter(server, attempts=1)
        outcomes = [asking.rewrite(TEMPLATE, FACTS, str(n)) for n in range(8)]
        assert len(server.asked) == 5
    assert {made.outcome for made in outcomes} == {"failed"}
    assert "not asked" in outcomes[-1].reason
    assert asking.counts == {"failed": 8}


def test_one_answer_in_between_revives_it() -> None:
    answers = [status(500)] * 4 + [narration(GOOD)] + [status(500)]
    with chat_server(*answers) as server:
        asking = rewriter(server, attempts=1)
        outcomes = [asking.rewrite(TEMPLATE, FACTS, str(n)).outcome for n in range(9)]
        assert len(server.asked) == 9
    assert outcomes == ["failed"] * 4 + ["llm"] + ["failed"] * 4


def test_a_wrong_key_ends_the_run() -> None:
    with chat_server(status(401)) as server, pytest.raises(InputError, match="PALMIST_LLM_KEY"):
        rewriter(server).rewrite(TEMPLATE, FACTS)


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"outcome": "llm"}', b'{"outcome": "llm", "text": 3, "reason": ""}', b"\xff"]
)
def test_a_damaged_cache_is_asked_anew(damage: bytes, tmp_path: Path) -> None:
    with chat_server(narration(GOOD)) as server:
        rewriter(server, tmp_path).rewrite(TEMPLATE, FACTS)
        (path,) = tmp_path.rglob("*.json")
        path.write_bytes(damage)
        assert rewriter(server, tmp_path).rewrite(TEMPLATE, FACTS) == Rewrite(GOOD, "llm")


def test_a_kept_answer_that_is_false_is_not_believed(tmp_path: Path) -> None:
    with chat_server(narration(GOOD)) as server:
        rewriter(server, tmp_path).rewrite(TEMPLATE, FACTS)
        (path,) = tmp_path.rglob("*.json")
        path.write_text(path.read_text().replace("to the right", "to the left"))
        assert rewriter(server, tmp_path).rewrite(TEMPLATE, FACTS) == Rewrite(GOOD, "llm")
        assert len(server.asked) == 2


def test_another_model_is_another_question(tmp_path: Path) -> None:
    with chat_server(narration(GOOD)) as server:
        rewriter(server, tmp_path).rewrite(TEMPLATE, FACTS)
        Rewriter(ChatEndpoint(server.url, "other"), tmp_path).rewrite(TEMPLATE, FACTS)
        assert len(server.asked) == 2


@pytest.mark.parametrize(
    "answer",
    [
        '{"narration": "x y"}', ' {"narration": " x\\n y "} ',
        '```json\n{"narration": "x y"}\n```', '```\n{"narration": "x y"}```',
        '<think>left or right?</think>\n{"narration": "x y"}',
    ],
)  # fmt: skip
def test_read_answer(answer: str) -> None:
    assert read_answer(answer) == "x y"


def test_read_answer_knows_refusals() -> None:
    with pytest.raises(RefusalError):
        read_answer("As an AI, I cannot watch videos.")
    assert set(OUTCOMES) == {"template", "llm", "cache", "rejected", "refused", "failed"}
