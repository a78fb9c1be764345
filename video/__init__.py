"""Frames in and out, optical flow, warping error, synthetic scenes."""
