"""Hand-object dynamics in words: detections over time, facts about motion, sentences (EgoVideo's HOD, ICLR 2025).

See docs/narration.md. `narrate_frames` goes all the way, `narrate_detections` starts from boxes that are there already.
"""
