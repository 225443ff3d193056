"""How ATen operations with arguments of their own are recorded (real numbers; see ``complex_rules`` for complex ones).

A rule gets the recorder, the ATen overload and the operation's arguments; it computes the result with real torch and
records instructions that compute the same on the page. ``NotImplemented`` hands the operation on to torch's own
decompositions. Rules that run torch code under ``with recorder:`` have that code recorded.
"""

from __future__ import annotations

import math

import torch

from .errors import NotLive, author_line

__all__ = ["EITHER", "IN_PLACE", "RULES", "copy_into", "resolved"]

RULES: dict = {}  # ATen name -> rule(recorder, func, *args, **kwargs)
IN_PLACE: dict = {}  # name of an in-place operation -> rule, where the functional twin would waste work
EITHER: set[str] = set()  # rules that take complex tensors as well


def rule(*names: str, either: bool = False):
    """Register a rule under ATen names; ``either``: it handles complex tensors too."""

    def register(function):
        RULES.update(dict.fromkeys(names, function))
        if either:
            EITHER.update(names)
        return function

    return register


def in_place(*names: str):
    """Register a rule for in-place operations, where the functional twin would waste work."""

    def register(function):
        IN_PLACE.update(dict.fromkeys(names, function))
        return function

    return register


def copy_into(r, target: torch.Tensor, value) -> None:
    """Record ``target[...] = value`` with the conversion that the number types ask for."""
    if target.is_complex():
        pairs = torch.view_as_real(target)
        if isinstance(value, torch.Tensor) and value.is_complex():
            parts = torch.view_as_real(resolved(r, value)).unbind(-1)
        else:
            number = complex(value) if not isinstance(value, torch.Tensor) else value
            parts = (value, 0.0) if isinstance(value, torch.Tensor) else (number.real, number.imag)
        r.pointwise("copy", pairs[..., 0], parts[0])
        r.pointwise("copy", pairs[..., 1], parts[1])
        return
    if not isinstance(value, torch.Tensor):
        r.pointwise("copy", target, value)
        return
    if value.is_complex():
        value = torch.view_as_real(resolved(r, value))[..., 0]
    op, more = _conversion(value.dtype, target.dtype)
    r.pointwise(op, target, value, *more)


def resolved(r, z: torch.Tensor) -> torch.Tensor:
    """A complex tensor without torch's lazy conjugation, which the page's memory does not know."""
    if not z.is_conj():
        return z
    stored = torch.conj(z)  # conjugating again gives the memory as it is
    if not r.is_live(stored):
        return z.resolve_conj()
    out = torch.empty(z.shape, dtype=z.dtype, device=z.device)
    torch.view_as_real(out).copy_(torch.view_as_real(stored) * torch.tensor([1.0, -1.0], dtype=stored.real.dtype))
    target, source = torch.view_as_real(out), torch.view_as_real(stored)
    r.pointwise("copy", target[..., 0], source[..., 0])
    r.pointwise("neg", target[..., 1], source[..., 1])
    return out


def _conversion(source: torch.dtype, target: torch.dtype) -> tuple[str, tuple]:
    if target == torch.bool and source != torch.bool:
        return "ne", (0.0,)
    if source.is_floating_point and not target.is_floating_point:
        return "trunc", ()
    return "copy", ()


# -- copies --------------------------------------------------------------------------------------------------------
@rule("_to_copy", "convert_element_type", "clone", "copy", "contiguous", either=True)
def _to_copy(r, func, x, *args, **kwargs):
    if func._schema.name == "aten::copy":
        target, source = torch.empty_like(x), args[0]
    else:
        target, source = func(x, *args, **kwargs), x
    if target.is_complex():
        target = target.resolve_conj()
    copy_into(r, target, source)
    if func._schema.name == "aten::copy":
        target.copy_(source)
    return target


@rule("_conj_physical", "conj_physical", "resolve_conj", either=True)
def _conj(r, func, z):
    if not z.is_complex():
        return r.pointwise("copy", func(z), z)
    if func._schema.name.endswith("resolve_conj"):
        return resolved(r, z)
    return resolved(r, torch.conj(z))


@rule("cat", either=True)
def _cat(r, func, tensors, dim=0):
    out = func(tensors, dim)
    at = 0
    for x in tensors:
        if x.numel():
            copy_into(r, out.narrow(dim, at, x.shape[dim]), x)
            at += x.shape[dim]
    return out


@rule("stack", either=True)
def _stack(r, func, tensors, dim=0):
    out = func(tensors, dim)
    for i, x in enumerate(tensors):
        copy_into(r, out.select(dim, i), x)
    return out


@rule("constant_pad_nd", either=True)
def _pad(r, func, x, pad, value=0):
    out = func(x, pad, value)
    target, source = out, x
    for i in range(len(pad) // 2):
        d = x.dim() - 1 - i
        low, high = pad[2 * i], pad[2 * i + 1]
        target = target.narrow(d, max(low, 0), target.shape[d] - max(low, 0) - max(high, 0))
        source = source.narrow(d, max(-low, 0), source.shape[d] - max(-low, 0) - max(-high, 0))
    copy_into(r, out, value)
    copy_into(r, target, source)
    return out


@rule("roll", either=True)
def _roll(r, func, x, shifts, dims=()):
    shifts, dims = listed(shifts), listed(dims)
    if not dims:
        with r:
            return x.reshape(-1).roll(shifts, 0).view(x.shape)
    if len(dims) > 1:
        with r:
            for shift, dim in zip(shifts, dims, strict=True):
                x = x.roll(shift, dim)
            return x
    out = func(x, shifts, dims)
    n = x.shape[dims[0]]
    k = shifts[0] % n if n else 0
    if k and x.is_contiguous() and out.is_contiguous() and not x.is_complex() and min(k, n - k) <= n // 8:
        # rows are short: move the whole memory by so many places, then mend what came from a neighbouring row
        back = k > n // 2
        far = (n - k if back else k) * x.stride(dims[0])
        ends = (slice(far, None), slice(None, -far))
        to, source = ends[::-1] if back else ends
        copy_into(r, out.view(-1)[to], x.view(-1)[source])
        edges = (k, 0, n - k) if back else (0, n - k, k)
        copy_into(r, out.narrow(dims[0], edges[0], edges[2]), x.narrow(dims[0], edges[1], edges[2]))
        return out
    if k:
        copy_into(r, out.narrow(dims[0], 0, k), x.narrow(dims[0], n - k, k))
    copy_into(r, out.narrow(dims[0], k, n - k), x.narrow(dims[0], 0, n - k))
    return out


@rule("flip", either=True)
def _flip(r, func, x, dims):
    with r:
        for d in dims:
            x = x.index_select(d, torch.arange(x.shape[d] - 1, -1, -1, device=x.device))
        return x.clone() if not dims else x


@rule("repeat", either=True)
def _repeat(r, func, x, repeats):
    out = func(x, repeats)
    padded = x.reshape((1,) * (len(repeats) - x.dim()) + tuple(x.shape))
    for index in _positions(repeats):
        part = out
        for d, i in enumerate(index):
            part = part.narrow(d, i * padded.shape[d], padded.shape[d])
        copy_into(r, part, padded)
    return out


@rule("triu", "tril", either=True)
def _triangle(r, func, x, diagonal=0):
    keep = func(torch.ones(x.shape[-2:], dtype=torch.bool, device=x.device), diagonal)
    with r:
        return torch.where(keep, x, torch.zeros((), dtype=x.dtype, device=x.device))


@in_place("copy_", "fill_", "zero_")
def _assign(r, func, target, value=0.0, non_blocking=False):
    return r.assign(target, value)


@in_place("resize_", "set_", "resize_as_")
def _resize(r, func, *args, **kwargs):
    raise NotLive(f"a tensor that depends on a slider is resized at {author_line()}: shapes are fixed on the page")


# -- arithmetic with extra arguments -------------------------------------------------------------------------------
@rule("add", "sub")
def _add(r, func, a, b, alpha=1):
    name = func._schema.name.split("::")[1]
    out = func(a, b) if alpha == 1 else func(a, b, alpha=alpha)
    if alpha != 1:
        with r:
            b = b * alpha
    op = {"add": "add", "sub": "sub"}[name]
    if out.dtype == torch.bool:  # True + True is True
        op = "logical_or"
    return r.pointwise(op, out, a, b)


@rule("rsub")
def _rsub(r, func, a, b, alpha=1):
    out = func(a, b, alpha=alpha) if alpha != 1 else func(a, b)
    if alpha != 1:
        with r:
            a = a * alpha
    return r.pointwise("sub", out, b, a)


@rule("div", "true_divide", "divide")
def _div(r, func, a, b, rounding_mode=None):
    out = func(a, b, rounding_mode=rounding_mode) if rounding_mode else func(a, b)
    return r.pointwise("div" if rounding_mode is None else f"div_{rounding_mode}", out, a, b)


@rule("floor_divide")
def _floor_divide(r, func, a, b):
    return r.pointwise("div_floor", func(a, b), a, b)


@rule("pow")
def _pow(r, func, a, b):
    out = func(a, b)
    if isinstance(b, int | float) and isinstance(a, torch.Tensor):
        if b == 2:
            return r.pointwise("mul", out, a, a)
        if b == 0.5:
            return r.pointwise("sqrt", out, a)
        if b == 1:
            return r.pointwise("copy", out, a)
        if b == -1:
            return r.pointwise("reciprocal", out, a)
    return r.pointwise("pow", out, a, b)


@rule("round")
def _round(r, func, x, decimals=0):
    if decimals == 0:
        return r.pointwise("round", func(x), x)
    with r:
        return torch.round(x * 10**decimals) / 10**decimals


@rule("clamp", "clamp_min", "clamp_max", "clip")
def _clamp(r, func, x, low=None, high=None, **named):
    name = func._schema.name.split("::")[1]
    low, high = named.get("min", low), named.get("max", high)
    if name == "clamp_max":
        low, high = None, named.get("max", low)
    with r:
        if low is not None:
            x = torch.maximum(x, torch.as_tensor(low, dtype=x.dtype, device=x.device))
        if high is not None:
            x = torch.minimum(x, torch.as_tensor(high, dtype=x.dtype, device=x.device))
        return x.clone() if low is None and high is None else x


@rule("polygamma", "special_polygamma")
def _polygamma(r, func, n, x):
    if n > 1:
        raise NotLive(f"the page has polygamma of order 0 and 1 only, asked for {n} at {author_line()}")
    return r.pointwise("digamma" if n == 0 else "trigamma", func(n, x), x)


@rule("floor", "ceil", "trunc")
def _integer_part(r, func, x):
    name = func._schema.name.split("::")[1]
    return r.pointwise("copy" if not x.is_floating_point() else name, func(x), x)


@rule("gelu")
def _gelu(r, func, x, approximate="none"):
    with r:
        if approximate == "tanh":
            return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        return 0.5 * x * (1 + torch.erf(x / math.sqrt(2)))


# -- helpers -------------------------------------------------------------------------------------------------------
def listed(x) -> list:
    return [] if x is None else [x] if isinstance(x, int) else list(x)


def _positions(counts):
    grid = [()]
    for n in counts:
        grid = [(*index, i) for index in grid for i in range(n)]
    return grid


from . import indexing_rules, matrix_rules, reduction_rules  # noqa: E402, F401  (they register their rules here)
