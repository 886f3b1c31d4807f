"""Made-up weights of a tiny CLIP in every naming; the networks' outputs are compared with CLIP told literally."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from palmist.errors import InputError
from palmist.models.clip_weights import convert_clip, load_clip, resize_places
from palmist.models.egovideo import EgoVideo, EgoVideoConfig

D, W, E, LAYERS, PATCH, SIDE, LENGTH, VOCABULARY = 16, 12, 8, 2, 4, 3, 9, 30
CONFIG = EgoVideoConfig(
    size=SIDE * PATCH, patch=PATCH, width=D, layers=LAYERS, heads=2, sparse_frames=1, dense_frames=None, adapter="none",
    text_width=W, text_layers=LAYERS, text_heads=3, text_length=LENGTH, vocabulary=VOCABULARY, embedding=E,
)  # fmt: skip


def openai_state() -> dict[str, Tensor]:
    """Names and shapes of OpenAI's CLIP with a vision transformer."""
    shapes: dict[str, tuple[int, ...]] = {
        "visual.class_embedding": (D,), "visual.positional_embedding": (1 + SIDE * SIDE, D), "visual.proj": (D, E),
        "visual.conv1.weight": (D, 3, PATCH, PATCH), "visual.ln_pre.weight": (D,), "visual.ln_pre.bias": (D,),
        "visual.ln_post.weight": (D,), "visual.ln_post.bias": (D,), "positional_embedding": (LENGTH, W),
        "text_projection": (W, E), "token_embedding.weight": (VOCABULARY, W), "ln_final.weight": (W,), "ln_final.bias": (W,),
        "logit_scale": (),
    }  # fmt: skip
    for prefix, width in (("visual.transformer", D), ("transformer", W)):
        for number in range(LAYERS):
            block = f"{prefix}.resblocks.{number}"
            shapes |= {
                f"{block}.attn.in_proj_weight": (3 * width, width), f"{block}.attn.in_proj_bias": (3 * width,),
                f"{block}.attn.out_proj.weight": (width, width), f"{block}.attn.out_proj.bias": (width,),
                f"{block}.mlp.c_fc.weight": (4 * width, width), f"{block}.mlp.c_fc.bias": (4 * width,),
                f"{block}.mlp.c_proj.weight": (width, 4 * width), f"{block}.mlp.c_proj.bias": (width,),
            }  # fmt: skip
            shapes |= {f"{block}.{norm}.{what}": (width,) for norm in ("ln_1", "ln_2") for what in ("weight", "bias")}
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()}


def hugging_face_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights as Hugging Face names them."""
    names = {
        "visual.class_embedding": "vision_model.embeddings.class_embedding",
        "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
        "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
        "positional_embedding": "text_model.embeddings.position_embedding.weight",
        "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
        "logit_scale": "logit_scale",
    }
    renames = (
        ("visual.ln_pre", "vision_model.pre_layrnorm"), ("visual.ln_post", "vision_model.post_layernorm"),
        ("ln_final", "text_model.final_layer_norm"), ("visual.transformer.resblocks", "vision_model.encoder.layers"),
        ("transformer.resblocks", "text_model.encoder.layers"), ("attn.out_proj", "self_attn.out_proj"),
        ("ln_1", "layer_norm1"), ("ln_2", "layer_norm2"), ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2"),
    )  # fmt: skip
    found = {"vision_model.embeddings.position_ids": torch.arange(1 + SIDE * SIDE)[None]}
    for name, tensor in state.items():
        if name in ("visual.proj", "text_projection"):
            found["visual_projection.weight" if name == "visual.proj" else "text_projection.weight"] = tensor.t()
        elif ".attn.in_proj_" in name:
            block, what = name.split(".attn.in_proj_")
            for part, piece in zip("qkv", tensor.chunk(3), strict=True):
                renamed = f"{block}.self_attn.{part}_proj.{what}"
                for old, new in renames[3:5]:
                    renamed = re.sub(f"^{re.escape(old)}", new, renamed)
                found[renamed] = piece
        else:
            for old, new in renames:
                name = names.get(name, re.sub(rf"(^|\.){re.escape(old)}\b", rf"\1{new}", name))
            found[name] = tensor
    return found


def literal_blocks(x: Tensor, state: dict[str, Tensor], prefix: str, heads: int, quick: bool, mask: Tensor | None) -> Tensor:
    """CLIP's residual blocks with torch's own attention; x (N, D)."""
    width = x.shape[-1]
    for number in range(LAYERS):
        part = {
            name.removeprefix(f"{prefix}.resblocks.{number}."): value
            for name, value in state.items()
            if name.startswith(f"{prefix}.resblocks.{number}.")
        }
        attention = nn.MultiheadAttention(width, heads, batch_first=True)
        attention.load_state_dict({n.removeprefix("attn."): v for n, v in part.items() if n.startswith("attn.")})
        y = F.layer_norm(x, (width,), part["ln_1.weight"], part["ln_1.bias"])[None]
        x = x + attention(y, y, y, need_weights=False, attn_mask=mask)[0][0]
        y = F.layer_norm(x, (width,), part["ln_2.weight"], part["ln_2.bias"])
        y = F.linear(y, part["mlp.c_fc.weight"], part["mlp.c_fc.bias"])
        y = y * torch.sigmoid(1.702 * y) if quick else F.gelu(y)
        x = x + F.linear(y, part["mlp.c_proj.weight"], part["mlp.c_proj.bias"])
    return x


def literal_picture(picture: Tensor, state: dict[str, Tensor]) -> Tensor:
    """(3, S, S) normalised -> (E,), as CLIP does it, with EgoVideo's plain GELU."""
    patches = F.conv2d(picture[None], state["visual.conv1.weight"], stride=PATCH)[0].flatten(1).t()
    x = torch.cat((state["visual.class_embedding"][None], patches)) + state["visual.positional_embedding"]
    x = F.layer_norm(x, (D,), state["visual.ln_pre.weight"], state["visual.ln_pre.bias"])
    x = literal_blocks(x, state, "visual.transformer", 2, quick=False, mask=None)
    return F.layer_norm(x[0], (D,), state["visual.ln_post.weight"], state["visual.ln_post.bias"]) @ state["visual.proj"]


def literal_text(tokens: Tensor, state: dict[str, Tensor]) -> Tensor:
    x = state["token_embedding.weight"][tokens] + state["positional_embedding"][: len(tokens)]
    mask = torch.full((len(tokens), len(tokens)), float("-inf")).triu(1)
    x = literal_blocks(x, state, "transformer", 3, quick=True, mask=mask)
    return F.layer_norm(x, (W,), state["ln_final.weight"], state["ln_final.bias"])[tokens.argmax()] @ state["text_projection"]


@torch.inference_mode()
def test_both_towers_give_what_clip_gives() -> None:
    state = openai_state()
    network = EgoVideo(CONFIG).eval()
    missing, unexpected = network.load_state_dict(convert_clip(state), strict=False)
    assert not unexpected
    assert set(missing) <= {"vision.time", "log_scale"}
    pictures = torch.randn(2, 1, 3, SIDE * PATCH, SIDE * PATCH)
    found, _ = network.vision(pictures)
    wanted = torch.stack([literal_picture(picture[0], state) for picture in pictures])
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    tokens = torch.tensor([[28, 3, 4, 29, 0, 0, 0, 0, 0], [28, 7, 1, 9, 12, 13, 5, 2, 29]])
    wanted = torch.stack([literal_text(row, state) for row in tokens])
    torch.testing.assert_close(network.text(tokens), wanted, atol=1e-5, rtol=1e-5)


def test_every_naming_is_the_same() -> None:
    state = openai_state()
    wanted = convert_clip(state)
    open_clip = {
        name if name.startswith(("visual", "logit")) else f"text.{name}": value for name, value in state.items()
    } | {"text.attn_mask": torch.zeros(LENGTH, LENGTH)}  # fmt: skip
    distributed = {f"module.{name}": value for name, value in state.items()}
    half = {name: value.half() for name, value in state.items()}
    for other in (hugging_face_state(state), open_clip, distributed):
        found = convert_clip(other)
        assert found.keys() == wanted.keys()
        for name in wanted:
            torch.testing.assert_close(found[name], wanted[name], atol=0, rtol=0)
    rounded = convert_clip(half)
    assert {value.dtype for value in rounded.values()} == {torch.float32}
    torch.testing.assert_close(rounded["vision.position"], wanted["vision.position"], atol=1e-3, rtol=1e-3)


def test_files(tmp_path: Path) -> None:
    state = openai_state()
    wanted = convert_clip(state)
    save_file(state, tmp_path / "clip.safetensors")
    torch.save(state, tmp_path / "clip.bin")
    torch.save({"epoch": 3, "state_dict": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "clip.pt")
    for name in ("clip.safetensors", "clip.bin", "clip.pt"):
        found = load_clip(tmp_path / name)
        assert all(torch.equal(found[key], wanted[key]) for key in wanted), name


def test_another_grid_and_length() -> None:
    state = openai_state()
    same = convert_clip(state, grid=(SIDE, SIDE), text_length=LENGTH)
    assert torch.equal(same["vision.position"], state["visual.positional_embedding"][1:])
    found = convert_clip(state, grid=(5, 2), text_length=6)
    assert found["vision.position"].shape == (10, D)
    assert torch.equal(found["vision.class_position"], state["visual.positional_embedding"][0])
    assert torch.equal(found["text.position"], state["positional_embedding"][:6])
    with pytest.raises(InputError, match="texts of 10 tokens are asked for, expected 2 to 9"):
        convert_clip(state, text_length=10)


def test_resized_places_keep_their_sides() -> None:
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    table = torch.stack((rows, columns), -1).flatten(0, 1)  # (64, 2): row and column of each place
    found = resize_places(table, (16, 4)).unflatten(0, (16, 4))
    # Place i of 16 lies at (i + 0.5) / 2 - 0.5 of 8; torch's bicubic curve strays a little from a straight line.
    torch.testing.assert_close(found[4:12, 1, 0], (torch.arange(4.0, 12) + 0.5) / 2 - 0.5, atol=0.06, rtol=0)
    torch.testing.assert_close(found[8, 1:3, 1], (torch.arange(1.0, 3) + 0.5) * 2 - 0.5, atol=0.06, rtol=0)
    assert (found[:, 1, 0].diff() > 0).all()
    torch.testing.assert_close(found[3, :, 0], found[3, :1, 0].expand(4), atol=1e-5, rtol=0)  # rows know no columns
    with pytest.raises(InputError, match="are 7, expected a square number"):
        resize_places(torch.zeros(7, 2), (3, 3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("visual.class_embedding"), "lacks vision.class_token"),
        (lambda state: state.pop("transformer.resblocks.0.ln_2.bias"), "lacks what becomes text.blocks.0.norm2.bias"),
        (lambda state: state.update({"visual.layer1.0.conv1.weight": torch.zeros(2)}), "visual.layer1.0.conv1.weight, which"),
        (lambda state: state.update({"visual.transformer.resblocks.0.gate": torch.zeros(2)}), "not known"),
        (lambda state: state.update({"visual.proj": torch.zeros(D, E + 1)}), "frames to 9 numbers and texts to 8"),
        (lambda state: state.update({"ln_final.bias": torch.zeros(W + 1)}), r"bias has shape \(13,\), expected \(12\)"),
        (lambda state: state.update({"visual.positional_embedding": torch.zeros(9, D)}), "are 8, expected a square number"),
    ],
)  # fmt: skip
def test_wrong_weights_are_named(change, message: str) -> None:  # type: ignore[no-untyped-def]
    state = openai_state()
    change(state)
    with pytest.raises(InputError, match=message):
        convert_clip(state)


def test_wrong_files_are_named(tmp_path: Path) -> None:
    program = tmp_path / "ViT-B-16.pt"
    torch.jit.script(nn.Linear(2, 2)).save(str(program))
    with pytest.raises(InputError, match=r"ViT-B-16.pt is a TorchScript program.*convert it once"):
        load_clip(program)
    with pytest.raises(InputError, match="does not exist"):
        load_clip(tmp_path / "none.pt")
    (tmp_path / "damaged.safetensors").write_bytes(b"\x10\x00")
    with pytest.raises(InputError, match="cannot be read as weights"):
        load_clip(tmp_path / "damaged.safetensors")
    torch.save({"state_dict": {"a": 3}}, tmp_path / "numbers.pt")
    with pytest.raises(InputError, match="something else than named tensors"):
        load_clip(tmp_path / "numbers.pt")


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("ran",)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"a": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(InputError, match="cannot be read as weights"):
        load_clip(tmp_path / "bomb.pt")
    assert "ran" not in capsys.readouterr().out
