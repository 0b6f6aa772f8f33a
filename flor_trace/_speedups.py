"""Choose the C or the Python twin of each hot function, once, at import, and keep the reason."""

from __future__ import annotations

import os

from flor_trace.hints import TYPE_CHECKING

__all__ = [
    "NATIVE",
    "REASON",
    "UNBOUND",
    "AfterExec",
    "Before",
    "Columns",
    "Describer",
    "LoopIter",
    "Memo",
    "Packer",
    "Site",
    "Span",
    "TensorReader",
    "Unseen",
    "Walker",
    "addresses",
    "digest",
    "digest_many",
    "discard",
    "encode_nodes",
    "frames",
    "join_planes",
    "native_wanted",
    "pack_numbers",
    "populate",
    "read_generator",
    "run_main",
    "running",
    "sample_difference",
    "sample_widths",
    "set_handler",
    "split_planes",
    "stage",
    "write_generator",
]


def native_wanted() -> bool:
    """Whether the C twins may be used: not when ``FLOR_TRACE_NATIVE`` is 0."""
    return os.environ.get("FLOR_TRACE_NATIVE", "1") != "0"  # noqa: TID251 - below settings


if TYPE_CHECKING:
    from flor_trace._native import (  # noqa: TID251 - this is the one place
        UNBOUND,
        AfterExec,
        Before,
        Columns,
        Describer,
        LoopIter,
        Memo,
        Packer,
        Site,
        Span,
        TensorReader,
        Unseen,
        Walker,
        addresses,
        digest,
        digest_many,
        discard,
        encode_nodes,
        frames,
        join_planes,
        pack_numbers,
        populate,
        read_generator,
        run_main,
        running,
        sample_difference,
        sample_widths,
        set_handler,
        split_planes,
        stage,
        write_generator,
    )

    #: Whether the C twins are used.
    NATIVE: bool
    #: Why they are not, or an empty string.
    REASON: str
else:
    try:
        if not native_wanted():
            raise ImportError("FLOR_TRACE_NATIVE=0 asks for the Python twins")
        from flor_trace._native import (  # noqa: TID251
            UNBOUND,
            AfterExec,
            Before,
            Columns,
            Describer,
            LoopIter,
            Memo,
            Packer,
            Site,
            Span,
            TensorReader,
            Unseen,
            Walker,
            addresses,
            digest,
            digest_many,
            discard,
            encode_nodes,
            frames,
            join_planes,
            pack_numbers,
            populate,
            read_generator,
            run_main,
            running,
            sample_difference,
            sample_widths,
            set_handler,
            split_planes,
            stage,
            write_generator,
        )

        NATIVE, REASON = True, ""
    except ImportError as error:
        from flor_trace._pure import (
            UNBOUND,
            AfterExec,
            Before,
            Columns,
            Describer,
            LoopIter,
            Memo,
            Packer,
            Site,
            Span,
            TensorReader,
            Unseen,
            Walker,
            addresses,
            digest,
            digest_many,
            discard,
            encode_nodes,
            frames,
            join_planes,
            pack_numbers,
            populate,
            read_generator,
            run_main,
            running,
            sample_difference,
            sample_widths,
            set_handler,
            split_planes,
            stage,
            write_generator,
        )

        NATIVE, REASON = False, f"the C extension is not used: {error}"
