"""Where tensors that depend on a control leave torch: into Plotly, into a text, or into a decision of Python's.

Numbers and arrays that leave are noted, so that the leaves of the figure can be matched with them; a text gets a mark
instead of the number; a decision is refused. A few calls of torch that ask for values on the way, although nothing
depends on them but the result, are written with operations that do not.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from .errors import NotLive, author_line
from .trace import Recorder

__all__ = ["MARK", "Escape"]

MARK = re.compile("\u29fc(\\d+)\u2502([^\u29fd]*)\u29fd")  # stands in a text for number i, formatted so

_T = torch.Tensor
_NUMBERS = {_T.numpy, _T.__array__, _T.tolist, _T.item, _T.__float__}
_DECISIONS = {_T.__bool__, _T.__int__, _T.__index__, _T.__contains__}
_FORMAT = re.compile(r"[+ -]?0?\d*,?(\.\d+)?[fegd%]?")  # what format() of runtime/compute.js knows


_INSTEAD = {  # package that asked -> what to write instead
    "plotly": "hand Plotly float(x), not x",
    "optim": "write the step itself, w - rate * gradient, or use a Choice",
    "distributions": "pass validate_args=False",
}


class Escape(TorchFunctionMode):
    """Notes every tensor that depends on a control and leaves torch.

    Attributes
    ----------
    tensors : list of Tensor
        In the order in which they left.
    """

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder
        self.tensors: list[torch.Tensor] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in _REWRITTEN:
            out = _REWRITTEN[func](self.depends, *args, **kwargs)
            return func(*args, **kwargs) if out is NotImplemented else out
        tensor = args[0] if args else None
        if not (func in _NUMBERS | _DECISIONS or func is _T.__format__) or not self.depends(tensor):
            return func(*args, **kwargs)
        if func in _DECISIONS:
            raise NotLive(
                f"Python asks for the value of a tensor that depends on a slider ({func.__name__}) at {author_line()}: "
                f"{_way_out()}"
            )
        if tensor.is_complex():
            raise NotLive(
                f"a complex tensor is shown at {author_line()}: show its real part, imaginary part or modulus"
            )
        number = len(self.tensors)
        self.tensors.append(tensor.detach())
        if func is _T.__format__:
            return f"\u29fc{number}\u2502{_page_format(tensor, args[1])}\u29fd"
        values = _values(tensor)
        if func in (_T.item, _T.__float__):
            return values.item() if func is _T.item else float(values.item())
        return values.tolist() if func is _T.tolist else values

    def depends(self, tensor) -> bool:
        """Whether this is a tensor that depends on a control (and not functorch's wrapper of one)."""
        if not isinstance(tensor, torch.Tensor) or torch._C._functorch.is_functorch_wrapped_tensor(tensor):
            return False
        return self.recorder.is_live(tensor)


def _values(tensor: torch.Tensor) -> np.ndarray:
    """A copy that the recorder does not see."""
    return np.array(tensor.detach().resolve_conj().resolve_neg().numpy())


def _page_format(tensor: torch.Tensor, spec: str) -> str:
    """The format of a number in a text as the page's runtime must know it."""
    if tensor.dim():
        raise NotLive(f"a text formats a tensor of shape {tuple(tensor.shape)} at {author_line()}: format one number")
    if tensor.dtype == torch.bool:
        raise NotLive(f"a text shows True or False at {author_line()}: show x.double(), or use a Toggle")
    format(_values(tensor).item(), spec)  # Python's own complaint, if it has one
    if not _FORMAT.fullmatch(spec):
        raise NotLive(
            f"the page cannot format a number by {spec!r} at {author_line()}: "
            "use [+][0][width][,][.digits] and one of f, e, g, d, %"
        )
    return spec if tensor.is_floating_point() or spec[-1:] in {*"fegd%"} else f"{spec}d"


def _way_out() -> str:
    """What to write instead, by who asked."""
    frame, asking = sys._getframe(2), ""
    while frame and ("torch" in frame.f_code.co_filename or "plotly" in frame.f_code.co_filename):
        asking, frame = frame.f_code.co_filename, frame.f_back
    for who, instead in _INSTEAD.items():
        if who in Path(asking).parts:
            return instead
    return "use torch.where, or a Choice instead of a Slider"


# -- calls that would ask for values, without asking ---------------------------------------------------------------
def _full(depends, size, fill_value, *args, **kwargs):
    if args or not depends(fill_value):
        return NotImplemented
    return torch.empty(size, **({"dtype": fill_value.dtype} | kwargs)).copy_(fill_value)


def _one_hot(depends, tensor, num_classes=-1):
    if num_classes < 1 or not depends(tensor):
        return NotImplemented
    return (tensor.unsqueeze(-1) == torch.arange(num_classes)).long()


def _from_data(depends, data, *args, **kwargs):
    if isinstance(data, list | tuple) and _holds(depends, data):
        raise NotLive(
            f"torch.tensor of a list cuts the tensors in it off from the sliders at {author_line()}: use torch.stack"
        )
    return NotImplemented


def _holds(depends, data) -> bool:
    return any(_holds(depends, x) if isinstance(x, list | tuple) else depends(x) for x in data)


def _element(depends, tensor, index):
    """``x[:, i]`` with single integers ``i`` that depend on a control, for which torch asks Python."""
    parts = index if isinstance(index, tuple) else (index,)
    single = [depends(p) and p.dim() == 0 and p.dtype not in (torch.bool, torch.uint8) for p in parts]
    plain = (int, slice, type(None), type(...))
    if not any(single) or not all(s or isinstance(p, plain) for p, s in zip(parts, single, strict=True)):
        return NotImplemented
    out = tensor[tuple(slice(None) if s else p for p, s in zip(parts, single, strict=True))]
    at, places = 0, []
    for part, is_single in zip(parts, single, strict=True):
        if is_single:
            places.append((at, part))
        if part is ...:
            at += tensor.dim() - sum(p is not None and p is not ... for p in parts)
        elif is_single or not isinstance(part, int):
            at += 1
    for place, part in reversed(places):
        out = out[(slice(None),) * place + (part.reshape(1),)].squeeze(place)
    return out


def _set_element(depends, tensor, index, value):
    parts = index if isinstance(index, tuple) else (index,)
    if any(depends(p) and p.dim() == 0 and p.dtype != torch.bool for p in parts):
        raise NotLive(
            f"an element is set at a position that depends on a slider at {author_line()}: "
            "give the position a dimension, x[i.reshape(1)] = ..."
        )
    return NotImplemented


_REWRITTEN = {
    torch.full: _full,
    torch.nn.functional.one_hot: _one_hot,
    torch.tensor: _from_data,
    torch.as_tensor: _from_data,
    _T.__getitem__: _element,
    _T.__setitem__: _set_element,
}
