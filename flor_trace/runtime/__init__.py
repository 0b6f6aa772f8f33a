"""What rewritten code calls while a run is recorded or replayed."""
