"""Run an old commit again, with probes that were not there."""
