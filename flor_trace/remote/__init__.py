"""Copies of runs with their checkpoints at any URL that fsspec can reach."""
