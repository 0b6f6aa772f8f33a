"""One recorded run: the one place where the packages meet."""
