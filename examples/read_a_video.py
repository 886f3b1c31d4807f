# %% [markdown]
# # Read a video
# Two ways: find the hands and read them as a recording, or let a video network see the pixels.

# %%
from itertools import islice

from palmist.demo_data import demo_video
from palmist.perception.video import Video, write_video

shipped, tracked = demo_video()  # a real video, and its hands as MediaPipe found them
print(shipped.name, f"{Video(shipped).info.width} x {Video(shipped).info.height} pixels")
frames = list(islice(Video(shipped), 60, 108))
clip = write_video("clip.mp4", [image[::2, ::2] for image, _ in frames], [time for _, time in frames])
print(clip.name, f"{Video(clip).info.duration:.1f} s")

# %% [markdown]
# ## The hands
# MediaPipe finds hands best: `pip install 'palmist[hands]'`, `palmist fetch hands`, then `palmist read clip.mp4 --out out`. Its
# tracks of this video are shipped, so this cell needs nothing else. `palmist.inference.read_video` does the tracking, too.

# %%
import palmist
from palmist.inference.read_video import read_tracked
from palmist.view import draw_reading

part = tracked.slice(60, 108)
result = read_tracked(part, palmist.load("ghtt-small"), futures=10, horizon=0.5)
print(f"right hand in {result.found[1]:.0%} of the frames; {result.swaps} swaps of sides")
draw_reading(result.reading)

# %% [markdown]
# ## The pixels: EMIM and TRec
# These networks were trained on drawn words, so their labels mean nothing here. What they see of motion is the point.

# %%
import cv2

from palmist.inference.videos import load_video_reader
from palmist.view import Picture

emim = load_video_reader("emim-words")
found = emim.read(clip)
print(f"EMIM: {len(found.labels)} labels, {found.label} {found.probability:.2f}")
Picture(cv2.imread(str(emim.draw(clip, "emim.png")))[:480:3, ::3, ::-1])

# %% [markdown]
# Arrows: where each place looks in the next frame. TRec follows random points instead:

# %%
trec = load_video_reader("trec-words")
found = trec.read(clip)
print(f"TRec: {len(found.labels)} labels, {found.label} {found.probability:.2f}")
Picture(cv2.imread(str(trec.draw(clip, "trec.png")))[-480::3, ::3, ::-1])
