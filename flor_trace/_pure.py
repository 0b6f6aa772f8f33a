"""The table of the hot functions in Python: the reference for ``flor_trace._native``."""

from flor_trace._pure_columns import Columns
from flor_trace._pure_describer import Describer
from flor_trace._pure_document import encode_nodes
from flor_trace._pure_frames import UNBOUND, frames, read_generator, write_generator
from flor_trace._pure_handler import set_handler
from flor_trace._pure_hash import digest, digest_many
from flor_trace._pure_loops import LoopIter, Site, running
from flor_trace._pure_main import run_main
from flor_trace._pure_pack import Memo, Packer, pack_numbers
from flor_trace._pure_planes import join_planes, sample_difference, sample_widths, split_planes
from flor_trace._pure_stage import addresses, discard, populate, stage
from flor_trace._pure_tensors import Span, TensorReader
from flor_trace._pure_walk import Walker
from flor_trace._pure_wrappers import AfterExec, Before, Unseen

__all__ = [
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
