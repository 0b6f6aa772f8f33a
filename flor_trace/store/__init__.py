"""Immutable chunks, addressed by the digest of their contents."""
