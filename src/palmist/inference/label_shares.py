"""What every answer among labels has."""

from __future__ import annotations

import numpy as np

__all__ = ["LabelShares"]


class LabelShares:
    """For answers with `labels` and their `probabilities` (L,)."""

    labels: tuple[str, ...]
    probabilities: np.ndarray

    @property
    def label(self) -> str:
        """The likeliest."""
        return self.labels[int(self.probabilities.argmax())]

    @property
    def probability(self) -> float:
        """Of `label`."""
        return float(self.probabilities.max())

    def shares_to_json(self) -> dict[str, object]:
        """Plain values: label, probability, probabilities by label; six digits."""
        shares = {label: round(float(share), 6) for label, share in zip(self.labels, self.probabilities, strict=True)}
        return {"label": self.label, "probability": shares[self.label], "probabilities": shares}
