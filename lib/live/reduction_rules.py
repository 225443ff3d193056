"""Reductions, running reductions and orders, and the page's random numbers."""

from __future__ import annotations

import math

import torch

from .rules import listed, rule

__all__: list[str] = []


# -- reductions ----------------------------------------------------------------------------------------------------
@rule("max", "min")
def _max(r, func, x, dim=None, keepdim=False):
    name = func._schema.name.split("::")[1]
    with r:
        if isinstance(dim, torch.Tensor):
            return getattr(torch, name + "imum")(x, dim)
        if dim is None:
            return getattr(torch, "a" + name)(x)
        index = getattr(torch, "arg" + name)(x, dim, keepdim=True)
        values = torch.gather(x, dim, index) if x.dim() else x.clone()
        return (values, index) if keepdim else (values.squeeze(dim), index.squeeze(dim))


@rule("argmax", "argmin")
def _argmax(r, func, x, dim=None, keepdim=False):
    out = func(x, dim, keepdim)
    name = func._schema.name.split("::")[1]
    if dim is None:
        with r:
            flat = x.reshape(-1)
        r.kernel(name, 0, [out.view(())], [flat])
        return out
    if x.dim() == 0:
        return r.pointwise("copy", out, 0.0)
    moved = x.movedim(dim, -1)
    target = out.squeeze(dim) if keepdim else out
    r.kernel(name, moved.dim() - 1, [target], [moved])
    return out


@rule("var", "var_mean", "std", "std_mean")
def _variance(r, func, x, dim=None, unbiased=None, keepdim=False, *, correction=1):
    if isinstance(dim, bool):  # the overload var(x, unbiased)
        dim, unbiased = None, dim
    if unbiased is not None:
        correction = int(unbiased)
    name = func._schema.name.split("::")[1]
    dims = [d % x.dim() for d in listed(dim)] or list(range(x.dim()))
    count = math.prod(x.shape[d] for d in dims)
    with r:
        mean = x.mean(dims, keepdim=True)
        spread = ((x - mean) ** 2).sum(dims, keepdim=keepdim) / max(
            count - (1 if correction is None else correction), 0
        )
        spread = torch.sqrt(spread) if name.startswith("std") else spread
        if not name.endswith("_mean"):
            return spread
        return spread, mean if keepdim else mean.squeeze(tuple(dims))


@rule("linalg_vector_norm", either=True)
def _vector_norm(r, func, x, order=2, dim=None, keepdim=False, dtype=None):
    with r:
        x = x.abs()
        dims = listed(dim) or list(range(x.dim()))
        if order == math.inf:
            return x.amax(dims, keepdim=keepdim)
        if order == -math.inf:
            return x.amin(dims, keepdim=keepdim)
        if order == 0:
            return (x != 0).to(x.dtype).sum(dims, keepdim=keepdim)
        if order == 1:
            return x.sum(dims, keepdim=keepdim)
        if order == 2:
            return torch.sqrt((x * x).sum(dims, keepdim=keepdim))
        return ((x**order).sum(dims, keepdim=keepdim)) ** (1 / order)


@rule("_cdist_forward")
def _cdist(r, func, a, b, p, compute_mode=None):
    with r:
        gap = (a.unsqueeze(-2) - b.unsqueeze(-3)).abs()
        if p == math.inf:
            return gap.amax(-1)
        return torch.sqrt((gap * gap).sum(-1)) if p == 2 else (gap**p).sum(-1) ** (1 / p)


@rule("median", "nanmedian", "kthvalue")
def _median(r, func, x, *args, **kwargs):
    name = func._schema.name.split("::")[1]
    if name == "nanmedian":
        return NotImplemented
    with r:
        if name == "median" and not args and not kwargs:
            ordered = x.reshape(-1).sort().values
            middle = ordered[(x.numel() - 1) // 2]
            return torch.where(torch.isnan(ordered[-1]), ordered[-1], middle)  # NaN sorts last and wins
        rank, rest = (args[0], args[1:]) if name == "kthvalue" else ((None, args))
        dim = kwargs.get("dim", rest[0] if rest else -1)
        keepdim = kwargs.get("keepdim", rest[1] if len(rest) > 1 else False)
        ordered, index = torch.sort(x, dim=dim, stable=True)
        at = (x.shape[dim] - 1) // 2 if rank is None else rank - 1
        pick = (ordered.narrow(dim, at, 1), index.narrow(dim, at, 1))
        if rank is None:
            last = ordered.narrow(dim, x.shape[dim] - 1, 1)
            pick = (torch.where(torch.isnan(last), last, pick[0]), pick[1])
        return pick if keepdim else tuple(p.squeeze(dim) for p in pick)


# -- orders and scans ----------------------------------------------------------------------------------------------
@rule("sort")
def _sort(r, func, x, *args, **kwargs):
    values, index = func(x, *args, **kwargs)
    overload = func._overloadname
    if overload == "stable":
        kwargs = {"stable": None, "dim": -1, "descending": False} | kwargs
        dim, descending = kwargs["dim"], kwargs["descending"]
    else:
        dim = kwargs.get("dim", args[0] if args else -1)
        descending = kwargs.get("descending", args[1] if len(args) > 1 else False)
    if x.dim() == 0:
        return r.pointwise("copy", values, x), r.pointwise("copy", index, 0.0)
    outs = [values.movedim(dim, -1), index.movedim(dim, -1)]
    r.kernel("sort", x.dim() - 1, outs, [x.movedim(dim, -1)], (int(descending),))
    return values, index


@rule("topk")
def _topk(r, func, x, k, dim=-1, largest=True, sorted=True):
    with r:
        values, index = torch.sort(x, dim=dim, descending=largest, stable=True)
        return values.narrow(dim, 0, k).clone(), index.narrow(dim, 0, k).clone()


@rule("cummax", "cummin")
def _cummax(r, func, x, dim):
    values, index = func(x, dim)
    name = func._schema.name.split("::")[1]
    if x.dim() == 0:
        return r.pointwise("copy", values, x), r.pointwise("copy", index, 0.0)
    r.kernel(name, x.dim() - 1, [values.movedim(dim, -1), index.movedim(dim, -1)], [x.movedim(dim, -1)])
    return values, index


@rule("cumsum", "cumprod")
def _cumsum(r, func, x, dim, dtype=None):
    return r.scan(func._schema.name.split("::")[1], x, dim, func(x, dim, dtype=dtype))


@rule("searchsorted", "bucketize")
def _searchsorted(r, func, a, b, *, right=False, side=None, out_int32=False, sorter=None):
    edges, values = (a, b) if func._schema.name.endswith("searchsorted") else (b, a)
    right = side == "right" if side is not None else right
    if sorter is not None:
        return NotImplemented
    if not isinstance(values, torch.Tensor):
        values = torch.as_tensor(values, dtype=edges.dtype)
    out = torch.searchsorted(edges, values, right=right)
    r.kernel("searchsorted", edges.dim() - 1, [out], [edges, values], (int(right),))
    return out


@rule("uniform")
def _uniform(r, func, seed, count, stream=0):
    if func._schema.name != "live::uniform":
        return NotImplemented
    out = func(seed, count, stream)
    r.kernel("uniform", 0, [out], [seed], (stream,))
    return out
