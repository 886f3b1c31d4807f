"""asl_words and asl_letters: webcam recordings of American Sign Language by three signers (MIT, traduttore).

Space "image": x, y in fractions of the image, z relative depth. The source recorded neither the image's aspect ratio
(4:3 is assumed) nor the frame rate (20 frames per second is nominal): both are said in the recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from palmist.files.input_files import damage_named
from palmist.files.npz import load_arrays, scaled
from palmist.recording import ActionSegment, Body, Recording

NOMINAL_RATE = 20.0
ASSUMED_ASPECT = 4.0 / 3.0
#: A body landmark counts as seen from this MediaPipe visibility on; below it it is a guess, often out of view.
BODY_VISIBILITY = 0.5
SOURCE = "github.com/traduttore/traduttore-model@c7c2f3eba11226a32bad547c4f89186afab676da"


def word_label(name: str) -> str:
    """The label of a class of asl_words: "-" becomes "idle", because labels are read by a text encoder."""
    return "idle" if name == "-" else name


def letter_label(name: str) -> str:
    """The label of a class of asl_letters: "-" is "no sign", "a" is "letter a" (there is a word "a" in asl_words)."""
    return "no sign" if name == "-" else f"letter {name}"


def read_words(root: Path) -> Iterator[Recording]:
    """The 3,868 recordings of asl_words.npz: 20 frames, both hands and 25 body landmarks, 16 labels, 3 signers."""
    path = root / "asl_words.npz"
    with damage_named(path, "the asl_words file of Palmist's data"):
        yield from _read(path, "asl_words", word_label)


def read_letters(root: Path) -> Iterator[Recording]:
    """The 3,121 recordings of asl_letters.npz: 20 frames, both hands, 28 labels, 3 signers."""
    path = root / "asl_letters.npz"
    with damage_named(path, "the asl_letters file of Palmist's data"):
        yield from _read(path, "asl_letters", letter_label)


def _read(path: Path, name: str, label_of: Callable[[str], str]) -> Iterator[Recording]:
    data = load_arrays(path)
    joints = scaled(np.stack([data["left"], data["right"]], axis=2), data["scale"])
    valid = np.stack([data["left_ok"], data["right_ok"]], axis=2)
    time = np.arange(joints.shape[1]) / NOMINAL_RATE
    body_joints = body_valid = None
    if "pose" in data:
        body_valid = data["pose_visibility"] >= np.uint8(np.ceil(BODY_VISIBILITY * 255))
        body_joints = scaled(data["pose"], data["scale"]).copy()
        body_joints[~body_valid] = 0
        body_joints.flags.writeable = body_valid.flags.writeable = False
    valid.flags.writeable = time.flags.writeable = False
    end = len(time) / NOMINAL_RATE
    for i in range(len(joints)):
        source_class = str(data["classes"][data["label"][i]])
        signer, session = str(data["signers"][data["signer"][i]]), int(data["session"][i])
        provenance = {
            "source_class": source_class,
            "source_index": int(data["source_index"][i]),
            "session_commit": str(data["session_commits"][session]),
            "rate": "nominal 20 frames/s, not recorded by the source",
            "signer": "inferred from the author of the commit that added the sequence",
        }
        body = None
        if body_joints is not None and body_valid is not None:
            provenance["body_valid"] = f"visibility >= {BODY_VISIBILITY}"
            body = Body(body_joints[i], body_valid[i], "mediapipe25")
        yield Recording(
            joints=joints[i],
            valid=valid[i],
            time=time,
            space="image",
            name=f"{name}/{signer.lower()}/{i:05d}",
            frame="image",
            aspect=ASSUMED_ASPECT,
            aspect_assumed=True,
            body=body,
            segments=(ActionSegment(0.0, end, label_of(source_class)),),
            subject=signer,
            session=f"session {session:02d}",
            source=SOURCE,
            provenance=provenance,
        )
