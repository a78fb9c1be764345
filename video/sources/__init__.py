"""Frames in: videos, images, folders of images, and cameras, behind one `open_source`."""
