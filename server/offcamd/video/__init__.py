"""From pixels to planes to H.264 to MP4; what is in such files, and thumbnails. No other room imports av or cv2."""
