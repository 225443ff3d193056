"""The blocks of state-space language models: Mamba-1, Mamba-2 and Mamba-3.

All three map tokens (batch, time, d_model) to outputs of the same shape, can go on from a state (``prefill``), read one
token at a time (``step``), and take rows of packed or padded sequences. They are built in :mod:`lib.ssm.mamba1`,
:mod:`lib.ssm.mamba2` and :mod:`lib.ssm.mamba3`; :mod:`lib.ssm.language_model` stacks them. Weights may be converted
with ``.bfloat16()`` or run under ``torch.autocast``: step lengths, decays, angles and states stay in single precision.
"""

from __future__ import annotations

from lib.ssm._block import BlockState
from lib.ssm.mamba1 import Mamba1Block
from lib.ssm.mamba2 import Mamba2Block
from lib.ssm.mamba3 import Mamba3Block, Projection
from lib.ssm.state import ScanState

__all__ = ["BlockState", "Mamba1Block", "Mamba2Block", "Mamba3Block", "Projection", "ScanState"]
