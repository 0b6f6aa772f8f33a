"""One module per kind of object that can be captured and restored."""
