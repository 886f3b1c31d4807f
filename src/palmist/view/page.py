"""One HTML file that shows readings: the hands in 3D, what was refined, what may follow, and the action over time.

The file needs no network: the script (with three.js), the style and the data stand in it. `PageReading` is the JSON
schema of what it is made from.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from palmist.errors import InputError
from palmist.view.payload import pack_reading

PAGE_FORMAT = "palmist-page"
PAGE_VERSION = 1


class PageTrack(TypedDict):
    """Hands over time. `null` or NaN marks an unknown coordinate."""

    time: Sequence[float]  # (T,) seconds, strictly increasing
    joints: Sequence[Any]  # (T, 2, 21, 3) in the recording's own space; hand 0 left, 1 right; canonical joint order
    valid: NotRequired[Sequence[Any]]  # (T, 2) booleans; a hand that is not valid is not drawn. Left out: all are


class PageBody(TypedDict):
    """The body that the hands belong to, in the same space."""

    joints: Sequence[Any]  # (T, V, 3)
    bones: Sequence[tuple[int, int]]  # pairs of joint indices
    valid: NotRequired[Sequence[Any]]  # (T, V) booleans
    time: NotRequired[Sequence[float]]  # (T,); left out: the times of `observed`


class PageFutures(TypedDict):
    """K predicted continuations, on the clock of `observed`."""

    time: Sequence[float]  # (T',) seconds, after the last observed frame
    joints: Sequence[Any]  # (K, T', 2, 21, 3)
    most_likely: int  # 0 .. K-1
    valid: NotRequired[Sequence[Any]]  # (T', 2) booleans; left out: the hands known in the last frame seen


class PageActions(TypedDict):
    """Action probabilities at N moments of the observation."""

    labels: Sequence[str]  # L names
    time: Sequence[float]  # (N,) seconds: the end of what each row has seen
    probabilities: Sequence[Any]  # (N, L), each row 0..1


class PageReading(TypedDict):
    """What the page shows of one recording; everything but `observed` may be left out."""

    observed: PageTrack
    name: NotRequired[str]
    space: NotRequired[str]  # "metric" (default), "image" (normalised x, y; relative depth) or "planar" (no depth)
    frame: NotRequired[str]  # "camera", "world", "device", "image"
    y_axis: NotRequired[str]  # "down" | "up"; left out: up for metric world and device frames, else down
    z_axis: NotRequired[str]  # "away" (smaller is nearer) | "towards"; left out: towards if y is up, else away
    aspect: NotRequired[float]  # image width / height; x and z of space "image" are multiplied by it
    absent_joints: NotRequired[Sequence[int]]  # slots that the source never records
    root: NotRequired[str]  # what joint 0 is: "wrist" (default) or "palm_centre"
    unit: NotRequired[str]
    rate: NotRequired[float]  # frames per second
    subject: NotRequired[str]
    true_label: NotRequired[str]
    label: NotRequired[str]  # predicted; left out: the likeliest of the last row of `actions`
    refined: NotRequired[PageTrack]
    body: NotRequired[PageBody]
    futures: NotRequired[PageFutures]
    truth_future: NotRequired[PageTrack]
    actions: NotRequired[PageActions]
    timing: NotRequired[Mapping[str, float | str]]  # seconds, or milliseconds under a name that ends in _ms, or text
    model: NotRequired[str]
    notes: NotRequired[Sequence[str]]  # limits: "2.5D: depth is relative", "planar: depth is not recorded"
    attribution: NotRequired[str]  # source and licence of the recording


def write_page(
    readings: Iterable[PageReading | Mapping[str, Any] | Any],
    path: str | Path,
    title: str = "Palmist",
    videos: Mapping[str, str | Path] | None = None,
) -> Path:
    """Write one self-contained HTML page that shows `readings` as tabs, and return its path.

    `readings` are `Reading` objects or mappings in the form of `PageReading`. Folders on the way to `path` are made.
    `videos`: name of a reading -> an .mp4 (H.264) whose time 0 is the reading's first frame; it is shown beside the hands and
    becomes part of the page, so it should be short.
    Raises `InputError` for no readings and for fields of wrong shape.

    >>> import tempfile
    >>> pose = [[[[0.1 * joint, 0.0, 0.5] for joint in range(21)]] * 2] * 2
    >>> reading = {"name": "still", "observed": {"time": [0.0, 0.05], "joints": pose}}
    >>> write_page([reading], tempfile.mkdtemp() + "/hands.html").name
    'hands.html'
    """
    text = render_page(readings, title, videos)
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text, encoding="utf-8", newline="\n")
    return target


def render_page(
    readings: Iterable[PageReading | Mapping[str, Any] | Any],
    title: str = "Palmist",
    videos: Mapping[str, str | Path] | None = None,
) -> str:
    """The text of the page that `write_page` writes."""
    packed = [pack_reading(reading) for reading in readings]
    for name, file in (videos or {}).items():
        owners = [entry for entry in packed if entry["name"] == name]
        if not owners or not Path(file).is_file():
            found = "no reading of that name" if not owners else f"no file {file}"
            raise InputError(f"a video for '{name}' was given, but there is {found}; expected a reading's name and an .mp4")
        owners[0]["video"] = base64.b64encode(Path(file).read_bytes()).decode("ascii")
    if not packed:
        raise InputError("There are no readings to show; give at least one.")
    data = {"format": PAGE_FORMAT, "version": PAGE_VERSION, "title": title, "readings": packed}
    script = _asset("page.js")
    if re.search(r"</script|<!--", script, re.IGNORECASE):
        raise RuntimeError("page.js would end its own script element; rebuild it with `npm run build` in viewer/.")
    parts = {
        "title": html.escape(title),
        "policy": _content_policy(script),
        "style": _asset("page.css"),
        "data": script_safe_json(data),
        "script": script,
    }
    # One pass over the template, so that a mark inside a user's text is never filled in.
    return re.sub(r"\{\{(\w+)\}\}", lambda mark: parts[mark[1]], _asset("template.html"))


def script_safe_json(value: Any) -> str:
    """JSON that may stand inside a <script> element: no character in it can end or open markup.

    >>> script_safe_json("</script>")
    '"\\\\u003c/script\\\\u003e"'
    """
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False, default=_plain)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: Any) -> Any:
    """numpy scalars and arrays as JSON knows them."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise InputError(f"Found a {type(value).__name__} in a reading; expected text, numbers and lists.")


def _asset(name: str) -> str:
    return files("palmist.view").joinpath(name).read_text(encoding="utf-8")


def _content_policy(script: str) -> str:
    """Nothing may be fetched, and only our own script may run."""
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    rules = (
        "default-src 'none'",
        f"script-src 'sha256-{digest}'",
        "style-src 'unsafe-inline'",
        "img-src data: blob:",
        "media-src blob:",
    )
    return "; ".join((*rules, "base-uri 'none'"))
