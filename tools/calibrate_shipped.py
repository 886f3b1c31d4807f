"""Fit a temperature for each shipped recogniser of words, and keep it beside the weights as calibration.json.

    python tools/calibrate_shipped.py [--check]

--check: only say what is there. Run it again after `tools/ship_*.py`, which replace a checkpoint's folder.

The shipped ghtt-small and bharnet-words were trained on signers S1 and S3, so on those they are surer than anywhere else; and
S2 is the test signer, who must not shape the model that is tested on her. So the temperature is fitted across folds: the twin
of each, trained on S2 alone, reads S1 and S3, and what makes it honest there is used here. The twin had fewer recordings to
learn from, and its test signers are others: the temperature is an estimate, not a fit of the model's own errors. emim-words and
trec-words have no twin on S2: they keep the temperature 1, and no file.
"""

from __future__ import annotations

import sys

from palmist.benchmark.fusion_quality import across_folds
from palmist.inference.calibration import read_calibration, write_calibration
from palmist.model_zoo import checkpoint_path

#: shipped checkpoint -> its name in the benchmark; all are seed 0 of fold 1.
SHIPPED = {"ghtt-small": "ghtt", "bharnet-words": "bharnet", "emim-words": "emim", "trec-words": "trec"}


def main() -> None:
    for name, member in SHIPPED.items():
        folder = checkpoint_path(name)
        found = read_calibration(folder) if "--check" in sys.argv else across_folds(member, seed=0, number=1)
        if found is None or not found.n:
            print(f"{name}: no twin on the other fold, or not calibrated; temperature 1")
            continue
        if "--check" not in sys.argv:
            write_calibration(folder, found)
        errors = f"calibration error {found.error_before:.3f} to {found.error_after:.3f}"
        print(f"{name}: temperature {found.temperature:.3f} from {found.n} recordings, {errors}")


if __name__ == "__main__":
    main()
