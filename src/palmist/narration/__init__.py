"""Hand-object dynamics in words: detections over time, facts about motion, sentences (EgoVideo's HOD, ICLR 2025)."""
