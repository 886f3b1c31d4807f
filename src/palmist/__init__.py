"""Palmist reads hands: what they are doing, and what they will do next."""
