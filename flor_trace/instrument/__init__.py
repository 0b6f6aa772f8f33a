"""Rewrite the loops of a module so that the runtime sees every iteration."""
