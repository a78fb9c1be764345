"""Camera, file or stream in; display, file or stream out; GStreamer on both sides of a stylizer."""
