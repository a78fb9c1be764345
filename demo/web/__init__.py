"""The browser demo, for phones too: a page that runs the artifact itself, and its server."""
