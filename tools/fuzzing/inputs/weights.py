"""Damage to pickles, safetensors and files of torch.save."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from fuzzing.inputs.documents import ODD_VALUES, lose_json_value, odd_json_value, rename_json_key, wrap_json_value

_PICKLE_TRICKS = (
    b"cos\nsystem\n(S'touch escaped'\ntR.",
    b"c__builtin__\neval\n(S'1'\ntR.",
    b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0etouch escaped\x85R.",
    b"\x80\x02cnumpy.core.multiarray\n_reconstruct\nq\x01.",
    b"\x80\x02r\xff\xff\xff\x7f.",
    b"\x80\x02N\x72\xff\xff\xff\x0f.",
    b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.",
    b"\x80\x04\x8e\x00\x00\x00\x00\x00\x01\x00\x00.",
    b"\x80\x04\x8d\xff\xff\xff\xff\x00\x00\x00\x00.",
    b"\x80\x02\x8b\xff\xff\xff\x7f.",
    b"\x80\x05\x96\x00\x00\x00\x00\x00\x02\x00\x00.",
    b"(" * 100_000 + b"t" * 100_000 + b".",
    b"]" * 200_000 + b"a" * 199_999 + b".",
    b"\x80\x02]q\x00h\x00a.",
    b"\x80\x02cnumpy\nndarray\n)\x81.",
    b"\x80\x02cbuiltins\ngetattr\n.",
    b"\x80\x04\x8c\x05numpy\x8c\x05dtype\x93\x8c\x02O8\x85R.",
    b"\x80\x63.",
    b"P1\n.",
    b"\x80\x02K\x01\x51.",
)


def pickle_trick(r: Random, data: bytes) -> bytes:
    """Opcodes that run something, claim gigabytes, nest without end or count a memo up to two billion."""
    trick = r.choice(_PICKLE_TRICKS)
    return trick if r.random() < 0.6 else data[:2] + trick[2:] if trick[:1] == b"\x80" else data[:-1] + trick


def odd_pickle(r: Random, data: bytes) -> bytes:
    """The pickle of another tree: a value exchanged for one of another type."""
    document = pickle.loads(data)  # our own
    item = r.choice(document["annotations"])
    key = r.choice(list(item))
    values = (
        *ODD_VALUES[:20],
        np.zeros((1, 5, 25, 3), np.float16),
        np.full((1, 5, 25, 3), np.nan),
        np.zeros((0, 5, 25, 3)),
        np.zeros((1, 2, 25, 4)),
        np.array(3),
        np.full((1, 5, 25, 3), 1e30),
        np.zeros((1, 5, 25, 3), "U3"),
        b"x",
        (1, 2),
        np.float64("nan"),
        np.zeros((1, 4, 17, 2), complex),
    )
    way = r.randrange(5)
    if way == 0:
        del item[key]
    elif way == 1:
        document["split"] = r.choice(ODD_VALUES[:20])
    elif way == 2:
        document["split"][r.choice(list(document["split"]))] = r.choice(values)
    else:
        item[r.choice((key, "keypoint", "img_shape", "keypoint_score"))] = r.choice(values)
    return pickle.dumps(document, protocol=r.choice((2, 3, 4, 5)))


def safetensors_header(r: Random, data: bytes) -> bytes:
    """Its JSON head changed: other types, offsets, shapes; or a length of gigabytes."""
    size = int.from_bytes(data[:8], "little")
    if r.random() < 0.3:
        return r.choice((2**40, 2**63, 0, size - 1, size + 1, 1)).to_bytes(8, "little") + data[8:]
    head = r.choice((odd_json_value, lose_json_value, wrap_json_value, rename_json_key))(r, data[8 : 8 + size]).strip()
    return len(head).to_bytes(8, "little") + head + data[8 + size :]


# --------------------------------------------------------------------------------------------------------------------
# Named tensors, in safetensors or from torch.save

_TORCH_TRICKS = (
    *_PICKLE_TRICKS[:4],
    b"\x80\x02cposix\nsystem\nX\x0c\x00\x00\x00touch escaped\x85R.",
    b"\x80\x02ctorch.hub\nload\nX\x01\x00\x00\x00x\x85R.",
    b"\x80\x02}q\x00.",
    b"\x80\x02]q\x00.",
    b"\x80\x02N.",
    b"\x80\x02}q\x00(K\x01K\x02K\x03K\x04u.",
    b"\x80\x02}q\x00X\x05\x00\x00\x00modelq\x01h\x00s.",
    b"\x80\x02X\x01\x00\x00\x00x.",
    b"(" * 100_000 + b"t" * 100_000 + b".",
    b"",
)


def torch_pickle_trick(r: Random, data: bytes) -> bytes:
    """A file of torch.save whose pickle runs something, or holds no tensors; or a pickle alone, as old files are."""
    trick = r.choice(_TORCH_TRICKS)
    if r.random() < 0.2:
        return trick
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as after:
        for name in before.namelist():
            after.writestr(name, trick if name.endswith("/data.pkl") else before.read(name))
    return out.getvalue()


def _changed_tensors(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The same file with other tensors. `change` gets name -> tensor, out of a wrapping under 'model'."""
    import safetensors.torch
    import torch

    if data[:2] == b"PK":
        whole = torch.load(io.BytesIO(data), weights_only=True)
        change(whole["model"] if isinstance(whole.get("model"), dict) else whole)
        out = io.BytesIO()
        torch.save(whole, out)
        return out.getvalue()
    tensors = safetensors.torch.load(data)
    change(tensors)
    size = int.from_bytes(data[:8], "little")
    facts = json.loads(data[8 : 8 + size]).get("__metadata__")
    return bytes(safetensors.torch.save({name: value.contiguous() for name, value in tensors.items()}, facts))


def odd_tensor(r: Random, data: bytes) -> bytes:
    """One tensor of another shape or type, missing, under another name, or one too many."""
    import torch

    def change(tensors: dict[str, Any]) -> None:
        name = r.choice(sorted(tensors))
        value = tensors[name]
        if r.random() < 0.3:
            tensors[r.choice((f"module.{name}", f"{name}.weight", "x", "", "../x"))] = (
                tensors.pop(name) if r.random() < 0.7 else value.clone()
            )
        elif r.random() < 0.2:
            del tensors[name]
        else:
            ways = (
                lambda: value[None], lambda: value.flatten()[:0], lambda: torch.zeros(()), lambda: value.to(torch.complex64),
                lambda: value.to(torch.int8), lambda: value.to(torch.bool), lambda: value.to(torch.float64),
                lambda: value.to(torch.float16), lambda: torch.cat([value.reshape(-1), value.reshape(-1)]),
                lambda: value.reshape(-1)[:-1], lambda: value.transpose(0, -1) if value.ndim else value[None],
            )  # fmt: skip
            tensors[name] = r.choice(ways)().contiguous()

    return _changed_tensors(data, change)


def not_finite_tensor(r: Random, data: bytes) -> bytes:
    """NaN or infinity in one tensor: what a training that diverged, or a bad disk, leaves."""

    def change(tensors: dict[str, Any]) -> None:
        name = r.choice([name for name in sorted(tensors) if tensors[name].is_floating_point() and tensors[name].numel()])
        tensors[name] = tensors[name].clone()
        flat = tensors[name].reshape(-1)
        flat[r.randrange(len(flat)) if r.random() < 0.7 else slice(None)] = r.choice((float("nan"), float("inf")))

    return _changed_tensors(data, change)
