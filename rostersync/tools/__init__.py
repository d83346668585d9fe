"""Tools for people who work with the program: the demo, the reference pages, a new plugin."""
