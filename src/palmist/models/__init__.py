"""One published system per file: a network takes tensors and returns tensors, never paths, files or device names."""
