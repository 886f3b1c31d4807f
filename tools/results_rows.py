"""The rows of docs/results.md and of the README's table: what is shown, the record it is, what it has to beat."""

from __future__ import annotations

SETS = (
    ("asl_words", "cross_signer"),
    ("reach_to_grasp", "leave_people_out"),
    ("leap_recordings", "leave_takes_out"),
)
#: (what, name of the record, plain baseline or target in words)
RECOGNITION = (
    ("words, unseen signer (A: S1+S3 → S2)", "asl_words/cross_signer_a/ghtt/accuracy", "linear 0.893; target 0.95"),
    ("— our own linear model, A", "asl_words/cross_signer_a/linear/accuracy", ""),
    ("— our own linear model, B", "asl_words/cross_signer_b/linear/accuracy", ""),
    ("words, unseen signers (B: S2 → S1+S3)", "asl_words/cross_signer_b/ghtt/accuracy", "linear 0.798; target 0.90"),
    ("— B without body context", "asl_words/cross_signer_b/ghtt_no_context/accuracy", ""),
    ("— B without noise on mid-levels", "asl_words/cross_signer_b/ghtt_no_noise/accuracy", ""),
    ("letters, signer S1 left out", "asl_letters/leave_out_s1/ghtt/accuracy", "linear 0.609"),
    ("letters, signer S2 left out", "asl_letters/leave_out_s2/ghtt/accuracy", "linear 0.663"),
    ("letters, signer S3 left out", "asl_letters/leave_out_s3/ghtt/accuracy", "linear 0.752"),
    ("size of the object from the reach", "reach_to_grasp/leave_one_person_out/ghtt/accuracy", "linear 0.612"),
)
REFINEMENT = tuple(
    row
    for name, split in SETS
    for row in (
        (f"{name}: refined / noisy error, palm frame", f"{name}/{split}/ghtt/refine_error_ratio", "target ≤ 0.7"),
        (f"{name}: the best Gaussian smoothing", f"{name}/{split}/gaussian_smoothing/refine_error_ratio", ""),
        (f"{name}: G-HTT's common head, without refiner", f"{name}/{split}/ghtt_common_head/refine_error_ratio", ""),
        (f"{name}: refined / noisy error, wrists aligned", f"{name}/{split}/ghtt/refine_error_ratio_wrist_aligned", ""),
        (f"{name}: shift of clean input, hand sizes", f"{name}/{split}/ghtt/refine_clean_shift", "target ≤ 0.02"),
    )
)
PREDICTION = (
    *(
        row
        for name, split in SETS
        for row in (
            (f"{name}: last pose repeated", f"{name}/{split}/last_pose/ade", ""),
            (f"{name}: constant velocity", f"{name}/{split}/constant_velocity/ade", ""),
            (f"{name}: G-HTT, deterministic", f"{name}/{split}/ghtt/ade", "below last pose"),
            (f"{name}: G-HTT, deterministic, drawn toward the last pose", f"{name}/{split}/ghtt_damped/ade", "below last pose"),
            (f"{name}: G-HTT, best of 20", f"{name}/{split}/ghtt/ade_k20", "below last pose"),
        )
    ),
    ("asl_words A: P-block trained on all sets, deterministic", "asl_words/cross_signer_a/ghtt_p_all_sets/ade", ""),
    ("asl_words A: P-block trained on asl_words only", "asl_words/cross_signer_a/ghtt_p_words_only/ade", ""),
    ("asl_words A: P-block trained on all sets, best of 20", "asl_words/cross_signer_a/ghtt_p_all_sets/ade_k20", ""),
    ("asl_words A: P-block trained on asl_words only, best of 20", "asl_words/cross_signer_a/ghtt_p_words_only/ade_k20", ""),
)
_REACH = "reach_to_grasp/leave_people_out"
FUTURES = (
    *(
        (f"{text}, {named}", f"{_REACH}/ghtt_{flow}/{metric}", "")
        for metric, text in (("fid", "FID"), ("apd_left", "APD left hand"), ("apd_right", "APD right hand"))
        for flow, named in (("pa", "P.a"), ("pb", "P.b"), ("pb_given", "P.b, first future clip given"))
    ),
    *(
        (f"mean error of P.b's futures in {kind}, change", f"{_REACH}/ghtt_pb_{kind}/ade_change", "< 0.01")
        for kind in ("bfloat16", "int8")
    ),
)
_SKELETONS = (
    ("bharnet", "BHaRNet: body and hand experts, pooled attention"),
    ("body_only", "body expert alone"),
    ("hand_only", "hand expert alone"),
    ("score_sum", "both trained apart, scores summed"),
    ("unified_graph", "one graph of body and hands"),
    ("published_graph", "one graph by ST-GCN++ as published, joints alone"),
    ("bharnet_no_attention", "BHaRNet without attention"),
    ("bharnet_noisy_or", "BHaRNet with Noisy-OR"),
    ("bharnet_expert_branch", "BHaRNet with expert branches"),
)
_SIGNERS = ("cross_signer_a", "cross_signer_b")
BODY_HAND = (
    *(
        (f"{split[-1].upper()}: {text}", f"asl_words/{split}/{name}/accuracy", goal if name == "bharnet" else "")
        for split, goal in zip(_SIGNERS, ("> 0.97", "> 0.92"), strict=True)
        for name, text in _SKELETONS
    ),
    *((f"{text}: parameters", f"asl_words/cross_signer_a/{name}/parameters", "") for name, text in _SKELETONS),
    *((f"{text}: multiply-adds", f"asl_words/cross_signer_a/{name}/multiply_adds", "") for name, text in _SKELETONS),
)
_DAMAGE = (
    ("frames_lost_10", "10 % of the frames lost"),
    ("frames_lost_30", "30 % of the frames lost"),
    ("frames_lost_50", "50 % of the frames lost"),
    ("noise_05", "noise of 0.05 hand sizes"),
    ("noise_10", "noise of 0.10 hand sizes"),
    ("noise_20", "noise of 0.20 hand sizes"),
    ("no_right_hand", "right hand never seen"),
    ("no_left_hand", "left hand never seen"),
    ("no_hands", "no hand ever seen"),
)
ROBUSTNESS = tuple(
    (f"{what}: {text}", f"asl_words/cross_signer_a/{name}/accuracy_{damage}", "")
    for damage, what in _DAMAGE
    for name, text in _SKELETONS
)
_NETWORKS = (
    ("emim", "EMIM"),
    ("emim_without_motion", "— its twin without the motion network"),
    ("uniformer", "plain UniFormer"),
    ("trec", "TRec: frames and tracks of 900 points"),
    ("rgb_only", "— its twin without tracks"),
    ("image_and_tracks", "— its twin with one frame and tracks"),
    ("tracks_only", "— its twin with tracks alone"),
    ("egovideo", "EgoVideo, the labels as sentences"),
)
_GOALS = {"emim": "≥ 0.95", "trec": "≥ 0.95", "uniformer": "0.125 by chance"}
DIRECTIONS = tuple((text, f"directions/all/{name}/accuracy", _GOALS.get(name, "")) for name, text in _NETWORKS)
_DRAWN = "rendered_asl_words/cross_signer_a"
_MEMBERS = (
    ("ghtt", "G-HTT"),
    ("bharnet", "BHaRNet"),
    ("trec", "TRec on drawings"),
    ("emim", "EMIM on drawings"),
    ("egovideo", "EgoVideo on drawings, words as sentences"),
)
_FUSED = (
    ("fusion", "the first four"),
    ("fusion_uncalibrated", "the first four, without temperatures"),
    ("fusion_with_egovideo", "all five"),
    ("fusion_of_poses", "G-HTT and BHaRNet"),
    ("fusion_of_pixels", "TRec and EMIM on drawings"),
)
FUSION = tuple(
    row
    for split, where in (("cross_signer_a", "A"), ("cross_signer_b", "B"))
    for row in (
        *((f"{where}, {text}: accuracy", f"asl_words/{split}/fusion/accuracy_of_{name}", "") for name, text in _MEMBERS),
        *((f"{where}, {text} together: accuracy", f"asl_words/{split}/{name}/accuracy", "") for name, text in _FUSED),
        *(
            (f"{where}, {text}: calibration error {after}", f"asl_words/{split}/{name}/expected_calibration_error{key}", "")
            for name, text in _MEMBERS
            for key, after in (("", "as it is"), ("_calibrated", "at its temperature"))
        ),
        *(
            (f"{where}, {text} together: calibration error", f"asl_words/{split}/{name}/expected_calibration_error", "")
            for name, text in _FUSED
        ),
    )
)
_NARRATED = (
    ("narration", "with the camera's motion removed"),
    ("narration_no_camera", "camera's motion left in"),
)
_SAID = (
    ("direction_precision", "directions, precision"),
    ("direction_recall", "directions, recall"),
    ("direction_f1", "directions, F1"),
    ("side_accuracy", "sides, accuracy"),
)
NARRATION = (
    *((f"{what}, {text}", f"hod/rendered/{name}/{metric}", "") for metric, what in _SAID for name, text in _NARRATED),
    ("a held thing told from an empty hand by motion, precision", "hod/rendered/motion_contact/precision", ""),
    ("— recall", "hod/rendered/motion_contact/recall", ""),
    ("— overlap of its box with the true one (IoU)", "hod/rendered/motion_contact/object_iou", ""),
)
_TWO_TOWERS = (
    ("egovideo", "narrations as captions, motion adapters"),
    ("egovideo_no_adapter", "narrations, no adapters"),
    ("egovideo_labels", "labels as captions, motion adapters"),
    ("egovideo_labels_no_adapter", "labels, no adapters"),
)
_ASKED = (
    ("map", "retrieval by narrations, mAP", ""),
    ("map_video_to_text", "— video to text", ""),
    ("map_text_to_video", "— text to video", ""),
    ("ndcg", "retrieval by narrations, nDCG", ""),
    ("labels_map", "retrieval by labels, mAP", ""),
    ("zero_shot_words_accuracy", "16 labels as sentences, accuracy", "0.063 by chance"),
    ("zero_shot_directions_accuracy", "8 directions as sentences, accuracy", ""),
)
VIDEO_TEXT = tuple(
    (f"{what}: {text}", f"hod/rendered/{name}/{metric}", goal if name == "egovideo" else "")
    for metric, what, goal in _ASKED
    for name, text in _TWO_TOWERS
)
_CONTROLS = (
    *((f"{count}_points", f"{count} points") for count in (10, 25, 50, 100, 200, 400)),
    ("foreground", "without points that move as most do"),
    ("sees_first_frame_and_tracks", "one frame shown, trained with all"),
    ("sees_shuffled_frames_and_tracks", "frames of another video"),
    ("sees_blank_frames_and_tracks", "blank frames"),
    ("sees_frames_and_still_tracks", "tracks stand still"),
    ("sees_frames_and_reversed_tracks", "tracks run backwards"),
)
DRAWN_WORDS = (
    *((text, f"{_DRAWN}/{name}/accuracy", "") for name, text in _NETWORKS),
    *((f"TRec tested: {text}", f"{_DRAWN}/trec_{name}/accuracy", "") for name, text in _CONTROLS),
)
_CLIPS = ("02_cups", "03_blocks", "04_coffee", "mp_hand_test", "hand_video")
VIDEO = (
    *(
        (f"{name}: Lucas-Kanade, 900 points, {text}", f"rendered_{name}/all/lucas_kanade/{metric}", "")
        for name in ("asl_words", "leap_recordings")
        for metric, text in (
            ("delta_avg", "δ avg"),
            ("delta_avg_hands", "δ avg on the hands"),
            ("within_4_px", "within 4 px"),
            ("average_jaccard", "average Jaccard"),
            ("occlusion_accuracy", "visibility told right"),
        )
    ),
    *(
        row
        for clip in _CLIPS
        for row in (
            (f"{clip}: left hand found", f"videos/{clip}/mediapipe/found_left", ""),
            (f"{clip}: right hand found", f"videos/{clip}/mediapipe/found_right", ""),
            (f"{clip}: identity swaps", f"videos/{clip}/mediapipe/identity_swaps", ""),
            (f"{clip}: jerk, refined / tracked", f"videos/{clip}/ghtt/jerk_ratio", "< 1"),
        )
    ),
)
_DRAWN = (("words of S2", "rendered_asl_words/cross_signer_a"), ("takes", "rendered_leap_recordings/leave_takes_out"))
ESTIMATOR = (
    *(
        row
        for text, name in _DRAWN
        for metric, what in (
            ("pixel_error", "joints, of 480 x 270"),
            ("depth_error", "depth"),
            ("mpjpe_ra", "MPJPE-RA"),
            ("mpjpe_pa", "MPJPE-PA"),
            ("presence_accuracy", "which hands are there"),
            ("object_accuracy", "thing in the hand, by frame"),
        )
        for row in (
            (f"drawn {text}: {what}", f"{name}/image_estimator/{metric}", "below the mean pose" if "_error" in metric else ""),
            ("— training frames' mean pose, place and thing", f"{name}/mean_pose/{metric}", ""),
        )
    ),
    *(
        row
        for text, name in _DRAWN
        for row in (
            (f"drawn {text}: thing of 16 frames, E^PO", f"{name}/clip_object/object_accuracy", ""),
            ("— most named in the frames by E^I", f"{name}/image_estimator/object_accuracy_of_clips", ""),
        )
    ),
    ("real clip of a right hand: right hand found", "videos/hand_video/image_estimator/found_right", ""),
    ("real clip of a right hand: left hand found", "videos/hand_video/image_estimator/found_left", "0"),
    ("real clip: joints away from MediaPipe's", "videos/hand_video/image_estimator/distance_to_mediapipe", ""),
)
SPEED = (
    ("20 futures × 64 frames, preset paper", "speed/paper/futures_20x64/cpu_seconds", "≤ 0.85 s"),
    ("the same, int8", "speed/paper/futures_20x64_int8/cpu_seconds", "≤ 0.45 s"),
    ("the same, bfloat16", "speed/paper/futures_20x64_bfloat16/cpu_seconds", "≤ 0.45 s"),
    ("20 futures × 64 frames, preset small", "speed/small/futures_20x64/cpu_seconds", "≤ 0.20 s"),
    ("collapsed against plain decoder, paper", "speed/paper/collapsed_decoder_80_clips/ratio", "> 1"),
    ("recognise 120 frames, paper", "speed/paper/recognise_120_frames/cpu_seconds", "≤ 0.05 s"),
    ("recognise 120 frames, small", "speed/small/recognise_120_frames/cpu_seconds", "≤ 0.05 s"),
    ("one stream step, 99th percentile, small", "speed/small/stream_step_p99/cpu_seconds", "≤ 0.02 s"),
    ("FID 2000 × 512", "speed/metrics/fid_2000x512/cpu_seconds", "≤ 0.12 s"),
    ("APD 50 × 60 × 63", "speed/metrics/apd_50x60x63/cpu_seconds", "≤ 0.002 s"),
    *(
        (f"reading {name}'s files", f"speed/readers/{name}/frames_per_second", "≥ 2,000")
        for name in ("h2o", "assembly101", "assemblyhands", "fpha", "shrec17", "dhg")
    ),
    ("drawing words as video, 112 px", "speed/render/asl_words_112/frames_per_second", ""),
    ("drawing words as video, 224 px", "speed/render/asl_words_224/frames_per_second", ""),
    ("ten-minute stream: step, median", "speed/small/ten_minute_stream_step_p50/cpu_seconds", ""),
    ("ten-minute stream: step, 99th percentile", "speed/small/ten_minute_stream_step_p99/cpu_seconds", "≤ 0.02 s"),
    (
        "ten-minute stream: median, last / second minute",
        "speed/small/ten_minute_stream_p50_last_over_second_minute/ratio", "about 1",
    ),
    (
        "ten-minute stream: 99th percentile, last / second minute",
        "speed/small/ten_minute_stream_p99_last_over_second_minute/ratio", "about 1",
    ),
    ("ten-minute stream: growth of peak memory, MiB", "speed/small/ten_minute_stream/peak_memory_growth", "about 0"),
    ("hands found by MediaPipe alone (wall time)", "speed/video/mediapipe/frames_per_second", ""),
    ("video read from end to end (wall time)", "speed/video/read_video/frames_per_second", ""),
    ("video read from end to end / MediaPipe alone", "speed/video/read_video/ratio", "≥ 0.9"),
    ("narrating a clip, detections given", "speed/narrate/pipeline/frames_per_second", ""),
    ("narrating on Ray: 2 workers / 1 (wall time, start-up counted)", "speed/narrate/ray_2_workers/ratio", ""),
    ("— once the workers run", "speed/narrate/ray_2_workers_running/ratio", ""),
    ("import palmist, a whole process", "speed/start/import_palmist/cpu_seconds", "≤ 0.5 s"),
    ("palmist --help, a whole process", "speed/start/help/cpu_seconds", "≤ 1 s"),
    ("words by BHaRNet small", "speed/bharnet/bharnet_small/per_second", ""),
    ("— by its body expert alone", "speed/bharnet/body_only/per_second", ""),
    ("— by its hand expert alone", "speed/bharnet/hand_only/per_second", ""),
    ("— by its size of ST-GCN++ on one graph, plain", "speed/bharnet/unified_plain/per_second", ""),
    ("— the same, joints first", "speed/bharnet/unified_joints_first/per_second", ""),
    ("— by ST-GCN++ as published on one graph, plain", "speed/bharnet/published_plain/per_second", ""),
    ("— the same, joints first", "speed/bharnet/published_joints_first/per_second", ""),
    ("ST-GCN++ as published, joints first / plain", "speed/bharnet/joints_first_over_plain/ratio", "> 1"),
    ("BHaRNet small / ST-GCN++ of its size, plain", "speed/bharnet/bharnet_over_unified_plain/ratio", "≥ 2"),
    ("BHaRNet small / ST-GCN++ as published, plain", "speed/bharnet/bharnet_over_published_plain/ratio", "≥ 2"),
    ("EMIM's core, 16 x 14 x 14 places, 7 x 7 windows", "speed/emim_16x14x14/emim_core/cpu_seconds", ""),
    ("— by unfolding", "speed/emim_16x14x14/unfold/cpu_seconds", ""),
    ("— EMIM's / unfolding", "speed/emim_16x14x14/emim_core/ratio", "≤ 0.2"),
    ("— EMIM's / unfolding, with gradients", "speed/emim_16x14x14/emim_core_with_gradients/ratio", ""),
    ("EMIM-S, one clip of 16 frames of 224 pixels", "speed/video_16x224/emim_s/cpu_seconds", ""),
    ("UniFormer-S, the same clip", "speed/video_16x224/uniformer_s/cpu_seconds", ""),
    ("UniFormer-S with EMIM's stem, the same clip", "speed/video_16x224/uniformer_s_all_frames/cpu_seconds", ""),
    ("EMIM-S / UniFormer-S", "speed/video_16x224/emim_s_over_uniformer_s/ratio", ""),
    ("EMIM-S / UniFormer-S with EMIM's stem", "speed/video_16x224/emim_s_over_uniformer_s_all_frames/ratio", ""),
    ("benchmark quality --quick from nothing, two cores (wall time)", "speed/benchmark/quick/wall_seconds", "< 600 s"),
    ("training windows per second from a store", "speed/store/training_windows/per_second", "≥ 5,000"),
)  # fmt: skip
TABLES = (
    (
        "Round trip: joints → pose vector → joints on every leap_recordings frame (largest error)",
        (
            ("float64", "leap_recordings/all/pose_vector/round_trip_error", "≤ 1e-6 m"),
            ("float32", "leap_recordings/all/pose_vector/round_trip_error_float32", "≤ 1e-4 m"),
        ),
    ),
    ("Recognition (accuracy)", RECOGNITION),
    ("Body and hand experts on signed words, up to three seeds (accuracy)", BODY_HAND),
    ("The same on damaged recordings, split A", ROBUSTNESS),
    ("Refinement of unseen people", REFINEMENT),
    ("Prediction, about half a second ahead (mean joint error)", PREDICTION),
    ("Futures beyond 2 s on reach_to_grasp (f = 5)", FUTURES),
    ("Video: points on rendered clips with known truth, hands in real clips", VIDEO),
    ("Which way does a textured patch move? (accuracy on 8 directions)", DIRECTIONS),
    ("Drawn words of an unseen signer, by video networks (accuracy of 16)", DRAWN_WORDS),
    ("Several models together on signed words: accuracy, and expected calibration error (15 bins)", FUSION),
    ("Narrations of drawn clips with known motion: which hand moves which way", NARRATION),
    ("Video and text on drawn words of an unseen signer: retrieval and classes in words, three seeds", VIDEO_TEXT),
    ("Image estimator (preset small): drawn frames of people and takes it never saw, and one real clip", ESTIMATOR),
    ("Speed (CPU time of one thread)", SPEED),
)


#: What the README shows: (what, the record, what to compare with: a record's name or words, the comparison's name).
_WORDS, _RATIO = "asl_words/cross_signer", "refine_error_ratio"
_SETS = (
    ("words", "asl_words/cross_signer"),
    ("metric hands", "leap_recordings/leave_takes_out"),
    ("2D reaches", "reach_to_grasp/leave_people_out"),
)
HEADLINES = (
    ("16 words, unseen signer S2: accuracy", f"{_WORDS}_a/ghtt/accuracy", f"{_WORDS}_a/linear/accuracy", "linear model"),
    (
        "— by BHaRNet, body and hand experts, three seeds",
        f"{_WORDS}_a/bharnet/accuracy", f"{_WORDS}_a/unified_graph/accuracy", "one graph of both",
    ),
    ("16 words, unseen signers S1 and S3", f"{_WORDS}_b/ghtt/accuracy", f"{_WORDS}_b/linear/accuracy", "linear model"),
    ("28 letters, each signer left out", "asl_letters/leave_one_signer_out/ghtt/accuracy", "0.609 to 0.752", "linear model"),
    (
        "object's size from the reach, each person left out",
        "reach_to_grasp/leave_one_person_out/ghtt/accuracy", "0.612", "linear model",
    ),
    *(
        (f"{text}: refined / noisy error", f"{name}/ghtt/{_RATIO}", f"{name}/gaussian_smoothing/{_RATIO}", "smoothing")
        for text, name in _SETS
    ),
    *(
        (f"{text}, next half second, best of 20 futures", f"{name}/ghtt/ade_k20", f"{name}/last_pose/ade", "last pose")
        for text, name in _SETS
    ),
    (
        "2D reaches beyond 2 s: FID through the A-block, P.b",
        "reach_to_grasp/leave_people_out/ghtt_pb/fid", "reach_to_grasp/leave_people_out/ghtt_pa/fid", "clip by clip, P.a",
    ),
    (
        "video: which of 8 ways a texture moves, EMIM, three seeds",
        "directions/all/emim/accuracy", "directions/all/uniformer/accuracy", "plain UniFormer",
    ),
    ("— TRec", "directions/all/trec/accuracy", "directions/all/uniformer/accuracy", "plain UniFormer"),
    (
        "drawn words by TRec, unseen signer, three seeds",
        "rendered_asl_words/cross_signer_a/trec/accuracy", "rendered_asl_words/cross_signer_a/rgb_only/accuracy",
        "frames alone",
    ),
    (
        "narrations of drawn clips: which hand moves which way, F1",
        "hod/rendered/narration/direction_f1", "hod/rendered/narration_no_camera/direction_f1", "camera's motion left in",
    ),
    (
        "clips and sentences find each other, unseen signer: mAP, EgoVideo",
        "hod/rendered/egovideo/map", "hod/rendered/egovideo_labels/map", "labels as captions",
    ),
    ("20 futures of 2.1 s, one CPU core", "speed/small/futures_20x64/cpu_seconds", "≤ 0.2 s", "target"),
    ("one live frame, 99th percentile, one CPU core", "speed/small/stream_step_p99/cpu_seconds", "≤ 0.02 s", "target"),
)  # fmt: skip
