"""The demo in a browser, a phone's too: a page that runs the artifact itself, and the server that hands it out."""
