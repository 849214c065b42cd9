"""offcam."""
