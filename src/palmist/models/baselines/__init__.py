"""Models to compare with, each in one file."""
