# %% [markdown]
# # Your own data: your joints, your labels
# A made-up data glove: the right hand without its thumb, little finger first, millimetres. Three people make two gestures. Here
# a function makes them up; yours come from your files.

# %%
import numpy as np


def glove(label, seed, frames=45):
    """(frames, 17, 3) millimetres: a flat hand that waves, or one that closes to a grip."""
    time, noise = np.arange(frames) / 30, np.random.default_rng(seed)
    bend = 1.2 * np.sin(np.pi * time) ** 2 if label == "grip" else 0 * time
    turn = 0.5 * np.sin(4 * np.pi * time + seed) if label == "wave" else 0 * time
    hand = np.zeros((frames, 17, 3))
    for finger in range(4):
        knuckle = 1 + 4 * finger
        hand[:, knuckle] = (30 - 20 * finger, -90, 0)
        for bone in range(1, 4):
            step = np.stack([0 * time, -np.cos(bone * bend), -np.sin(bone * bend)], -1)
            hand[:, knuckle + bone] = hand[:, knuckle + bone - 1] + 25 * step
    x, y = hand[..., 0].copy(), hand[..., 1].copy()
    cos, sin = np.cos(turn)[:, None], np.sin(turn)[:, None]
    hand[..., 0], hand[..., 1] = x * cos - y * sin, x * sin + y * cos
    return hand + (0, 0, 500) + 30 * noise.normal(size=3) + 0.5 * noise.normal(size=hand.shape)


# %% [markdown]
# ## Your skeleton
# Names say which joint is which. Joints that the glove does not have are `absent_joints`: nothing is invented for them.

# %%
import palmist
from palmist.skeleton import JOINT_NAMES
from palmist.view import draw_recording

PARTS = ("mcp", "pip", "dip", "tip")
MINE = ["wrist", *(f"{finger}_{part}" for finger in ("little", "ring", "middle", "index") for part in PARTS)]
SLOTS = [JOINT_NAMES.index(name) for name in MINE]
ABSENT = tuple(slot for slot in range(21) if slot not in SLOTS)


def to_recording(millimetres, name, person, label):
    joints = np.zeros((len(millimetres), 2, 21, 3))
    joints[:, 1, SLOTS] = millimetres / 1000  # 0 is the left hand, 1 the right; metres
    time = np.arange(len(joints)) / 30
    return palmist.Recording(
        joints=joints,
        valid=np.tile([False, True], (len(joints), 1)),
        time=time,
        space="metric",
        absent_joints=ABSENT,
        name=name,
        subject=person,
        segments=(palmist.ActionSegment(0.0, float(time[-1]), label),),
        split="test" if person == "carl" else "train",
    )


recordings = [
    to_recording(glove(label, 10 * number + take), f"glove/{person}_{label}_{take}", person, label)
    for number, person in enumerate(("anna", "ben", "carl"))
    for label in ("grip", "wave")
    for take in range(6)
]
print(len(recordings), "recordings;", recordings[0])
draw_recording(recordings[0])

# %% [markdown]
# ## Is it sound?
# `check` says what is damaged. Here the glove lost contact for three frames, and one joint jumped away.

# %%
import dataclasses

joints, valid = recordings[0].joints.copy(), recordings[0].valid.copy()
valid[20:23] = False
joints[30, 1, 8] += 0.3
damaged = dataclasses.replace(recordings[0], joints=joints, valid=valid, name="damaged")
for finding in palmist.check(damaged).findings:
    print(f"{finding.severity:8} {finding.sentence}")
print("after repair:", palmist.check(palmist.repair(damaged)).ok)

# %% [markdown]
# ## Refine, as it is
# G-HTT refines joints that it was not trained on, too. Its labels are not yours; that comes next.

# %%
reading = palmist.load("ghtt-small").read(damaged, futures=0)
print(f"moved by {reading.shift * 1000:.1f} mm on average")

# %% [markdown]
# ## Your labels
# A store of the recordings, a configuration, a training: BHaRNet's hand expert learns from Anna and Ben. Sixty steps are
# little; for real data take a few hundred, and a person for validation.

# %%
from palmist.train import train_from_file

palmist.write_store("stores/glove", recordings)
with open("glove.yaml", "w") as file:
    file.write("""
task: bharnet
model: {preset: small, experts: [hand], pool_attention: false}
data:
  sets:
    glove: {store: stores/glove, subjects: [anna, ben]}
steps: 60
batch_size: 12
learning_rate: 2.0e-3
out: runs/glove
""")
run = train_from_file("glove.yaml")

# %% [markdown]
# ## How well does it know Carl?

# %%
reader = palmist.load("runs/glove/last")
for recording in recordings[-12::3]:
    found = reader.read(recording, futures=0)
    print(f"{recording.name:20} {found.label} {found.probability:.2f}")

# %%
from palmist.evaluation.checkpoints import evaluate_checkpoint

for record in evaluate_checkpoint("runs/glove/last", "stores/glove", "test"):
    print(record.name, record.value, "n", record.n)
