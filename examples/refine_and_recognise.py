# %% [markdown]
# # Refine and recognise a recording
# A recording is two hands over time. A model refines its poses and says which action it shows, frame by frame.

# %%
import palmist
from palmist.view import draw_reading, draw_recording

recording = palmist.demo_recordings()[0]
print(recording)
print("space:", recording.space, " rate:", round(recording.rate), "frames/s", " label:", recording.segments[0].label)
draw_recording(recording)

# %% [markdown]
# The signer of this recording was never seen in training. `futures=0` asks for refinement and recognition alone.

# %%
reader = palmist.load("ghtt-small")
reading = reader.read(recording, futures=0)
for label, share in sorted(zip(reading.action_labels, reading.probabilities), key=lambda pair: -pair[1])[:3]:
    print(f"{label:10} {share:.2f}")

# %% [markdown]
# ## From the first frames on
# `action_probabilities` holds what was recognised from the frames up to each moment.

# %%
column = reading.action_labels.index(reading.label)
for time, shares in zip(reading.action_time, reading.action_probabilities):
    print(f"{time:5.2f} s  {reading.label} {shares[column]:.2f} {'#' * round(30 * shares[column])}")

# %% [markdown]
# ## A noisy recording
# Noise of a tenth of a hand's size on every joint. Grey is what came in, colours what came out.

# %%
import dataclasses

import numpy as np

hand = np.linalg.norm(recording.joints[:, 1, 9] - recording.joints[:, 1, 0], axis=-1)[recording.valid[:, 1]].mean()
noise = np.random.default_rng(0).normal(scale=0.1 * hand, size=recording.joints.shape)
noisy = reader.read(dataclasses.replace(recording, joints=recording.joints + noise), futures=0)
errors = [noisy.distance(poses, recording.joints, recording.known) * 1000 for poses in (noisy.observed, noisy.refined)]
print(f"mean error: {errors[0]:.1f} mm as it came, {errors[1]:.1f} mm refined (a hand of 90 mm); action: {noisy.label}")
draw_reading(noisy)

# %% [markdown]
# BHaRNet recognises with one network for the body and one for the hands; poses and futures stay G-HTT's.

# %%
for name in ("ghtt-small", "bharnet-words"):
    found = palmist.load(name).read(noisy.recording, futures=0)
    print(f"{name:14} {found.label} {found.probability:.2f}")

# %% [markdown]
# `reading.save("coffee.html")` writes a page with the hands in 3D, `.json` all numbers, `.npz` the refined recording.

# %%
for name in ("coffee.html", "coffee.json", "coffee.npz"):
    print(noisy.save(name).name)
