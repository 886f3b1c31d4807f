"""Users' files opened with care, one writer for each folder, and other makers' models by hash."""
