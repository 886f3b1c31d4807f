"""Texts as token numbers: the byte-pair encoding of CLIP's text tower (Sennrich et al. 2016; Radford et al. 2021).

A text is lower-cased and cut into words; a word is a row of bytes, each written as one printable character, the last one
with the end-of-word mark `</w>`; then the pair that comes first in a list of merges is joined until no pair is in the list.
The vocabulary is 256 bytes, 256 bytes that end a word, one token per merge, start and end. With the public list of 48,894
merges it has 49,408 tokens, numbered as CLIP numbers them; `learn_merges` makes a short list from own captions instead.

Deviations:
1. CLIP repairs texts with the package ftfy. Here curly quotes are straightened, and the text is composed (Unicode NFC),
   which is what that repair does to sound texts; texts that were decoded wrongly stay as they are.
2. CLIP cuts words with a pattern over Unicode's classes of letters and numbers, which Python's `re` does not know. The
   same pattern is walked through by hand; it finds the same words.
"""

from __future__ import annotations

import gzip
import html
import unicodedata
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from palmist.errors import InputError
from palmist.files.input_files import check_file, one_line, read_json

__all__ = ["CLIP_MERGES", "CLIP_VOCABULARY", "BytePairs", "learn_merges", "read_merges"]

CLIP_MERGES = 48_894
CLIP_VOCABULARY = 256 + 256 + CLIP_MERGES + 2  # 49,408
LENGTH = 77  # tokens of a text that CLIP's text tower sees
START = "<|startoftext|>"
END = "<|endoftext|>"
_WORD_END = "</w>"
_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
_STRAIGHT_QUOTES = str.maketrans({"‘": "'", "’": "'", "‚": "'", "‛": "'", "“": '"', "”": '"', "„": '"', "‟": '"'})
_FORMATS = "bpe_simple_vocab_16e6.txt(.gz), merges.txt or tokenizer.json of CLIP"
_LARGEST = 64 << 20  # bytes of a list of merges; CLIP's has 3 MB

Merge = tuple[str, str]


class BytePairs:
    """Texts to token numbers and back.

    Args:
        merges: pairs of tokens in the order in which they are joined, in the byte alphabet: `read_merges`, `learn_merges`.

    Raises:
        InputError: a merge is no pair of known tokens, or its token is there already.

    Example:
        >>> pairs = BytePairs([("i", "n"), ("in", "g</w>")])
        >>> pairs.size, pairs.decode(pairs.encode("Lifting it"))
        (516, 'lifting it')
    """

    def __init__(self, merges: Sequence[Merge]) -> None:
        letters = list(byte_alphabet().values())
        vocabulary = {token: number for number, token in enumerate(letters + [letter + _WORD_END for letter in letters])}
        for merge in merges:
            if len(merge) != 2 or merge[0] not in vocabulary or merge[1] not in vocabulary:
                raise InputError(
                    f"found the merge {merge!r}, expected two tokens that are bytes or results of earlier merges; "
                    f"take the merges from {_FORMATS}, or from learn_merges, in their order"
                )
            if merge[0] + merge[1] in vocabulary:
                raise InputError(f"the merge {merge!r} makes a token that is there already; leave it out")
            vocabulary[merge[0] + merge[1]] = len(vocabulary)
        self.merges: tuple[Merge, ...] = tuple((first, second) for first, second in merges)
        self._ranks = {merge: rank for rank, merge in enumerate(self.merges)}
        self.start = len(vocabulary)
        self.end = len(vocabulary) + 1
        self._numbers = {**vocabulary, START: self.start, END: self.end}
        self._tokens = list(self._numbers)
        self._bytes = {letter: byte for byte, letter in byte_alphabet().items()}
        self._known_words: dict[str, tuple[int, ...]] = {START: (self.start,), END: (self.end,)}

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return len(self._tokens)

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, without start and end."""
        found: list[int] = []
        for word in split_words(clean_text(text)):
            if word not in self._known_words:
                if len(self._known_words) >= 100_000:  # of a long run over many texts
                    self._known_words = {START: (self.start,), END: (self.end,)}
                self._known_words[word] = tuple(self._numbers[token] for token in self._join(_letters(word)))
            found.extend(self._known_words[word])
        return found

    def decode(self, numbers: Sequence[int] | np.ndarray) -> str:
        """The text of tokens: lower case, blanks between words; start is left out, and what follows the first end.

        Raises InputError for a number that is no token.
        """
        data = bytearray()
        for number in (int(each) for each in numbers):
            if not 0 <= number < self.size:
                raise InputError(f"found the token {number}, expected 0 to {self.size - 1}; decode with the tokens' own merges")
            if number == self.end:
                break
            if number == self.start:
                continue
            token = self._tokens[number]
            ends = token.endswith(_WORD_END) and token != _WORD_END
            data.extend(self._bytes[letter] for letter in (token.removesuffix(_WORD_END) if ends else token))
            data.extend(b" " if ends else b"")
        return data.decode("utf-8", errors="replace").strip()

    def batch(self, texts: Sequence[str], length: int = LENGTH) -> np.ndarray:
        """Texts as rows for the text tower.

        Args:
            texts: N texts.
            length: columns, at least 2.

        Returns:
            (N, length) int64: start, the text's tokens, end, then zeros. Of a text that is too long the tail is left out
            and end stands in the last column. End is the largest number of a row, so `argmax` finds it.

        Raises:
            InputError: a single text instead of a list, something that is no text, or a length below 2.
        """
        if isinstance(texts, str):
            raise InputError(f"found the text {texts!r} where a list of texts was expected; write [{texts!r}]")
        if length < 2:
            raise InputError(f"found the length {length}, expected at least 2 tokens, for start and end; CLIP's is {LENGTH}")
        rows = np.zeros((len(texts), length), dtype=np.int64)
        for row, text in zip(rows, texts, strict=True):
            inner = self.encode(text)[: length - 2]
            row[: len(inner) + 2] = [self.start, *inner, self.end]
        return rows

    def to_json(self) -> list[str]:
        """The merges, for a checkpoint's config: "first second" each."""
        return [f"{first} {second}" for first, second in self.merges]

    @classmethod
    def from_json(cls, value: Any) -> BytePairs:
        """What `to_json` gave. InputError when it is something else."""
        if not isinstance(value, list) or not all(isinstance(line, str) and len(line.split(" ")) == 2 for line in value):
            raise InputError("the merges are damaged; expected a list of texts 'first second', as BytePairs.to_json gives it")
        return cls([_pair(line) for line in value])

    def _join(self, tokens: list[str]) -> list[str]:
        """Join the pair of the lowest rank, everywhere in the word, until no pair is a merge."""
        while len(tokens) > 1:
            best = min(pairwise(tokens), key=lambda pair: self._ranks.get(pair, len(self._ranks)))
            if best not in self._ranks:
                break
            tokens = _merge_once(tokens, best)
        return tokens


# --------------------------------------------------------------------------------------------------------------------
# Words and bytes


@lru_cache(maxsize=1)
def byte_alphabet() -> dict[int, str]:
    """Every byte as one printable character, in the order of the vocabulary.

    The 188 printable characters of Latin-1 stand for themselves and come first; the others, in their order, are written
    as the characters from 256 on.
    """
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in set(printable)]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + place) for place, byte in enumerate(hidden)}


def clean_text(text: str) -> str:
    """Straight quotes, composed characters, no HTML entities, single blanks, lower case. InputError: no text."""
    if not isinstance(text, str):
        raise InputError(f"found {text!r} of type {type(text).__name__}, expected a text")
    text = html.unescape(html.unescape(text))  # twice, as CLIP does, for "&amp;amp;"
    return " ".join(unicodedata.normalize("NFC", text.translate(_STRAIGHT_QUOTES)).split()).lower()


def split_words(text: str) -> Iterator[str]:
    """CLIP's words of a clean text: English contractions, runs of letters, single digits, runs of anything else.

    >>> list(split_words("it's 10 cups!"))
    ['it', "'s", '1', '0', 'cups', '!']
    """
    place = 0
    while place < len(text):
        fixed = next((word for word in (START, END, *_CONTRACTIONS) if text.startswith(word, place)), None)
        if fixed is not None:
            yield fixed
            place += len(fixed)
            continue
        kind, after = _kind(text[place]), place + 1
        if kind in "LO":
            while after < len(text) and _kind(text[after]) == kind:
                after += 1
        if kind != " ":
            yield text[place:after]
        place = after


def _kind(character: str) -> str:
    """L a letter, N a number, blank, or O for other."""
    if character.isspace():
        return " "
    first = unicodedata.category(character)[0]
    return first if first in "LN" else "O"


def _letters(word: str) -> list[str]:
    """The word's bytes in the byte alphabet, the last one with the mark of a word's end."""
    letters = [byte_alphabet()[byte] for byte in word.encode("utf-8", errors="replace")]
    return [*letters[:-1], letters[-1] + _WORD_END]


def _merge_once(tokens: Sequence[str], merge: Merge) -> list[str]:
    """Join every occurrence of one pair, from left to right."""
    joined: list[str] = []
    place = 0
    while place < len(tokens):
        if tuple(tokens[place : place + 2]) == merge:
            joined.append(merge[0] + merge[1])
            place += 2
        else:
            joined.append(tokens[place])
            place += 1
    return joined


# --------------------------------------------------------------------------------------------------------------------
# Where merges come from


def learn_merges(texts: Sequence[str], count: int) -> list[Merge]:
    """Merges that shorten these texts most: join the most frequent pair, again and again.

    The same texts, in any order, give the same merges: of pairs that are equally frequent the first in alphabetical order
    is taken.

    Args:
        texts: captions.
        count: how many merges, at most: pairs that occur once are not joined.

    Returns:
        The merges in order; 514 + their number is the vocabulary's size.

    Raises:
        InputError: count below 0, or something that is no text.

    Example:
        >>> learn_merges(["hand hands", "hand"], 2)
        [('a', 'n'), ('h', 'an')]
    """
    if count < 0:
        raise InputError(f"found {count} merges to learn, expected 0 or more")
    if isinstance(texts, str):
        raise InputError(f"found the text {texts!r} where a list of texts was expected; write [{texts!r}]")
    frequency = Counter(word for text in texts for word in split_words(clean_text(text)) if word not in (START, END))
    words = [(_letters(word), frequency[word]) for word in sorted(frequency)]
    pairs: Counter[Merge] = Counter()
    where: defaultdict[Merge, set[int]] = defaultdict(set)  # pair -> words that hold it or held it
    for number, (tokens, times) in enumerate(words):
        for pair in pairwise(tokens):
            pairs[pair] += times
            where[pair].add(number)
    merges: list[Merge] = []
    made: set[str] = set()
    while len(merges) < count:
        candidates = [(-times, pair) for pair, times in pairs.items() if times > 1 and pair[0] + pair[1] not in made]
        if not candidates:
            break
        _, best = min(candidates)
        merges.append(best)
        made.add(best[0] + best[1])
        for number in where.pop(best):
            tokens, times = words[number]
            merged = _merge_once(tokens, best)
            pairs.subtract({pair: times * held for pair, held in Counter(pairwise(tokens)).items()})
            for pair in pairwise(merged):
                pairs[pair] += times
                where[pair].add(number)
            words[number] = (merged, times)
    return merges


def read_merges(path: str | Path, expected: int | None = CLIP_MERGES) -> list[Merge]:
    """The merges of a public tokenizer, from a local file.

    Args:
        path: bpe_simple_vocab_16e6.txt or .txt.gz as CLIP and open_clip carry it; a merges.txt, whose vocab.json is
            checked when it lies beside it; a tokenizer.json; or the folder with one of them.
        expected: how many merges are needed; None: all that there are.

    Raises:
        InputError: no such file, another format, or a vocabulary of another size or order than CLIP's.

    Example:
        >>> pairs = BytePairs(read_merges("clip/bpe_simple_vocab_16e6.txt.gz"))
        >>> pairs.size
        49408
    """
    path = _tokenizer_file(Path(path))
    vocabulary: Mapping[str, int] | None = None
    if path.name.endswith(".json"):
        merges, vocabulary = _read_tokenizer_json(path)
    else:
        merges = _read_merge_lines(path)
        beside = path.with_name("vocab.json")
        if path.name == "merges.txt" and beside.is_file():
            vocabulary = _read_json(beside)
    # CLIP's own file goes on to 262,145 lines and CLIP reads the first ones.
    if expected is not None and len(merges) > expected and "bpe_simple_vocab" in path.name:
        merges = merges[:expected]
    if expected is not None and len(merges) != expected:
        raise InputError(
            f"{path} holds {len(merges):,} merges, a vocabulary of {len(merges) + 514:,} tokens, expected {expected:,} and "
            f"{expected + 514:,}; give {_FORMATS}, whole"
        )
    if vocabulary is not None:
        _check_vocabulary(path, merges, vocabulary)
    return merges


def _tokenizer_file(path: Path) -> Path:
    if path.name == "vocab.json":  # numbers without merges; those are beside it
        path = path.with_name("merges.txt")
    if path.is_dir():
        names = ("bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt", "tokenizer.json", "merges.txt")
        found = next((path / name for name in names if (path / name).is_file()), None)
        if found is None:
            raise InputError(f"{path} holds no tokenizer; expected {_FORMATS} in it")
        return found
    if not path.exists():
        raise InputError(f"{path} is not there; expected {_FORMATS}")
    return path


def _read_merge_lines(path: Path) -> list[Merge]:
    check_file(path, _FORMATS)
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
        with gzip.open(path) if packed else path.open("rb") as stream:
            data = stream.read(_LARGEST + 1)
        text = data.decode("utf-8")
    except (EOFError, OSError, zlib.error, ValueError) as error:
        raise InputError(f"{path} is damaged or no list of merges ({one_line(error)}); expected {_FORMATS}") from error
    if len(data) > _LARGEST:
        raise InputError(f"{path} is longer than {_LARGEST:,} bytes when unpacked; expected {_FORMATS}")
    lines = text.rstrip("\n").split("\n")
    first = 1 if "#version" in lines[0] else 0
    merges = []
    for number, line in enumerate(lines[first:], first + 1):
        if len(line.rstrip("\r").split(" ")) != 2:
            raise InputError(f"{path} line {number} is {line[:40]!r}, expected two tokens and a blank between; give {_FORMATS}")
        merges.append(_pair(line.rstrip("\r")))
    return merges


def _read_tokenizer_json(path: Path) -> tuple[list[Merge], Mapping[str, int]]:
    model = _read_json(path).get("model")
    if not isinstance(model, dict) or model.get("end_of_word_suffix") != _WORD_END or not isinstance(model.get("vocab"), dict):
        raise InputError(f"{path} is not the tokenizer of CLIP (byte pairs with the word end {_WORD_END}); give {_FORMATS}")
    merges = []
    if not isinstance(model.get("merges"), list):
        raise InputError(f"{path} holds no list of merges; give {_FORMATS}")
    for entry in model["merges"]:
        parts = entry.split(" ") if isinstance(entry, str) else entry
        if not isinstance(parts, list) or len(parts) != 2 or not all(isinstance(part, str) for part in parts):
            raise InputError(f"{path} holds the merge {str(entry)[:40]!r}, expected two tokens; give {_FORMATS}")
        merges.append((parts[0], parts[1]))
    return merges, model["vocab"]


def _read_json(path: Path) -> dict[str, Any]:
    value = read_json(path, _FORMATS)
    if not isinstance(value, dict):
        raise InputError(f"{path} holds a {type(value).__name__}, expected a JSON object; give {_FORMATS}")
    return value


def _check_vocabulary(path: Path, merges: Sequence[Merge], vocabulary: Mapping[str, int]) -> None:
    """The numbers that a file gives its tokens must be ours."""
    own = BytePairs(merges)
    if len(vocabulary) != own.size:
        raise InputError(f"{path} has a vocabulary of {len(vocabulary):,} tokens, expected {own.size:,}; give {_FORMATS}")
    for number, token in enumerate(own._tokens):
        if vocabulary.get(token) != number:
            raise InputError(
                f"{path} gives the token {token!r} the number {vocabulary.get(token)}, expected {number}; give {_FORMATS}"
            )


def _pair(line: str) -> Merge:
    first, second = line.split(" ")
    return first, second
