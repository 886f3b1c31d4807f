"""The one table of docs/results.md: every model on what each open set asks, and what the models cost."""

from __future__ import annotations

from typing import Any

from results_records import number

_WORDS_A, _WORDS_B, _LETTERS, _SIZE, _DRAWN_A, _WAYS = COLUMNS = (
    "words A", "words B", "letters", "size from the reach", "drawn words A, from pixels", "8 directions, from pixels",
)  # fmt: skip
_PREFIX = {
    _WORDS_A: "asl_words/cross_signer_a",
    _WORDS_B: "asl_words/cross_signer_b",
    _LETTERS: "asl_letters/leave_out_s2",
    _SIZE: "reach_to_grasp/leave_out_p1_p2",
    _DRAWN_A: "rendered_asl_words/cross_signer_a",
    _WAYS: "directions/all",
}
_JOINTS, _PIXELS = (_WORDS_A, _WORDS_B, _LETTERS, _SIZE), (_DRAWN_A, _WAYS)
_WITH_BODY = (_WORDS_A, _WORDS_B, _SIZE)
#: model, what it can read, its names in the records: the first that there is counts.
MODELS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("G-HTT", _JOINTS, ("ghtt_equal_budget", "ghtt")),
    ("HTT", _JOINTS, ("htt_equal_budget",)),
    ("PoseGPT", (), ()),
    ("flattened VAE", _JOINTS, ("flattened_equal_budget",)),
    ("recognition only", _JOINTS, ("recognition_only_equal_budget",)),
    ("BHaRNet", _WITH_BODY, ("bharnet",)),
    ("one graph of body and hands", _WITH_BODY, ("unified_graph",)),
    ("one graph, ST-GCN++ as published", _WITH_BODY, ("published_graph",)),
    ("body only", _WITH_BODY, ("body_only",)),
    ("hand only", _JOINTS, ("hand_only",)),
    ("EMIM", _PIXELS, ("emim",)),
    ("TRec", _PIXELS, ("trec",)),
    ("RGB only (TRec without tracks)", _PIXELS, ("rgb_only",)),
    ("UniFormer", _PIXELS, ("uniformer",)),
    ("EgoVideo, labels as sentences", _PIXELS, ("egovideo", "egovideo_labels")),
    ("fusion of several models", (_WORDS_A, _WORDS_B, _DRAWN_A), ("fusion", "fusion_of_poses")),
    ("linear", _JOINTS, ("linear",)),
    ("plain transformer", _JOINTS, ("plain_transformer",)),
)
#: Records that are named otherwise.
_ELSEWHERE = {
    ("egovideo_labels", _DRAWN_A): "hod/rendered/egovideo_labels/zero_shot_words_accuracy",
    ("egovideo", _DRAWN_A): "hod/rendered/egovideo/zero_shot_words_accuracy",
    ("fusion", _DRAWN_A): "asl_words/cross_signer_a/fusion_of_pixels/accuracy",
    # the clean input of ghtt-tables
    **{
        (f"{model}_equal_budget", _WORDS_A): f"asl_words/cross_signer_a/{model}_equal_budget/accuracy_clean"
        for model in ("ghtt", "htt", "recognition_only")
    },
}
_NEXT = ("asl_words/cross_signer_a", "reach_to_grasp/leave_out_p1_p2", "leap_recordings/leave_out_takes_1")
_AHEAD = "reach_to_grasp/leave_people_out/{}_equal_budget"
_NAMES = ("words", "reaches", "metric hands")
#: What of motion is asked: column, record with {} for the model, what it is divided by.
MOTION = (
    *(
        (f"{text}: refined / noisy", f"{prefix}/{{}}_equal_budget/refine_error_ratio", None)
        for text, prefix in zip(_NAMES, _NEXT, strict=True)
    ),
    *(
        (f"{text}: best of 20 / last pose", f"{prefix}/{{}}_equal_budget/ade_k20", f"{prefix}/last_pose_equal_budget/ade")
        for text, prefix in zip(_NAMES, _NEXT, strict=True)
    ),
    ("reaches of 2 s and more: best of 20, px", f"{_AHEAD}/ade_k20_2s", None),
    ("reaches of 2 s and more: FID", f"{_AHEAD}/fid_2s", None),
)
#: model -> for each column of MOTION its name in the records, "" where the model cannot do it.
_CANNOT = ("", "", "")
MOVERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("G-HTT", ("ghtt",) * 6 + ("ghtt_pb",) * 2),
    ("— clip by clip, without its A-block", (*_CANNOT, *_CANNOT, "ghtt_pa", "ghtt_pa")),
    ("HTT", ("htt", "htt", "", *_CANNOT, "", "")),
    ("PoseGPT", (*_CANNOT, "posegpt", "posegpt", "", "posegpt", "posegpt")),
    ("flattened VAE", (*_CANNOT, "flattened", "flattened", "", "flattened_stronger", "flattened_stronger")),
    ("linear (Gaussian smoothing)", (*("gaussian_smoothing",) * 3, *_CANNOT, "", "")),
)
#: model -> its name in the records of the section times.
COSTS = (
    ("G-HTT", "ghtt"),
    ("HTT", "htt"),
    ("PoseGPT", "posegpt"),
    ("flattened VAE", "flattened"),
    ("recognition only", "recognition_only"),
    ("BHaRNet", "bharnet"),
    ("one graph of body and hands", "unified_graph"),
    ("one graph, ST-GCN++ as published", "published_graph"),
    ("body only", "body_only"),
    ("hand only", "hand_only"),
    ("plain transformer", "plain_transformer"),
    ("EMIM, from pixels", "emim"),
    ("TRec, from pixels", "trec"),
    ("RGB only, from pixels", "rgb_only"),
    ("UniFormer, from pixels", "uniformer"),
    ("EgoVideo, from pixels", "egovideo"),
)
ONE_TABLE = """## One table

Every model on what each open set asks, people (or takes) of the test unseen: value [95 % interval]; items × seeds. "–": the
model cannot read what the column shows (of the fusion: was not measured). Words A: signer S2 unseen; B: S1 and S3; letters:
S2; reaches: persons P1 and P2; metric hands: every fourth take. Budgets are equal within a family: G-HTT, HTT, recognition
only, PoseGPT and flattened VAE; BHaRNet, the graphs and the experts; EMIM, UniFormer and, on directions, EgoVideo; TRec and
its twin. G-HTT's own longer training stands in the tables below. Recognition only is a transformer of G-HTT's size on
G-HTT's input and labels; the plain transformer has three layers on wrist-local joints. The linear model gives the same for
every seed. Letters show no body. The fusion is of G-HTT, BHaRNet, TRec and EMIM, on B of the two that read joints, from
pixels of the two that read them. Networks that see pixels are measured on drawings of words A and on directions, not on
drawings of the other sets.

**Recognition (accuracy)**
"""
MOTION_HEAD = """**Motion**

Errors as shares of the noisy input's or, half a second ahead, of the last pose's (the interval leaves its uncertainty out):
below 1 is better, and so is a lower FID, whose interval is its range over the seeds. The linear rival of a prediction, constant
velocity, has one future only and stands in the tables below. Models that are not named only recognise.
"""
COST_HEAD = """**What they cost**

Training on one core (others ran beside it; mean [range] of the seeds), everything that the model stands on counted; numbers in
the checkpoint; CPU time of one thread to read one recording, a word of 20 frames as joints or its drawing as a video with
decoding and point tracks (median [range] of the repeats).
"""
#: Claims of the papers that this table bears out or not; words only, look at them when numbers change.
SAYS = """**What it says**

- G-HTT at this budget recognises words less well than recognition only on the same input, on words A also less well than HTT
  and the flattened VAE, and letters far less well than all three; its own longer training (below) mends that on letters and on
  words B, not on words A. Its A-block sees frozen mid-levels, which are undertrained. The size from the reach it tells about as
  well as recognition only and the plain transformer; graphs of joints hardly tell it.
- The simplest rival, a plain transformer, is level with most networks on words A and with the best on reaches, and leads on
  letters; on words B it is behind even the linear model. BHaRNet leads on words A, recognition only on words B.
- G-HTT refines, and smoothing is as good on metric hands alone. HTT makes poses anew: on noise as small as this it adds error.
- Half a second ahead PoseGPT is nearest on words (it is told the true action) and far off on reaches; beyond two seconds the
  flattened VAE has the nearest of twenty futures and G-HTT those that are most like real motion, more so without its A-block,
  which the paper says should help.
- From pixels: motion helps EMIM and TRec, plain UniFormer reads words as EMIM without its motion branch does, and no network
  without motion tells directions. Sentences (EgoVideo) are behind labels; of directions EgoVideo, whose adapters mix each place
  with itself over time, learns nothing from as many clips as EMIM is shown.
- A fusion with equal weights stays below its best member on A and on B; of two networks that see pixels it is above both.
"""


def _cell(have: dict[str, dict[str, Any]], names: list[str], divisor: str | None = None) -> str:
    """The first record that there is: value [interval]; n × seeds."""
    if not names:
        return "–"
    found = [have[name] for name in names if name in have]
    if not found or (divisor is not None and divisor not in have):
        return "not measured"
    scale = 1.0 if divisor is None else have[divisor]["value"]
    record = found[0]
    interval = record["interval"]
    span = "" if interval is None else f" [{number(interval[0] / scale)}, {number(interval[1] / scale)}]"
    return f"{number(record['value'] / scale)}{span}; {record['n']:,}\u00a0×\u00a0{max(1, len(record['seeds']))}"


def _cost(record: dict[str, Any] | None) -> str:
    if record is None:
        return "–"
    value, interval = record["value"], record["interval"]
    if interval is None:
        return f"{value:,.0f}"
    return f"{value:.1f} [{interval[0]:.1f}, {interval[1]:.1f}]"


def _grid(header: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def one_table(have: dict[str, dict[str, Any]]) -> str:
    """All models against all sets: recognition, then motion, then what they cost."""
    recognition, motion = [], []
    for text, reads, models in MODELS:
        row = [text]
        for column in COLUMNS:
            known = [_ELSEWHERE.get((model, column), f"{_PREFIX[column]}/{model}/accuracy") for model in models]
            row.append(_cell(have, known if column in reads else []))
        recognition.append(row)
    for text, models in MOVERS:
        row = [text]
        for model, (_, name, divisor) in zip(models, MOTION, strict=True):
            row.append(_cell(have, [name.format(model)] if model else [], divisor))
        motion.append(row)
    names = ("training/fold_1/{}/minutes", "training/fold_1/{}/parameters", "asl_words/one_recording/{}/milliseconds")
    costs = [[text, *(_cost(have.get(name.format(model))) for name in names)] for text, model in COSTS]
    cost_columns = ["model", "training, minutes of a core", "parameters", "one recording, CPU ms"]
    parts = (
        ONE_TABLE, _grid(["model", *COLUMNS], recognition), "",
        MOTION_HEAD, _grid(["model", *(name for name, *_ in MOTION)], motion), "",
        COST_HEAD, _grid(cost_columns, costs), "",
        SAYS.rstrip(),
    )  # fmt: skip
    return "\n".join(parts)
