"""Users' files opened with care and written whole, one writer for each folder, other makers' weights and models."""
