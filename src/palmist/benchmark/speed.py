"""The speed benchmark: one thread, CPU time, both sides of a comparison interleaved in one process.

Each case first checks that both sides give the same output; then they are called in turn (A B A B ...) after a warm-up.
The record's value is the median CPU time, its interval the 5th and 95th percentile of the calls; ratios get a bootstrap
interval. Weights are random where the value does not depend on them.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from palmist.errors import InputError
from palmist.evaluation.benchmark_record import BenchmarkRecord, make_record
from palmist.metrics.motion import apd, frechet_distance
from palmist.models.ghtt import GHTT, Clips, cut_clips
from palmist.pose_vector import encode

__all__ = ["CASES", "run"]

COMMAND = "OMP_NUM_THREADS=1 palmist benchmark speed"  # numpy's own threads would count as CPU time
_QUICK_THREADS = 2


def _measure(calls: Sequence[Callable[[], object]], repeats: int, clock: Callable[[], float] = time.process_time) -> np.ndarray:
    """CPU seconds, or those of another clock, (repeats, len(calls)), calls in turn."""
    for call in calls:
        call()
    seconds = np.zeros((repeats, len(calls)))
    for row in range(repeats):
        for column, call in enumerate(calls):
            start = clock()
            call()
            seconds[row, column] = clock() - start
    return seconds


def _seconds(name: str, seconds: np.ndarray, unit: str = "s") -> BenchmarkRecord:
    low, high = np.quantile(seconds, [0.05, 0.95])
    return make_record(name, float(np.median(seconds)), unit, len(seconds), COMMAND, (float(low), float(high)), threads=1)


def _ratio(name: str, slow: np.ndarray, fast: np.ndarray) -> BenchmarkRecord:
    """How many times faster: the median of the paired ratios, with a bootstrap interval."""
    ratios = slow / fast
    draw = np.random.default_rng(0).integers(0, len(ratios), (2000, len(ratios)))
    low, high = np.quantile(np.median(ratios[draw], axis=1), [0.025, 0.975])
    return make_record(name, float(np.median(ratios)), "times", len(ratios), COMMAND, (float(low), float(high)), threads=1)


def _model(preset: str) -> GHTT:
    labels = tuple(f"label {i}" for i in range(36))
    features = torch.nn.functional.normalize(torch.randn(36, 384, generator=torch.Generator().manual_seed(0)), dim=-1)
    torch.manual_seed(0)
    model = GHTT.from_preset(preset, labels, features)
    return model.eval().requires_grad_(False)


def _hands(model: GHTT, frames: int) -> Clips:
    generator = torch.Generator().manual_seed(1)
    shape = torch.randn(2, 21, 3, generator=generator) * 0.04
    walk = torch.randn(frames, 1, 1, 3, generator=generator).cumsum(0) * 0.003
    joints = (shape + walk.expand(frames, 2, 1, 3)).unsqueeze(0)
    code = encode(joints, torch.ones(1, frames, 2, 21, dtype=torch.bool))
    context: dict[str, torch.Tensor] = {}
    if model.a is not None and model.a.config.body_context:
        context = {"context": torch.zeros(1, frames, 26), "context_known": torch.ones(1, frames, dtype=torch.bool)}
    return cut_clips(code, model.p.config.clip_length, **context)  # type: ignore[arg-type]


def _futures(preset: str, repeats: int) -> list[BenchmarkRecord]:
    """20 futures x 64 frames from 128 observed frames: P.b, the observed clips encoded before (and end to end)."""
    model = _model(preset)
    clips = _hands(model, 128)
    code = model.encode_clips(clips)
    generator = torch.Generator()

    def predict(encoded: bool = True) -> torch.Tensor:
        return model.predict_long(clips, 4, 20, 5.0, generator.manual_seed(0), code=code if encoded else None).joints

    mid_levels = torch.randn(80, model.p.config.width, generator=torch.Generator().manual_seed(2))
    plain, collapsed = model.p.decode(mid_levels), model.p.decode_collapsed(mid_levels)
    difference = float((plain - collapsed).abs().max())
    if difference > 2e-6 * max(1.0, float(plain.abs().max())):
        raise AssertionError(f"the collapsed decoder differs from the plain one by {difference}")
    prefix, shorter = f"speed/{preset}", _hands(model, 120)
    columns = _measure(
        [
            predict,
            lambda: predict(False),
            lambda: model.p.decode(mid_levels),
            lambda: model.p.decode_collapsed(mid_levels),
            lambda: model.recognise(shorter),
        ],
        repeats,
    )
    records = [
        _seconds(f"{prefix}/futures_20x64/cpu_seconds", columns[:, 0]),
        _seconds(f"{prefix}/futures_20x64_with_encoding/cpu_seconds", columns[:, 1]),
        _ratio(f"{prefix}/collapsed_decoder_80_clips/ratio", columns[:, 2], columns[:, 3]),
        make_record(f"{prefix}/collapsed_decoder/max_difference", difference, "pose vector units", 80, COMMAND, threads=1),
        _seconds(f"{prefix}/recognise_120_frames/cpu_seconds", columns[:, 4]),
    ]
    exact = predict()
    for precision in ("bfloat16", "int8"):
        model.set_precision(precision)
        error = float((predict() - exact).norm() / exact.norm())
        records.append(_seconds(f"{prefix}/futures_20x64_{precision}/cpu_seconds", _measure([predict], repeats)[:, 0]))
        records.append(
            make_record(f"{prefix}/futures_20x64_{precision}/relative_change", error, "share", 20, COMMAND, threads=1)
        )
    model.set_precision("float32")
    return records


def _stream(repeats: int) -> list[BenchmarkRecord]:
    """One step of a stream (refine, recognise, 20 futures of one clip) with the shipped checkpoint."""
    from palmist import load

    stream = load("ghtt-small").stream(30.0)
    generator = np.random.default_rng(0)
    pose = generator.normal(size=(2, 21, 3)) * 0.04
    known = np.ones((2, 21), bool)
    steps = max(320, 20 * repeats)
    seconds = np.zeros(steps)
    for i in range(steps):
        pose = pose + generator.normal(size=(2, 1, 3)) * 0.002
        start = time.process_time()
        stream.push(pose, known, i / 30)
        seconds[i] = time.process_time() - start
    warm = seconds[20:]
    third = len(warm) // 3
    return [
        make_record(
            "speed/small/stream_step_p99/cpu_seconds", float(np.quantile(warm, 0.99)), "s", len(warm), COMMAND, threads=1
        ),
        _seconds("speed/small/stream_step/cpu_seconds", warm),
        make_record(
            "speed/small/stream_step_late_over_early/ratio",
            float(np.median(warm[-third:]) / np.median(warm[:third])), "times", third, COMMAND, threads=1,
        ),
    ]  # fmt: skip


def _metrics(repeats: int) -> list[BenchmarkRecord]:
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(2000, 512)), generator.normal(size=(2000, 512)) + 0.1
    samples = generator.normal(size=(50, 60, 21, 3))
    columns = _measure([lambda: frechet_distance(first, second), lambda: apd(samples)], repeats)
    return [
        _seconds("speed/metrics/fid_2000x512/cpu_seconds", columns[:, 0]),
        _seconds("speed/metrics/apd_50x60x63/cpu_seconds", columns[:, 1]),
    ]


def _store(repeats: int) -> list[BenchmarkRecord]:
    """Training windows per second of CPU time: a store on disk, opened, encoded once, batches of 256."""
    from palmist.inputs.pose_bank import PoseBank, WindowDataset
    from palmist.inputs.windows import to_pose_sequence
    from palmist.readers import open_data
    from palmist.store import Store, write_store

    with tempfile.TemporaryDirectory() as folder:
        write_store(Path(folder) / "store", open_data("reach_to_grasp")[:60])
        data = WindowDataset(PoseBank([to_pose_sequence(recording) for recording in Store.open(Path(folder) / "store")]))
    generator, chooser = torch.Generator().manual_seed(0), np.random.default_rng(0)
    rates = 256 / _measure([lambda: data.batch(chooser.integers(0, len(data), 256), generator)], repeats)[:, 0]
    return [_seconds("speed/store/training_windows/per_second", rates, "windows/s")]


def _readers(repeats: int) -> list[BenchmarkRecord]:
    """Frames per second of CPU time of every reader of a gated set, on its example (text files in the official layout)."""
    from palmist.readers import READERS

    records = []
    for entry in READERS.values():
        if entry.example is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            root = entry.example(Path(folder) / "root")
            frames = sum(len(recording) for recording in entry.read(root))
            rates = frames / _measure([lambda read=entry.read, place=root: list(read(place))], repeats)[:, 0]  # type: ignore[misc]
        records.append(_seconds(f"speed/readers/{entry.name}/frames_per_second", rates, "frames/s"))
    return records


def _render(repeats: int) -> list[BenchmarkRecord]:
    """Frames drawn per second of CPU time, in memory: words with body, moving background and 900 tracks."""
    import cv2

    from palmist.readers import open_data
    from palmist.render import RenderSettings, render_clip

    recordings = [recording for recording in open_data("asl_words")[::400] if recording.valid.any()]
    frames, threads = sum(len(recording) for recording in recordings), cv2.getNumThreads()
    cv2.setNumThreads(1)
    records = []
    for size in (112, 224):
        settings = RenderSettings(size=size, background="moving")

        def draw(settings: RenderSettings = settings) -> None:
            for recording in recordings:
                render_clip(recording, settings, seed=0)

        rates = frames / _measure([draw], repeats)[:, 0]
        records.append(_seconds(f"speed/render/asl_words_{size}/frames_per_second", rates, "frames/s"))
    cv2.setNumThreads(threads)
    return records


def _ten_minutes(repeats: int) -> list[BenchmarkRecord]:
    """Ten minutes at 30 frames/s of real two-hand reaches, one after the other, through one stream: latency and memory."""
    import resource

    from palmist import load
    from palmist.readers import open_data

    recordings = open_data("reach_to_grasp")
    frames = (
        (np.asarray(r.joints[t]), np.asarray(r.known[t])) for r in itertools.cycle(recordings) for t in range(len(r))
    )  # fmt: skip
    stream = load("ghtt-small").stream(30.0, space="planar")
    count, minute = 18_000, 1_800
    seconds, memory = np.zeros(count), np.zeros(count // minute)
    for i in range(count):
        joints, known = next(frames)
        start = time.process_time()
        stream.push(joints, known, i / 30)
        seconds[i] = time.process_time() - start
        memory[i // minute] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    minutes = seconds.reshape(-1, minute)
    prefix = "speed/small/ten_minute_stream"
    records = [
        make_record(
            f"{prefix}_step_p{share:g}/cpu_seconds", float(np.quantile(seconds, share / 100)), "s", count, COMMAND, threads=1
        )
        for share in (50, 99)
    ]
    for share in (50, 99):
        levels = np.quantile(minutes, share / 100, axis=1)
        ratio = float(levels[-1] / levels[1])
        records.append(
            make_record(f"{prefix}_p{share:g}_last_over_second_minute/ratio", ratio, "times", minute, COMMAND, threads=1)
        )
    growth = float(memory[-1] - memory[1])  # the first minute holds what is made once
    records.append(make_record(f"{prefix}/peak_memory_growth", growth, "MiB", count, COMMAND, threads=1))
    return records


def _video(repeats: int) -> list[BenchmarkRecord]:
    """A video read from end to end against MediaPipe alone on the same decoded frames, in wall time: both use threads."""
    from palmist import load
    from palmist.demo_data import demo_video
    from palmist.inference.read_video import read_video
    from palmist.perception.hands import MediaPipeHands
    from palmist.perception.video import Video

    clip, reader = demo_video()[0], load("ghtt-small")
    found: dict[str, int] = {}

    def alone() -> None:
        with MediaPipeHands() as tracker:
            found["alone"] = sum(len(tracker.detect(moment, image)) > 0 for image, moment in Video(clip))

    def whole() -> None:
        with MediaPipeHands() as tracker:
            found["whole"] = int(read_video(clip, reader, tracker, futures=20).recording.valid.any(1).sum())

    frames = sum(1 for _ in Video(clip))
    seconds = _measure([alone, whole], repeats, time.perf_counter)
    if found["alone"] != found["whole"]:
        raise InputError(
            f"the tracker alone finds hands in {found['alone']} frames, reading in {found['whole']}; expected the same"
        )
    return [
        _seconds("speed/video/mediapipe/frames_per_second", frames / seconds[:, 0], "frames/s"),
        _seconds("speed/video/read_video/frames_per_second", frames / seconds[:, 1], "frames/s"),
        _ratio("speed/video/read_video/ratio", seconds[:, 0], seconds[:, 1]),
    ]


def _bharnet(repeats: int) -> list[BenchmarkRecord]:
    """Recordings per second of BHaRNet small against one graph of body and both hands by ST-GCN++ in its plain form.

    The graph has the width and depth of BHaRNet's experts (`unified_graph`, whose accuracy the quality benchmark gives), or
    those that are published. ST-GCN++ with joints first is also compared with its plain form, outputs equal.
    """
    from palmist.models.bharnet import PRESETS, BHaRNet, BHaRNetConfig, Expert
    from palmist.models.graph_backbones import TrunkConfig
    from palmist.readers import open_data
    from palmist.tasks.skeletons import skeleton_batch

    small = dataclasses.replace(PRESETS["small"], labels=("a", "b"))
    unified = dataclasses.replace(small, experts=("unified",), pool_attention=False)
    published = BHaRNetConfig(
        body_graph=small.body_graph, experts=("unified",), trunk=TrunkConfig(), frames=small.frames, rate=small.rate,
        labels=("a", "b"),
    )  # fmt: skip
    alone = [dataclasses.replace(small, experts=(expert,), pool_attention=False) for expert in ("body", "hand")]
    torch.manual_seed(0)
    models = [BHaRNet(config).eval() for config in (small, unified, published, *alone)]
    recordings = [recording for recording in open_data("asl_words")[::60] if recording.valid.any()][:64]
    batch = skeleton_batch(recordings, small)

    def run(model: BHaRNet, joints_first: bool) -> Tensor:
        for expert in model.experts.values():
            assert isinstance(expert, Expert)
            expert.trunk.joints_first = joints_first
        return model.recognise(**batch)

    for model in models:
        apart = float((run(model, True) - run(model, False)).abs().max())
        if apart > 1e-4:
            raise InputError(f"both forms of ST-GCN++ differ by {apart:g}; expected the same probabilities")
    own, one, full, body, hand = models
    calls = [
        lambda: run(own, True), lambda: run(one, True), lambda: run(one, False), lambda: run(full, True),
        lambda: run(full, False), lambda: run(body, True), lambda: run(hand, True),
    ]  # fmt: skip
    seconds = _measure(calls, repeats).T
    names = (
        "bharnet_small", "unified_joints_first", "unified_plain", "published_joints_first", "published_plain", "body_only",
        "hand_only",
    )  # fmt: skip
    return [
        *(
            _seconds(f"speed/bharnet/{name}/per_second", len(recordings) / column, "recordings/s")
            for name, column in zip(names, seconds, strict=True)
        ),
        _ratio("speed/bharnet/joints_first_over_plain/ratio", seconds[4], seconds[3]),
        _ratio("speed/bharnet/bharnet_over_unified_plain/ratio", seconds[2], seconds[0]),
        _ratio("speed/bharnet/bharnet_over_published_plain/ratio", seconds[4], seconds[0]),
    ]


def _emim(repeats: int) -> list[BenchmarkRecord]:
    """EMIM's core on 16 frames of 14 x 14 places, 5 heads of 64, 7 x 7 windows, in its three forms, without and with gradients;
    and one clip of 16 frames of 224 pixels through EMIM-S, UniFormer-S and UniFormer-S with EMIM's stem."""
    from palmist.models.emim import motion_attention
    from palmist.models.uniformer import PRESETS, UniFormer

    generator = torch.Generator().manual_seed(0)
    frames = [torch.randn(1, 5, 16, 14, 14, 64, generator=generator, requires_grad=True) for _ in range(3)]
    query, key, value = frames
    bias = torch.randn(5, 7, 7, generator=generator)
    forms = ("dense", "shifted", "unfold")

    def core(form: str | None) -> list[Tensor]:
        with torch.no_grad():
            return list(motion_attention(query, key, value, bias, form=form))

    def gradients(form: str | None) -> list[Tensor]:
        affinity, appearance = motion_attention(query, key, value, bias, form=form)
        return list(torch.autograd.grad(affinity.square().sum() + appearance.square().sum(), frames))

    for call in (core, gradients):
        plain = call("unfold")
        apart = max(
            float((a - b).abs().max() / b.abs().max()) for form in forms for a, b in zip(call(form), plain, strict=True)
        )
        if apart > 1e-5:
            raise InputError(f"the forms of EMIM's core differ by {apart:g} of the largest value; expected 1e-5 at most")
    seconds = _measure([functools.partial(core, form) for form in (*forms, None)], repeats).T
    learning = _measure([functools.partial(gradients, form) for form in ("unfold", None)], repeats).T
    prefix = "speed/emim_16x14x14"
    records = [_seconds(f"{prefix}/{form}/cpu_seconds", column) for form, column in zip(forms, seconds[:3], strict=True)]
    records += [
        _seconds(f"{prefix}/emim_core/cpu_seconds", seconds[3]),
        _ratio(f"{prefix}/emim_core/ratio", seconds[3], seconds[2]),
        _ratio(f"{prefix}/emim_core_with_gradients/ratio", learning[1], learning[0]),
    ]
    labels = tuple(map(str, range(174)))
    networks = {
        "emim_s": PRESETS["emim"]["paper"],
        "uniformer_s": PRESETS["uniformer"]["paper"],
        "uniformer_s_all_frames": dataclasses.replace(PRESETS["uniformer"]["paper"], temporal_stride=1),
    }
    clip = torch.randint(0, 256, (1, 1, 16, 224, 224, 3), dtype=torch.uint8, generator=generator)
    calls = [
        functools.partial(UniFormer(dataclasses.replace(config, labels=labels)).eval().recognise, clip)
        for config in networks.values()
    ]
    whole = _measure(calls, max(3, repeats // 3)).T
    records += [
        _seconds(f"speed/video_16x224/{name}/cpu_seconds", column) for name, column in zip(networks, whole, strict=True)
    ]
    records.append(_ratio("speed/video_16x224/emim_s_over_uniformer_s/ratio", whole[0], whole[1]))
    records.append(_ratio("speed/video_16x224/emim_s_over_uniformer_s_all_frames/ratio", whole[0], whole[2]))
    return records


def _narrate(repeats: int) -> list[BenchmarkRecord]:
    from palmist.benchmark.narration_speed import narrate

    return narrate(repeats)


def _start(repeats: int) -> list[BenchmarkRecord]:
    """A Python that imports palmist, and `palmist --help`: CPU time of whole processes, and that of a bare Python beside it."""
    programs = {
        "python": "pass",
        "import_palmist": "import palmist",
        "help": "from palmist.cli import main; main(['--help'])",
    }

    def call(program: str) -> None:
        subprocess.run([sys.executable, "-c", program], check=True, stdout=subprocess.DEVNULL)

    seconds = _measure([functools.partial(call, program) for program in programs.values()], repeats, _seconds_of_children).T
    return [_seconds(f"speed/start/{name}/cpu_seconds", column) for name, column in zip(programs, seconds, strict=True)]


def _seconds_of_children() -> float:
    """CPU seconds of all processes that this one started and that have ended."""
    import resource

    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _quick(repeats: int) -> list[BenchmarkRecord]:
    """`palmist benchmark quality --quick` from nothing, once: the wall time of a process of its own with two threads, whatever
    ``repeats`` is."""
    program = (
        f"import torch\ntorch.set_num_threads({_QUICK_THREADS})\n"
        "from palmist.benchmark.quick import run_quick\nrun_quick()\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": str(_QUICK_THREADS)}
    with tempfile.TemporaryDirectory() as folder:  # trainings go into the folder in which the command runs
        for name in ("configs", "data"):
            (Path(folder) / name).symlink_to(Path(name).resolve())
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", program], check=True, cwd=folder, env=environment, capture_output=True)
        seconds = time.perf_counter() - start
    return [make_record("speed/benchmark/quick/wall_seconds", seconds, "s", 1, COMMAND, threads=_QUICK_THREADS)]


CASES: dict[str, Callable[[int], list[BenchmarkRecord]]] = {
    "paper": lambda repeats: _futures("paper", repeats),
    "small": lambda repeats: _futures("small", repeats),
    "stream": _stream,
    "metrics": _metrics,
    "store": _store,
    "readers": _readers,
    "render": _render,
    "ten_minutes": _ten_minutes,
    "video": _video,
    "bharnet": _bharnet,
    "emim": _emim,
    "narrate": _narrate,
    "start": _start,
    "quick": _quick,
}


def run(only: str | None = None, repeats: int = 15) -> list[BenchmarkRecord]:
    """All cases, or one; ``repeats`` calls of each side."""
    if only is not None and only not in CASES:
        raise InputError(f"there is no case '{only}' in the speed benchmark; expected one of {', '.join(CASES)}")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return [record for name, case in CASES.items() if only in (None, name) for record in case(repeats)]
    finally:
        torch.set_num_threads(threads)
