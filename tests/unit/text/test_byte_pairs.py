from __future__ import annotations

import gzip
import json
import os
import random
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from palmist.errors import InputError
from palmist.text.byte_pairs import (
    CLIP_VOCABULARY,
    BytePairs,
    byte_alphabet,
    clean_text,
    learn_merges,
    load_merges,
    split_words,
)

CAPTIONS = [
    "the right hand moves up, then right; the cup stays below it",
    "the left hand lifts the cup", "both hands hold the bowl: the left one doesn't move",
    "C picks the knife with the right hand", "the hands approach each other, it's 10 cm", "Café crème - naïve 手 10²",
]  # fmt: skip


def test_the_byte_alphabet_is_clips() -> None:
    alphabet = byte_alphabet()
    assert len(alphabet) == len(set(alphabet.values())) == 256
    assert (alphabet[33], alphabet[0], alphabet[32], alphabet[10]) == ("!", "Ā", "Ġ", "Ċ")
    assert list(alphabet)[:2] == [33, 34]
    assert list(alphabet)[188:190] == [0, 1]  # the hidden ones come last


def test_numbers_by_hand() -> None:
    # "!" is 0, so a letter stands at its code - 33; 256 more with a word's end; merges from 512; then start and end.
    pairs = BytePairs([("h", "a"), ("n", "d</w>"), ("ha", "nd</w>")])
    assert (pairs.size, pairs.start, pairs.end) == (517, 515, 516)
    assert pairs.encode("a") == [ord("a") - 33 + 256]
    assert pairs.encode("Hand") == [514]
    assert pairs.encode("hands") == [512, ord("n") - 33, ord("d") - 33, ord("s") - 33 + 256]  # "d" does not end the word
    assert pairs.encode("ah") == [ord("a") - 33, ord("h") - 33 + 256]
    assert pairs.encode("  hand\n\thand ") == [514, 514]
    assert pairs.encode("") == []


def test_merges_go_by_rank_not_by_place() -> None:
    # "abc": (b, c) comes first in the list, so (a, b) finds no b left, though it stands further left.
    assert BytePairs([("b", "c</w>"), ("a", "b")]).encode("abc") == [ord("a") - 33, 512]
    assert BytePairs([("a", "b"), ("b", "c</w>")]).encode("abc") == [512, ord("c") - 33 + 256]
    assert BytePairs([("a", "a")]).encode("aaaa") == [512, ord("a") - 33, ord("a") - 33 + 256]  # the last a is "a</w>"


def test_words_by_hand() -> None:
    assert list(split_words("it's 10 cups!")) == ["it", "'s", "1", "0", "cups", "!"]
    assert list(split_words("we'll don't 'tis")) == ["we", "'ll", "don", "'t", "'t", "is"]
    assert list(split_words("a_b--c...3²手x")) == ["a", "_", "b", "--", "c", "...", "3", "²", "手x"]
    assert list(split_words("!'s")) == ["!'", "s"]  # a run of other characters takes the quote with it
    assert list(split_words("x<|endoftext|>y")) == ["x", "<|endoftext|>", "y"]


def test_cleaning() -> None:
    assert clean_text("  Fish &amp;amp; CHIPS\u00a0\u2028x ") == "fish & chips x"
    assert clean_text("it\u2019s \u201cfine\u201d") == 'it\'s "fine"'
    assert clean_text("cafe\u0301") == "caf\u00e9"
    with pytest.raises(InputError, match="of type int, expected a text"):
        clean_text(3)  # type: ignore[arg-type]


def test_batch() -> None:
    pairs = BytePairs([])
    rows = pairs.batch(["ab", "abcdefgh", ""], length=5)
    a, b, c = (ord(letter) - 33 for letter in "abc")
    assert rows.dtype == np.int64
    assert rows.tolist() == [
        [512, a, b + 256, 513, 0], [512, a, b, c, 513], [512, 513, 0, 0, 0],
    ]  # fmt: skip
    assert rows.argmax(1).tolist() == [3, 4, 1]
    assert pairs.batch(CAPTIONS).shape == (len(CAPTIONS), 77)
    assert pairs.batch([]).shape == (0, 77)
    with pytest.raises(InputError, match="a list of texts"):
        pairs.batch("ab")
    with pytest.raises(InputError, match="at least 2"):
        pairs.batch(["ab"], length=1)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40))
def test_text_comes_back(text: str) -> None:
    pairs = BytePairs(learn_merges(CAPTIONS, 60))
    words = [word for word in split_words(clean_text(text)) if word not in ("<|startoftext|>", "<|endoftext|>")]
    assert pairs.decode(pairs.encode(" ".join(words))).split() == " ".join(words).split()
    assert max(pairs.encode(text), default=0) < pairs.size


def test_decode_stops_at_the_end() -> None:
    pairs = BytePairs(learn_merges(CAPTIONS, 40))
    assert pairs.decode(pairs.batch([CAPTIONS[1]])[0]) == CAPTIONS[1]
    assert pairs.decode([pairs.start, *pairs.encode("cup"), pairs.end, *pairs.encode("left")]) == "cup"
    with pytest.raises(InputError, match="found the token 9999"):
        pairs.decode([9999])


# --------------------------------------------------------------------------------------------------------------------
# Learning


def literal_merges(texts: list[str], count: int) -> list[tuple[str, str]]:
    """Byte pairs as told: count all pairs anew for every merge."""
    alphabet = byte_alphabet()
    words = []
    for text in texts:
        for word in split_words(clean_text(text)):
            letters = [alphabet[byte] for byte in word.encode()]
            words.append([*letters[:-1], letters[-1] + "</w>"])
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs = Counter((a, b) for word in words for a, b in pairwise(word))
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if pairs[best] < 2:
            break
        merges.append(best)
        for word in words:
            place = 0
            while place < len(word) - 1:
                if (word[place], word[place + 1]) == best:
                    word[place : place + 2] = ["".join(best)]
                place += 1
    return merges


def test_learning_by_hand() -> None:
    # hand, hands, hand: "a n" three times and "h a" three times ("d</w>" and "d s</w>" fewer); alphabet decides.
    assert learn_merges(["hand hands", "hand"], 2) == [("a", "n"), ("h", "an")]
    assert learn_merges(["ab ab xy"], 5) == [("a", "b</w>")]  # nothing else occurs twice
    assert learn_merges([], 5) == []
    with pytest.raises(InputError, match="0 or more"):
        learn_merges(CAPTIONS, -1)


def test_learning_equals_the_literal_version_in_any_order() -> None:
    texts = CAPTIONS * 3 + ["aaaa aaaaa banana bananas anan"]
    wanted = literal_merges(texts, 90)
    assert learn_merges(texts, 90) == wanted
    assert len(wanted) > 50
    random.Random(0).shuffle(texts)
    assert learn_merges(texts, 90) == wanted


def test_a_checkpoint_keeps_the_merges() -> None:
    pairs = BytePairs(learn_merges(CAPTIONS, 50))
    again = BytePairs.from_json(json.loads(json.dumps(pairs.to_json())))
    assert again.merges == pairs.merges
    np.testing.assert_array_equal(again.batch(CAPTIONS), pairs.batch(CAPTIONS))
    with pytest.raises(InputError, match="merges are damaged"):
        BytePairs.from_json(["a b", "ab"])
    with pytest.raises(InputError, match="results of earlier merges"):
        BytePairs.from_json(["ab c"])
    with pytest.raises(InputError, match="there already"):
        BytePairs([("a", "b"), ("a", "b")])


# --------------------------------------------------------------------------------------------------------------------
# Files, and the package `tokenizers` as the judge


def write_files(folder: Path, merges: list[tuple[str, str]]) -> dict[str, Path]:
    """The three public formats, with a few merges."""
    pairs = BytePairs(merges)
    lines = "".join(f"{first} {second}\n" for first, second in merges)
    files = {name: folder / name for name in ("bpe_simple_vocab_16e6.txt.gz", "merges.txt", "vocab.json", "tokenizer.json")}
    surplus = "x y\n" * 10  # CLIP's file holds more lines than CLIP reads
    files["bpe_simple_vocab_16e6.txt.gz"].write_bytes(
        gzip.compress(f'"bpe_simple_vocab_16e6.txt#version: 0.2\n{lines}{surplus}'.encode())
    )
    files["merges.txt"].write_text(f"#version: 0.2\n{lines}", encoding="utf-8")
    vocabulary = {token: number for number, token in enumerate(pairs._tokens)}
    files["vocab.json"].write_text(json.dumps(vocabulary), encoding="utf-8")
    model = {
        "type": "BPE", "end_of_word_suffix": "</w>", "vocab": vocabulary, "merges": [f"{a} {b}" for a, b in merges],
    }  # fmt: skip
    files["tokenizer.json"].write_text(json.dumps({"model": model}), encoding="utf-8")
    return files


def test_every_public_format_gives_the_same_merges(tmp_path: Path) -> None:
    merges = learn_merges(CAPTIONS * 2, 60)
    files = write_files(tmp_path, merges)
    for name, file in files.items():
        assert load_merges(file, expected=len(merges)) == merges, name
    assert load_merges(tmp_path, expected=len(merges)) == merges
    modern = json.loads(files["tokenizer.json"].read_text(encoding="utf-8"))
    modern["model"]["merges"] = [list(merge) for merge in merges]
    files["tokenizer.json"].write_text(json.dumps(modern), encoding="utf-8")
    assert load_merges(files["tokenizer.json"], expected=None) == merges


def test_wrong_files_are_named(tmp_path: Path) -> None:
    files = write_files(tmp_path, learn_merges(CAPTIONS * 2, 60))
    for name in ("merges.txt", "tokenizer.json", "vocab.json"):
        with pytest.raises(InputError, match=r"60 merges, a vocabulary of 574 tokens, expected 48,894 and 49,408"):
            load_merges(files[name])
    packed = files["bpe_simple_vocab_16e6.txt.gz"]
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(InputError, match="is damaged"):
        load_merges(packed)
    files["merges.txt"].write_text("#version\na b c\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"line 2 is 'a b c'"):
        load_merges(files["merges.txt"])
    with pytest.raises(InputError, match="is not there"):
        load_merges(tmp_path / "none.txt")
    files["tokenizer.json"].write_text('{"model": {"type": "WordPiece", "vocab": {"a": 0}}}', encoding="utf-8")
    with pytest.raises(InputError, match="not the tokenizer of CLIP"):
        load_merges(files["tokenizer.json"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no tokenizer"):
        load_merges(tmp_path / "empty")


def test_a_vocabulary_in_another_order_is_refused(tmp_path: Path) -> None:
    files = write_files(tmp_path, learn_merges(CAPTIONS * 2, 60))
    vocabulary = json.loads(files["vocab.json"].read_text(encoding="utf-8"))
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]
    files["vocab.json"].write_text(json.dumps(vocabulary), encoding="utf-8")
    with pytest.raises(InputError, match="gives the token 'a' the number 65, expected 64"):
        load_merges(files["merges.txt"], expected=60)
    files["vocab.json"].write_text('{"a": 0, "b": 1}', encoding="utf-8")  # what a tokenizer that found no files has
    with pytest.raises(InputError, match="a vocabulary of 2 tokens, expected 574"):
        load_merges(files["merges.txt"], expected=60)


def judge(pairs: BytePairs):  # type: ignore[no-untyped-def]  # the type belongs to an optional package
    """CLIP's tokenizer, put together from the package `tokenizers` as Hugging Face puts it."""
    tokenizers = pytest.importorskip("tokenizers")
    from tokenizers import models, normalizers, pre_tokenizers

    vocabulary = {token: number for number, token in enumerate(pairs._tokens)}
    model = models.BPE(
        vocabulary, list(pairs.merges), unk_token="<|endoftext|>", continuing_subword_prefix="", end_of_word_suffix="</w>",
        fuse_unk=False,
    )  # fmt: skip
    found = tokenizers.Tokenizer(model)
    found.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(tokenizers.Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    pattern = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    found.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(pattern), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return found


TRICKY = [
    "", "It's   the RIGHT hand's 2nd cup!!", "x'll y've '''s", "½ cup² ①②", "na\u00efve 手 рука हाथ ไทย", "emoji 👍🏽 ok",
    "a\u0301b", "snake_case and kebab-case: 3.14", "___ '' \"quoted\"", "tab\tand\nline", "x" * 300,
]  # fmt: skip


def test_parity_with_the_package_tokenizers() -> None:
    pairs = BytePairs(learn_merges(CAPTIONS * 2 + TRICKY * 2, 150))
    other = judge(pairs)
    for text in CAPTIONS + TRICKY:
        assert pairs.encode(text) == other.encode(text).ids, text


def test_the_public_vocabulary() -> None:
    path = os.environ.get("PALMIST_CLIP_MERGES")
    if not path:
        pytest.skip("set PALMIST_CLIP_MERGES to bpe_simple_vocab_16e6.txt.gz to run it")
    pairs = BytePairs(load_merges(path))
    assert pairs.size == CLIP_VOCABULARY
    assert pairs.batch(["a photo of a cat"], 9).tolist() == [[49406, 320, 1125, 539, 320, 2368, 49407, 0, 0]]
    other = judge(pairs)
    for text in CAPTIONS + TRICKY:
        assert pairs.encode(text) == other.encode(text).ids, text
