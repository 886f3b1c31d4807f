"""`palmist train`, `palmist evaluate` and `palmist benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from palmist.cli.options import JsonFile
from palmist.cli.output import busy, console, records_table, say, write_json
from palmist.errors import InputError

__all__ = ["benchmark", "evaluate", "train"]


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
