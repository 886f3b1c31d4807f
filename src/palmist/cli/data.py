"""`palmist prepare`, `palmist render` and `palmist datasets`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from palmist.cli.options import JsonFile
from palmist.cli.output import console, progress, say, table, write_json
from palmist.errors import InputError

if TYPE_CHECKING:
    from palmist.readers import Reader
    from palmist.video_sets import VideoSet
    from palmist.video_text import TextSet

__all__ = ["datasets", "prepare", "render"]


def prepare(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="A name that palmist datasets lists.")],
    out: Annotated[
        Path | None, typer.Option(metavar="STORE", help="The store to make, a folder; none of a set of videos.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the data set lies; open sets need none in the repository.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a store that is there.")] = False,
    example: Annotated[
        bool, typer.Option("--example", help="First write a tiny made-up data set of the exact layout to --root.")
    ] = False,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="An option of the data set's reader, for example camera=0; may be repeated."),
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Turn a data set into a store; a run that was stopped goes on where it was. Sets of videos are listed where they lie."""
    from palmist.readers import data_root, reader, reader_options
    from palmist.store import write_store
    from palmist.video_sets import VIDEO_SETS
    from palmist.video_text import TEXT_SETS

    if dataset in VIDEO_SETS:
        from palmist.cli.video_lists import run_prepare_videos

        run_prepare_videos(dataset, root, out, example, json_file)
        return
    if dataset in TEXT_SETS:
        from palmist.cli.video_lists import run_prepare_texts

        run_prepare_texts(dataset, root, out, example, json_file)
        return
    entry = reader(dataset)
    if out is None:
        raise InputError(f"--out is missing; expected the folder of the store to make of {dataset}")
    if example:
        _write_example(entry, root)
    if root is None:
        if entry.folder is None:
            raise InputError(f"{dataset} is not part of Palmist; fetch it from {entry.url} and give --root FOLDER")
        root = data_root() / entry.folder
    if not root.is_dir():
        raise InputError(f"--root {root} is not a folder; expected the folder that holds {dataset}")
    options = reader_options(entry, option or [])
    with progress(f"preparing {dataset}", None) as advance:
        made_of = {"dataset": dataset, "root": str(root.resolve()), "options": options}
        store = write_store(out, entry.read(root, **options), overwrite, lambda recording: advance(recording.name), made_of)
    frames = sum(entry_["frames"] for entry_ in store.index)
    console(json_file).print(f"{len(store)} recordings, {frames} frames of {dataset} in {out}")
    write_json(
        json_file,
        {
            "format": "palmist-prepare", "version": 1, "dataset": dataset, "licence": entry.licence,
            "credit": entry.credit, "recordings": len(store), "frames": frames, "store": str(out),
        },
    )  # fmt: skip


def _write_example(entry: Reader, root: Path | None) -> None:
    """A made-up data set in the official layout, for those who wait for the real one."""
    from palmist.readers import READERS

    if entry.example is None:
        others = ", ".join(name for name, other in READERS.items() if other.example is not None)
        raise InputError(
            f"there is no example of {entry.name}; --example goes with {others}; the open sets are here as they are"
        )
    if root is None:
        raise InputError("--example needs --root DIR, a new folder to write the made-up data set to")
    say(f"a made-up {entry.name} is written to {entry.example(root)}; nobody was recorded for it")


def render(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="An open set's name, a store (folder) or a recording (.npz).")
    ],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for videos, truth and index; a run goes on where one stopped.")
    ],
    size: Annotated[int, typer.Option(help="Width and height in pixels, even.")] = 112,
    rate: Annotated[float | None, typer.Option(metavar="FPS", help="Frames per second; default: the recorded frames.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Draw N recordings only, evenly spaced.")] = None,
    subjects: Annotated[str | None, typer.Option(help="These people only, with commas between them.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of looks, backgrounds, camera motion and tracks.")] = 0,
    background: Annotated[str, typer.Option(help="static, moving, plain, or mixed: one of them per recording.")] = "mixed",
    camera_motion: Annotated[float, typer.Option(metavar="AMOUNT", help="0 holds the camera still, 1 moves it a lot.")] = 0.5,
    framing: Annotated[str, typer.Option(help="scene: the recorded image; hands: zoom on the hands.")] = "scene",
    appearance: Annotated[str, typer.Option(help="Draw a person's looks per recording or per subject.")] = "recording",
    tracks: Annotated[int, typer.Option(help="How many points of the first frame to follow.")] = 900,
    held: Annotated[str | None, typer.Option(metavar="THING", help="A ball, bottle, box or book in a hand.")] = None,
    jobs: Annotated[int, typer.Option(help="Processes to draw with.")] = 1,
    json_file: JsonFile = None,
) -> None:
    """Draw recordings as textured video with known truth: joints, tracks, camera, labels."""
    from palmist.render import RenderSettings, render_folder
    from palmist.render.folder import choose, source_recordings

    settings = RenderSettings(size, rate, background, camera_motion, framing, appearance, tracks=tracks, held=held)
    chosen = choose(source_recordings(source), None if subjects is None else subjects.split(","), limit)
    with progress("drawing", len(chosen)) as advance:
        index = render_folder(chosen, out, settings, seed, jobs, source, advance)
    drawn = [clip for clip in index["clips"] if "left_out" not in clip]
    frames = sum(clip["frames"] for clip in drawn)
    for clip in index["clips"]:
        if "left_out" in clip:
            say(f"left out {clip['left_out']}")
    console(json_file).print(f"{len(drawn)} clips, {frames} frames of {source} in {out}")
    write_json(
        json_file,
        {
            "format": "palmist-render", "version": 1, "source": source, "clips": len(drawn), "frames": frames,
            "left_out": len(index["clips"]) - len(drawn), "folder": str(out),
        },
    )  # fmt: skip


def datasets(json_file: JsonFile = None) -> None:
    """List the data sets that Palmist reads: what they are, their licence, where to get them."""
    from palmist.readers import READERS

    shown = table(None, ("data set, licence", "left"), ("what, and where to get it", "left"))
    shown.columns[0].max_width = 18
    listing = []
    for entry in READERS.values():
        carried = entry.folder is not None
        where = f"in data/{entry.folder}, from" if carried else "register at" if entry.gated else "fetch it from"
        shown.add_row(f"[bold]{entry.name}[/]\n{entry.licence}", f"{entry.description}\n{where}\n{entry.url}")
        listing.append(
            {
                "name": entry.name, "description": entry.description, "licence": entry.licence, "url": entry.url,
                "credit": entry.credit, "carried": carried, "gated": entry.gated,
            }
        )  # fmt: skip
    from palmist.video_sets import VIDEO_SETS
    from palmist.video_text import TEXT_SETS

    others: list[VideoSet | TextSet] = [*VIDEO_SETS.values(), *TEXT_SETS.values()]
    for videos in others:
        where = f"\nfetch it from\n{videos.url}" if videos.url else ""
        use = "for palmist train" if videos.name in VIDEO_SETS else "videos with texts"
        shown.add_row(f"[bold]{videos.name}[/]\n{videos.licence}", f"{videos.description}; {use}{where}")
        listing.append(
            {
                "name": videos.name, "description": videos.description, "licence": videos.licence, "url": videos.url,
                "credit": "", "carried": False, "gated": bool(videos.url),
            }
        )  # fmt: skip
    console(json_file).print(shown)
    write_json(json_file, listing)
