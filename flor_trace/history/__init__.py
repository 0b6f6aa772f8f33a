"""Which code made which run, and what the run logged."""
