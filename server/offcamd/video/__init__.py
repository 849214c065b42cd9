"""Pixels to planes to H.264 to MP4, and thumbnails."""
