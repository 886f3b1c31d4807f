"""Weights of CLIP's two towers (Radford et al. 2021) under the names of `palmist.models.egovideo`.

Three namings of the same network are read: OpenAI's (visual.*, transformer.*), which open_clip shares, also with its text
tower under text.*, and Hugging Face's (vision_model.*, text_model.*). Files hold tensors only: .safetensors, or what
torch.save made of a state dict. OpenAI's own .pt files are programs (TorchScript); they are named and not run.

What becomes of the tensors: the patch convolution (D, 3, p, p) is laid flat to (D, 3 p p); the position of the class token
is split off the table; projections become (E, D), as a linear layer holds them; the table of places is resized (bicubic)
where another grid is asked for; half precision becomes float32. The temperature is left out: EgoVideo has its own.

Letters: D width, E embedding, HW patches of a frame, p pixels of a patch, L text tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from palmist.errors import InputError
from palmist.files.weights import check_finite, is_torchscript, read_weights

__all__ = ["convert_clip", "load_clip"]

_WHOSE = "a CLIP with a vision transformer (OpenAI, open_clip or Hugging Face), such as ViT-B-16"
_KINDS = f"the state dict of {_WHOSE}"
_LEFT_OUT = re.compile(r"logit_scale|logit_bias|input_resolution|context_length|vocab_size|(.*\.)?(attn_mask|position_ids)")

# Patterns of names in a file, and what they are here; \1 is the rest. Vision and text blocks have the same insides.
_OPENAI = (
    (r"visual\.conv1\.weight", "vision.patch.weight"),
    (r"visual\.class_embedding", "vision.class_token"),
    (r"visual\.positional_embedding", "vision.position"),
    (r"visual\.ln_pre\.(weight|bias)", r"vision.before.\1"),
    (r"visual\.ln_post\.(weight|bias)", r"vision.after.\1"),
    (r"visual\.proj", "vision.projection.weight^T"),
    (r"visual\.transformer\.resblocks\.(.*)", r"vision.blocks.\1"),
    (r"(?:text\.)?token_embedding\.weight", "text.tokens.weight"),
    (r"(?:text\.)?positional_embedding", "text.position"),
    (r"(?:text\.)?ln_final\.(weight|bias)", r"text.after.\1"),
    (r"(?:text\.)?text_projection", "text.projection.weight^T"),
    (r"(?:text\.)?transformer\.resblocks\.(.*)", r"text.blocks.\1"),
)
_HUGGING_FACE = (
    (r"vision_model\.embeddings\.patch_embedding\.weight", "vision.patch.weight"),
    (r"vision_model\.embeddings\.class_embedding", "vision.class_token"),
    (r"vision_model\.embeddings\.position_embedding\.weight", "vision.position"),
    (r"vision_model\.pre_layrnorm\.(weight|bias)", r"vision.before.\1"),  # the typing error is theirs
    (r"vision_model\.post_layernorm\.(weight|bias)", r"vision.after.\1"),
    (r"visual_projection\.weight", "vision.projection.weight"),
    (r"vision_model\.encoder\.layers\.(.*)", r"vision.blocks.\1"),
    (r"text_model\.embeddings\.token_embedding\.weight", "text.tokens.weight"),
    (r"text_model\.embeddings\.position_embedding\.weight", "text.position"),
    (r"text_model\.final_layer_norm\.(weight|bias)", r"text.after.\1"),
    (r"text_projection\.weight", "text.projection.weight"),
    (r"text_model\.encoder\.layers\.(.*)", r"text.blocks.\1"),
)
_INSIDE_BLOCK = {
    "attn.in_proj_weight": "attention.in_proj_weight", "attn.in_proj_bias": "attention.in_proj_bias",
    "attn.out_proj": "attention.out", "self_attn.out_proj": "attention.out", "ln_1": "norm1", "ln_2": "norm2",
    "layer_norm1": "norm1", "layer_norm2": "norm2", "mlp.c_fc": "mlp.0", "mlp.c_proj": "mlp.2", "mlp.fc1": "mlp.0",
    "mlp.fc2": "mlp.2", "self_attn.q_proj": "attention.q", "self_attn.k_proj": "attention.k",
    "self_attn.v_proj": "attention.v",
}  # fmt: skip


def load_clip(path: str | Path, grid: tuple[int, int] | None = None, text_length: int | None = None) -> dict[str, Tensor]:
    """CLIP's weights of a local file, under our names. See `convert_clip`.

    Raises:
        InputError: the file is not there, is a program instead of tensors, is damaged, or is no CLIP that fits.

    Example:
        >>> state = load_clip("ViT-B-16.safetensors")
        >>> network.load_state_dict(state, strict=False)     # the adapters, times and fusion are not CLIP's
    """
    path = Path(path)
    if is_torchscript(path):
        raise InputError(
            f"{path.name} is a TorchScript program, which Palmist does not run; if you trust it, convert it once with: "
            f"python -c \"import torch; torch.save(torch.jit.load('{path.name}', 'cpu').state_dict(), 'clip.pt')\" "
            "and give clip.pt"
        )
    state = read_weights(path, _KINDS, ("state_dict", "model"), finite=False)  # open_clip's masks are not finite
    return convert_clip(state, grid, text_length, str(path))


def convert_clip(
    state: Mapping[str, Tensor],
    grid: tuple[int, int] | None = None,
    text_length: int | None = None,
    source: str = "the state dict",
) -> dict[str, Tensor]:
    """CLIP's weights under the names of `palmist.models.egovideo`.

    Args:
        state: name -> tensor, in OpenAI's, open_clip's or Hugging Face's naming.
        grid: patches (down, across) that the vision tower is to see; None keeps the file's square.
        text_length: L of the text tower, at most the file's (77); None keeps it.
        source: how an error names where the weights came from.

    Returns:
        name -> float32 tensor: vision.patch.weight (D, 3 p p) with columns in the order colour, row, column;
        vision.class_token, vision.class_position (D,); vision.position (HW, D); vision.before, vision.after;
        vision.blocks.N.*; vision.projection.weight (E, D); text.tokens.weight, text.position (L, D); text.blocks.N.*;
        text.after; text.projection.weight (E, D).

    Raises:
        InputError: a tensor that no vision-transformer CLIP has, one that is missing, or one of a shape that does not fit.
    """
    found = _renamed({str(name).removeprefix("module."): value.float() for name, value in state.items()}, source)
    check_finite(found, source)
    _join_projections(found, source)
    for tower in ("vision", "text"):
        _check_tower(found, tower, source)
    clips, texts = (_length(found[f"{tower}.projection.weight"]) for tower in ("vision", "text"))
    if clips != texts:
        raise InputError(f"{source} projects frames to {clips} numbers and texts to {texts}, expected the same; give {_KINDS}")
    patch = found["vision.patch.weight"]
    found["vision.patch.weight"] = patch.flatten(1)  # (D, 3, p, p) -> (D, 3 p p)
    table = found["vision.position"]  # (1 + HW, D)
    found["vision.class_position"] = table[0].clone()
    found["vision.position"] = resize_places(table[1:], grid, source)
    if text_length is not None:
        L = _length(found["text.position"])
        if not 2 <= text_length <= L:
            raise InputError(f"texts of {text_length} tokens are asked for, expected 2 to {L}, the table of {source}")
        found["text.position"] = found["text.position"][:text_length].clone()
    return {name: tensor.contiguous() for name, tensor in found.items()}


def resize_places(table: Tensor, grid: tuple[int, int] | None, source: str = "the table") -> Tensor:
    """A square table of places (HW, D) for another grid: bicubic, corners not aligned. InputError when it is not square."""
    side = round(len(table) ** 0.5)
    if side * side != len(table):
        raise InputError(f"the positions in {source} are {len(table)}, expected a square number; give a ViT for square frames")
    if grid is None or grid == (side, side):
        return table.clone()
    if min(grid) < 1:
        raise InputError(f"found the grid {grid}, expected at least 1 x 1 patches")
    picture = table.t().reshape(1, -1, side, side)  # (1, D, H, W)
    resized = F.interpolate(picture, size=grid, mode="bicubic", align_corners=False)
    return resized[0].flatten(1).t().contiguous()


def _renamed(state: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    rules = _HUGGING_FACE if any(name.startswith(("vision_model.", "text_model.")) for name in state) else _OPENAI
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if _LEFT_OUT.fullmatch(name):
            continue
        own = next((match.expand(to) for pattern, to in rules if (match := re.fullmatch(pattern, name))), None)
        if own is not None and ".blocks." in own:
            own = _inside_block(own)
        if own is None:
            raise InputError(f"{source} has the tensor {name}, which is not known; expected {_KINDS}")
        if own.endswith("^T"):
            own, tensor = own.removesuffix("^T"), tensor.t()
        found[own] = tensor
    return found


def _inside_block(name: str) -> str | None:
    """vision.blocks.3.attn.out_proj.bias -> vision.blocks.3.attention.out.bias; None for a name that no block has."""
    tower, _, number, inside = name.split(".", 3)
    if not number.isdigit():
        return None
    for theirs, ours in _INSIDE_BLOCK.items():
        if inside in (theirs, f"{theirs}.weight", f"{theirs}.bias"):
            return f"{tower}.blocks.{int(number)}.{ours}{inside.removeprefix(theirs)}"
    return None


def _join_projections(found: dict[str, Tensor], source: str) -> None:
    """Hugging Face's three projections of a block become one, queries first."""
    for name in [name for name in found if ".attention.q." in name]:
        block, what = name.split(".attention.q.")
        parts = [f"{block}.attention.{part}.{what}" for part in "qkv"]
        missing = next((part for part in parts if part not in found), None)
        if missing is not None:
            raise InputError(f"{source} lacks {missing}; expected {_KINDS}, whole")
        found[f"{block}.attention.in_proj_{what}"] = torch.cat([found.pop(part) for part in parts])


def _length(tensor: Tensor) -> int:
    """Its first size; 0 for a single number."""
    return tensor.shape[0] if tensor.dim() else 0


def _check_tower(found: Mapping[str, Tensor], tower: str, source: str) -> None:
    """Every tensor of a tower is there, with the shape that the others ask for, and no block is left out."""
    first = "vision.class_token" if tower == "vision" else "text.after.weight"
    if first not in found:
        raise InputError(f"{source} lacks {first}; expected {_KINDS}, whole")
    D = _length(found[first])
    numbers = {int(name.split(".")[2]) for name in found if name.startswith(f"{tower}.blocks.")}
    expected: dict[str, tuple[int | None, ...]] = {f"{tower}.after.weight": (D,), f"{tower}.after.bias": (D,)}
    if tower == "vision":
        expected |= {
            "vision.patch.weight": (D, 3, None, None), "vision.class_token": (D,), "vision.position": (None, D),
            "vision.before.weight": (D,), "vision.before.bias": (D,),
        }  # fmt: skip
    else:
        expected |= {"text.tokens.weight": (None, D), "text.position": (None, D)}
    expected[f"{tower}.projection.weight"] = (None, D)
    for number in range(max(numbers, default=0) + 1):
        block = f"{tower}.blocks.{number}"
        for norm in ("norm1", "norm2"):
            expected |= {f"{block}.{norm}.weight": (D,), f"{block}.{norm}.bias": (D,)}
        expected |= {
            f"{block}.attention.in_proj_weight": (3 * D, D), f"{block}.attention.in_proj_bias": (3 * D,),
            f"{block}.attention.out.weight": (D, D), f"{block}.attention.out.bias": (D,),
            f"{block}.mlp.0.weight": (4 * D, D), f"{block}.mlp.0.bias": (4 * D,),
            f"{block}.mlp.2.weight": (D, 4 * D), f"{block}.mlp.2.bias": (D,),
        }  # fmt: skip
    for name, shape in expected.items():
        if name not in found:
            raise InputError(f"{source} lacks what becomes {name}; expected {_KINDS}, whole")
        have = tuple(found[name].shape)
        if len(have) != len(shape) or any(want is not None and want != is_ for want, is_ in zip(shape, have, strict=True)):
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise InputError(f"{source}: what becomes {name} has shape {have}, expected ({wanted}); give {_KINDS}")
