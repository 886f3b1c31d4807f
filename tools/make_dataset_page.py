"""Write docs/datasets.md: every data set that `palmist datasets` lists, from the readers' own words.

    python tools/make_dataset_page.py

A reader's folder picture is the one in its module's documentation; where that has none, the tree of its made-up example or, for
the recordings that the project carries, of its folder.
"""

from __future__ import annotations

import inspect
import re
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from palmist.readers import READERS, Reader, gesture_folders
from palmist.video_sets import VIDEO_SETS, VideoSet
from palmist.video_text import TEXT_SETS, TextSet

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs/datasets.md"

HEAD = """\
# Data sets

What `palmist datasets` lists: where each set lies on disk, on what terms, and what its reader does. This page is written by
`python tools/make_dataset_page.py` from the readers themselves.

```sh
palmist prepare h2o --root ~/data/h2o --out stores/h2o --option camera=4      # a set on your disk becomes a store
palmist prepare h2o --example --root /tmp/h2o --out stores/h2o                # a made-up one of the same layout, to try it
palmist check stores/h2o                                                      # what is damaged in it
```

```python
import palmist

for recording in palmist.Store.open("stores/h2o"):
    print(recording.name, recording.split, [segment.label for segment in recording.segments])
```

ROOT is the folder that `--root` names. Gated sets must be fetched by you, on their own terms; formats that are not certain say
so. Left and right, joint orders and units are brought to one form: [your own data](own-data.md). A reader for another set:
CONTRIBUTING.md.
"""
GROUPS = (
    ("Recordings that the project carries", "In a checkout, under `data/`, with their licences; `--root` is not needed."),
    ("Hands, to be fetched", "Both or one hand in 3D, with labelled actions."),
    ("Labels of videos", "Label lists without poses: track the hands in the videos yourself, the reader joins both."),
    ("Bodies", "Whole people, often two: what is made of them says [skeletons.md](skeletons.md)."),
    ("Videos", "Read where they lie, for networks that see pixels ([emim.md](emim.md), [trec.md](trec.md)); no store is made."),
    ("Videos with sentences", "Read where they lie, for [EgoVideo](egovideo.md): [video-text-sets.md](video-text-sets.md)."),
)
BODIES = ("ntu60", "ntu120", "pyskl", "pku_mmd", "n_ucla")
LABELS = ("ipn_hand", "taco")


def group_of(entry: Reader) -> int:
    if entry.folder is not None:
        return 0
    return 3 if entry.name in BODIES else 2 if entry.name in LABELS else 1


def pictured(text: str) -> tuple[str, bool]:
    """A docstring's text with its indented blocks fenced, and whether there was one."""
    lines: list[str] = []
    fenced = found = False
    for line in [*text.splitlines(), ""]:
        inside = line.startswith("    ") or (fenced and not line.strip())
        if inside and not fenced:
            lines.append("```text")
            found = True
        elif fenced and not inside:
            lines += ["```", ""]
        fenced = inside
        lines.append(line[4:] if inside else line)
    joined = "\n".join(lines)
    return re.sub(r"\n+```\n\n+", "\n```\n\n", joined).strip(), found


def tree(folder: Path, root: str = "ROOT", width: int = 3) -> str:
    """The files below a folder, `width` of each; files before folders."""
    lines = [root]

    def walk(place: Path, indent: str) -> None:
        listed = sorted(place.iterdir(), key=lambda item: (item.is_dir(), item.name))
        files, folders = [item for item in listed if item.is_file()], [item for item in listed if item.is_dir()]
        shown = files[: width + 2] + folders[:width]
        for item in shown:
            lines.append(f"{indent}{item.name}{'/' if item.is_dir() else ''}")
            if item.is_dir():
                walk(item, indent + "    ")
        if len(shown) < len(listed):
            lines.append(f"{indent}... {len(listed) - len(shown)} more")

    walk(folder, "    ")
    return "```text\n" + "\n".join(lines) + "\n```"


def paragraphs(function: Any) -> str:
    """What a reader's function says of itself, without its errors."""
    text = inspect.getdoc(function) or ""
    return _as_code(re.split(r"\n\s*Raises", text)[0].strip())


def options(function: Any) -> str:
    named = list(inspect.signature(function).parameters.values())[1:]
    if not named:
        return ""
    shown = [f"`{p.name}={','.join(p.default) if isinstance(p.default, tuple) else p.default}`" for p in named]
    return "Options and what they are if left out: " + ", ".join(shown) + "."


def facts(licence: str, url: str, credit: str = "") -> str:
    return f"*Licence: {licence}*" + (f"  \n<{url}>" if url else "") + (f"  \n{credit}" if credit else "")


def recorded(entry: Reader) -> str:
    module = sys.modules[entry.read.__module__]
    text, found = pictured(module_text(module))
    if "see gesture_folders" in text:
        text += f"\n\n{module_text(gesture_folders)}"
    if not found and entry.folder is not None:
        text += f"\n\n{tree(ROOT / 'data' / entry.folder, f'data/{entry.folder}')}"
    elif not found and entry.example is not None:
        with tempfile.TemporaryDirectory() as folder:
            text += f"\n\n{tree(entry.example(Path(folder) / 'root'))}"
    parts = [f"### {entry.name}", entry.description[0].upper() + entry.description[1:] + "."]
    parts += [facts(entry.licence, entry.url, entry.credit), text, paragraphs(entry.read)]
    return "\n\n".join(filter(None, [*parts, options(entry.read)]))


def filmed(entry: VideoSet | TextSet) -> str:
    module = sys.modules[getattr(entry.read, "func", entry.read).__module__]
    with tempfile.TemporaryDirectory() as folder:
        picture = tree(entry.example(Path(folder) / "root"), width=2)
    parts = [f"### {entry.name}", entry.description[0].upper() + entry.description[1:] + "."]
    text, found = pictured(module_text(module))
    return "\n\n".join([*parts, facts(entry.licence, entry.url), text, *([] if found else [picture])])


def module_text(module: ModuleType) -> str:
    """A module's documentation without its first sentence's line, which the description says."""
    text = inspect.getdoc(module) or ""
    head, _, rest = text.partition("\n\n")
    return _as_code(rest.strip("\n") or head.strip())


def _as_code(text: str) -> str:
    """provenance["label"] is Python, not a link of Markdown."""
    return re.sub(r"(?<!`)provenance(\[[^]]+\])+( and (\[\"[^]]+\])+)?", lambda found: f"`{found[0]}`", text)


def page() -> str:
    parts = [HEAD]
    for number, (title, text) in enumerate(GROUPS):
        parts.append(f"## {title}\n\n{text}")
        parts += [recorded(entry) for entry in READERS.values() if group_of(entry) == number]
        if title.startswith("Videos"):
            parts += [filmed(entry) for entry in (TEXT_SETS if "sentences" in title else VIDEO_SETS).values()]
    return "\n\n".join(part.strip() for part in parts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE.relative_to(ROOT))
