"""Recordings on disk: a folder of arrays and an index, memory-mapped, safe against a crash; `folder` has the layout."""

from palmist.store.folder import Store, open_source, write_store

__all__ = ["Store", "open_source", "write_store"]
