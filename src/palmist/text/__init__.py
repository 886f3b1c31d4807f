"""Words as numbers: features of action labels and object names."""

from palmist.text.encoder import FEATURE_WIDTH, encode_labels

__all__ = ["FEATURE_WIDTH", "encode_labels"]
