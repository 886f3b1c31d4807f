"""A process that is killed while it appends leaves a store with every recording it had reported as written."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np

from conftest import smooth_hands
from palmist.store import Store

WRITER = """
import sys
import numpy as np
from palmist.recording import Recording
from palmist.store import Store

generator = np.random.default_rng(0)
store = Store.create(sys.argv[1])
joints = np.load(sys.argv[2])
for i in range(100_000):
    frames = 3 + i % 9
    store.append(Recording(joints[:frames], np.ones((frames, 2), bool), np.arange(frames) / 30, "metric", f"take {i}"))
    print(i, flush=True)
"""


def test_kill_while_appending(tmp_path):
    np.save(tmp_path / "joints.npy", smooth_hands(12))
    arguments = [sys.executable, "-c", WRITER, str(tmp_path / "s"), str(tmp_path / "joints.npy")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        reported = -1
        for line in writer.stdout:
            reported = int(line)
            if reported >= 7:
                writer.kill()
                break
        reported = max([reported, *(int(line) for line in writer.stdout if line.endswith("\n"))])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # whether something was left over depends on the moment of the kill
        store = Store.open(tmp_path / "s")
    assert len(store) in (reported + 1, reported + 2)  # the last one may be written but not yet reported
    assert store.verify() == []
    for i, recording in enumerate(store):
        np.testing.assert_array_equal(recording.joints, smooth_hands(12)[: 3 + i % 9])
    with store:
        store.append(store[0].replace(name="after"))
    assert Store.open(tmp_path / "s").report is None
