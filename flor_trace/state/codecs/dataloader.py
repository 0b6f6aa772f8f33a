"""Iterators of torch's ``DataLoader``."""

from __future__ import annotations

from flor_trace.state.codecs.base import Codec

CODECS: tuple[Codec, ...] = ()
