"""When a written-out gradient or a compiled loop has to give way to plain operations of torch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import forward_ad

from lib.live import tracing

__all__ = ["needs_plain_operations"]


def needs_plain_operations(*tensors: Tensor | None) -> bool:
    """Whether a figure is being recorded, or a tensor is differentiated forwards or handled by torch.func."""
    if tracing.active():
        return True
    forwards = not torch.is_inference_mode_enabled()
    given = [tensor for tensor in tensors if tensor is not None]
    return any(
        torch.func.debug_unwrap(tensor) is not tensor
        or (forwards and forward_ad.unpack_dual(tensor).tangent is not None)
        for tensor in given
    )
