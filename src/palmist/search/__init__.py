"""Find moments in videos by a sentence or by another video: clips as vectors of a video-text model, kept in an index."""

from palmist.search.build import Indexing, index_videos, search_like, search_text
from palmist.search.embedder import VideoTextEmbedder
from palmist.search.index import ClipIndex, Hit, IndexedClip, IndexWriter

__all__ = [
    "ClipIndex", "Hit", "IndexWriter", "IndexedClip", "Indexing", "VideoTextEmbedder", "index_videos", "search_like",
    "search_text",
]  # fmt: skip
