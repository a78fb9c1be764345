"""Frames in and out, optical flow, warping and its error, synthetic scenes."""
