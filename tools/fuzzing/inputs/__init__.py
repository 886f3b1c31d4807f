"""Seeded damage to the files that a user may hand to Palmist: bytes, text, JSON, YAML, .npz, weights, videos, folders.

Every damage is a function of (random, bytes) or, for folders, of (random, path); the same seed gives the same damage.
`DAMAGES` names them with the kinds of file they fit and the rule by which what comes out is judged:

    data     the damaged file is legal in its format; refused, or an object that passes its own checks
    same     refused, or the very object of the undamaged file: the format has a length or a checksum, or nothing changed
    noticed  refused, unknown in the result, or named by the damage report of the result
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from fuzzing.inputs import archives, arrays, documents, places, raw, text, videos, weights

TEXT = frozenset({"text", "json", "jsonl", "yaml"})
ZIPS = frozenset({"npz", "torch"})
BYTES = TEXT | ZIPS | {"npy", "pickle", "safetensors", "video", "picture", "gzip", "binary"}
ARRAYS = frozenset({"npz"})
#: Formats with a length or a checksum of their own, in which a cut cannot go unseen.
FRAMED = frozenset({"npz", "json", "pickle", "safetensors", "torch", "gzip"})
_KINDS = {
    ".json": "json", ".jsonl": "jsonl", ".yaml": "yaml", ".npz": "npz", ".npy": "npy", ".pkl": "pickle",
    ".safetensors": "safetensors", ".pth": "torch", ".pt": "torch", ".gz": "gzip", ".faiss": "binary", ".mp4": "video",
    ".MP4": "video", ".webm": "video", ".avi": "video", ".jpg": "picture",
}  # fmt: skip


@dataclass(frozen=True)
class Damage:
    """name; kinds of file it fits; rule (see above); apply(random, bytes) -> bytes, or None for damage to the folder."""

    name: str
    kinds: frozenset[str]
    rule: str
    apply: Callable[[Random, bytes], bytes] | None = None
    place: Callable[[Random, Path], None] | None = None


def kind_of(path: Path) -> str:
    """What a file is, by its name: one of BYTES."""
    return _KINDS.get(path.suffix, "text")


_BYTE_DAMAGES = (
    raw.cut, raw.cut_near_an_end, raw.flip_bits, raw.flip_early_bits, raw.zero_block, raw.lose_block, raw.repeat_block,
    raw.append_noise, raw.only_noise, raw.nothing, raw.another_format,
)  # fmt: skip
_TEXT_DAMAGES = (
    text.odd_number, text.many_odd_numbers, text.odd_word, text.lose_lines, text.repeat_lines, text.reverse_lines,
    text.exchange_lines, text.lose_a_column, text.add_a_column, text.empty_a_column, text.another_encoding, text.bad_utf8,
    text.odd_characters, text.one_long_line, text.odd_white_space,
)  # fmt: skip
_JSON_DAMAGES = (
    documents.odd_json_value, documents.lose_json_value, documents.rename_json_key, documents.wrap_json_value,
    documents.another_json_document,
)  # fmt: skip
_ZIP_DAMAGES = (archives.zip_names, archives.zip_twice, archives.zip_fields)
_NPZ_DAMAGES = {
    "same": (archives.huge_header, archives.zip_bomb, arrays.same_numbers_otherwise),
    "data": (
        archives.odd_npy_header, arrays.lose_an_array, arrays.rename_an_array, arrays.exchange_arrays, arrays.wrong_shape,
        arrays.wrong_type, arrays.absurd_whole_number, arrays.exchanged_hands, arrays.odd_text_in_array,
    ),
    "noticed": (
        arrays.not_a_number, arrays.infinite, arrays.absurd_value, arrays.reversed_times, arrays.repeated_time,
        arrays.absurd_time,
    ),
}  # fmt: skip
_PLACE_DAMAGES = (
    places.lose_the_file, places.folder_instead, places.pipe_instead, places.endless_device_instead, places.link_to_itself,
    places.another_file_instead, places.odd_name, places.file_beside_it,
)  # fmt: skip

DAMAGES: tuple[Damage, ...] = (
    *(Damage(f.__name__, BYTES, "data", f) for f in _BYTE_DAMAGES),
    *(Damage(f.__name__, TEXT, "data", f) for f in _TEXT_DAMAGES),
    *(Damage(f.__name__, frozenset({"json", "jsonl"}), "data", f) for f in _JSON_DAMAGES),
    *(Damage(f.__name__, ZIPS, "data", f) for f in _ZIP_DAMAGES),
    *(Damage(f.__name__, ARRAYS, rule, f) for rule, functions in _NPZ_DAMAGES.items() for f in functions),
    Damage("yaml_trick", frozenset({"yaml"}), "data", documents.yaml_trick),
    Damage("pickle_trick", frozenset({"pickle"}), "data", weights.pickle_trick),
    Damage("odd_pickle", frozenset({"pickle"}), "data", weights.odd_pickle),
    Damage("torch_pickle_trick", frozenset({"torch"}), "data", weights.torch_pickle_trick),
    Damage("safetensors_header", frozenset({"safetensors"}), "same", weights.safetensors_header),
    Damage("odd_tensor", frozenset({"safetensors", "torch"}), "data", weights.odd_tensor),
    Damage("not_finite_tensor", frozenset({"safetensors", "torch"}), "noticed", weights.not_finite_tensor),
    Damage("gzip_trick", frozenset({"gzip"}), "data", archives.gzip_trick),
    Damage("video_fields", frozenset({"video"}), "data", videos.video_fields),
    *(Damage(f.__name__, BYTES, "data", None, f) for f in _PLACE_DAMAGES),
)

#: Damage to bytes that a format with a checksum (.npz, safetensors with ours) must notice.
BYTE_DAMAGES = frozenset(f.__name__ for f in _BYTE_DAMAGES)
CUTS = frozenset({"cut", "cut_near_an_end"})


def rule_of(damage: Damage, kind: str, checked: bool = True) -> str:
    """The rule for a damage to a file of this kind (head of this module); checked: a checksum is kept of its bytes."""
    if damage.name in BYTE_DAMAGES and (kind == "npz" or (kind in ("safetensors", "binary") and checked)):
        return "same"
    if damage.name in CUTS and kind in FRAMED:
        return "same"
    if damage.rule == "same" and kind == "safetensors" and not checked:
        return "data"
    if damage.name == "another_file_instead" and kind == "binary" and checked:
        return "same"
    return "same" if damage.name == "odd_white_space" and kind in ("json", "yaml", "jsonl") else damage.rule
