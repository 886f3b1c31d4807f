# %% [markdown]
# # Predict many futures
# A model sees the beginning of a recording and samples what may follow.

# %%
import numpy as np

import palmist
from palmist.view import draw_reading

recording = palmist.demo_recordings()[-1]
print(recording)
print("label:", recording.segments[0].label, " space:", recording.space)

# %% [markdown]
# Only the frames up to `observe_until` are looked at; the rest is kept as the truth to compare with.

# %%
reader = palmist.load("ghtt-small")
moment = 1.2  # seconds: the reach is under way
reading = reader.read(recording, observe_until=moment, futures=20, horizon=1.0, seed=0)
print("futures:", reading.futures.shape, "(samples, frames, hands, joints, coordinates)")
draw_reading(reading)

# %% [markdown]
# ## How good, and how different
# `distance` is a mean over frames and joints that are known, here in hand sizes. The best of 20 samples says how near they come
# to the truth, `spread` how far they are apart. Repeating the last pose is the rival: it is strong where hands rest.


# %%
def compare(recording, observe_until):
    """(best of 20, last pose, spread) in hand sizes over what the recording goes on with."""
    reading = reader.read(recording, observe_until=observe_until, futures=20, horizon=0.5)
    known = np.broadcast_to(reading.truth_known, reading.truth.shape[:-1]) & reading.futures_known
    futures = [future[: len(reading.truth)] for future in reading.futures]
    last = np.broadcast_to(reading.refined[-1], reading.truth.shape)
    errors = [reading.distance(poses, reading.truth, known) for poses in (*futures, last)]
    return np.array([min(errors[:-1]), errors[-1], reading.spread]) / reading.hand_size


print(f"{'':28} best of 20  last pose  spread")
for item in palmist.demo_recordings():
    best, last, spread = compare(item, 0.4 if len(item) < 30 else 1.2)
    print(f"{item.name:28} {best:10.2f} {last:10.2f} {spread:7.2f}")

# %% [markdown]
# The sampling factor says how far futures may stray.

# %%
for factor in (1.0, 5.0, 10.0):
    other = reader.read(recording, observe_until=moment, futures=20, factor=factor)
    print(f"factor {factor:4.1f}: spread {other.spread / other.hand_size:.2f} hand sizes")

# %% [markdown]
# ## Frame by frame
# A stream takes frames as they come, and costs the same however long it runs.

# %%
stream = reader.stream(rate=30.0, space=recording.space)
for joints, seen, time in zip(recording.joints[:40], recording.known[:40], recording.time[:40]):
    step = stream.push(joints, seen, float(time))
print("after 40 frames:", step.label, step.futures.shape)
