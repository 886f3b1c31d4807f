"""Scores on unseen people: every metric that a model and its data allow, and the records they are written as."""
