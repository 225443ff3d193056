"""Reading and writing at computed positions: indexing, gather and scatter, windows.

Two kernels serve all of it. ``take`` computes ``out[i] = x[base(i) + sum_j index_j[i] * step_j]`` and ``put`` (or
``put_add``, which accumulates) writes the same way; the base runs over the strides of the dimensions that are not
indexed. Their parameters are (shape of the result, step of each index, size of each indexed dimension).
"""

from __future__ import annotations

import torch

from .errors import NotLive, author_line
from .rules import copy_into, in_place, rule
from .trace import Operand

__all__: list[str] = []


class _Plan:
    """How advanced indexing walks a tensor: the shape of the result and, per dimension, stride or index."""

    def __init__(self, x: torch.Tensor, indices) -> None:
        indices = [None if i is None else _integers(i) for i in indices]
        flat = []
        for i in indices:  # a boolean mask over several dimensions stands for several indices
            flat.extend(i if isinstance(i, tuple) else [i])
        flat += [None] * (x.dim() - len(flat))
        at = [d for d, i in enumerate(flat) if i is not None]
        common = torch.broadcast_shapes(*[flat[d].shape for d in at])
        adjacent = at == list(range(at[0], at[-1] + 1))
        front = at[0] if adjacent else 0
        before = [d for d in range(x.dim()) if d not in at][:front]
        after = [d for d in range(x.dim()) if d not in at][front:]
        self.shape = (*[x.shape[d] for d in before], *common, *[x.shape[d] for d in after])
        self.steps = tuple(x.stride(d) for d in at)
        self.sizes = tuple(x.shape[d] for d in at)
        self.base = (*[x.stride(d) for d in before], *[0] * len(common), *[x.stride(d) for d in after])
        view = (1,) * len(before) + tuple(common) + (1,) * len(after)
        self.indices = [flat[d].expand(common).reshape(view) for d in at]

    @property
    def params(self) -> tuple:
        return (tuple(self.shape), self.steps, self.sizes)

    def operands(self, r) -> list[Operand]:
        return [r.read(i, self.shape) for i in self.indices]


def _integers(index: torch.Tensor):
    """An index tensor as positions; a mask that does not depend on a control becomes the positions it selects."""
    if index.dtype in (torch.bool, torch.uint8):
        return index.nonzero(as_tuple=True)
    return index


def _refuse_live_masks(r, indices) -> None:
    if any(i is not None and i.dtype in (torch.bool, torch.uint8) and r.is_live(i) for i in indices):
        raise NotLive(
            f"a mask that depends on a slider selects elements at {author_line()}: their number could change; "
            "use torch.where"
        )


def _blocks(x: torch.Tensor) -> list[torch.Tensor]:
    """The real-valued parts of a tensor that are moved alike."""
    return [torch.view_as_real(x)[..., 0], torch.view_as_real(x)[..., 1]] if x.is_complex() else [x]


@rule("index", "_unsafe_index", either=True)
def _index(r, func, x, indices):
    _refuse_live_masks(r, indices)
    out = func(x, indices)
    for source, target in zip(_blocks(x), _blocks(out), strict=True):
        plan = _Plan(source, indices)
        _take(r, source, plan.base, plan.params, plan.operands(r), target)
    return out


def _take(r, source: torch.Tensor, base: tuple[int, ...], params: tuple, indices: list[Operand], out) -> None:
    whole = r.read(source)
    if not r.is_live(source) and r.buffers[whole.buffer].length == 1:  # a constant whose values are all equal
        r.pointwise("copy", out, r.buffers[whole.buffer].values.item())
        return
    r.emit("take", params, r.write(out), Operand(whole.buffer, whole.offset, base), *indices)


@rule("gather", either=True)
def _gather(r, func, x, dim, index, sparse_grad=False):
    out = func(x, dim, index)
    if x.dim() == 0:
        copy_into(r, out, x)
        return out
    dim %= x.dim()
    for source, target in zip(_blocks(x), _blocks(out), strict=True):
        base = tuple(0 if d == dim else s for d, s in enumerate(source.stride()))
        params = (tuple(index.shape), (source.stride(dim),), (source.shape[dim],))
        _take(r, source, base, params, [r.read(index)], target)
    return out


@rule("index_select", either=True)
def _index_select(r, func, x, dim, index):
    with r:
        if x.dim() == 0:
            return x.clone()
        return x[(slice(None),) * (dim % x.dim()) + (index.reshape(-1),)]


@rule("take")
def _take_flat(r, func, x, index):
    with r:
        return x.reshape(-1)[index]


@rule("embedding")
def _embedding(r, func, weight, index, *args, **kwargs):
    with r:
        return weight[index]


@rule("bincount")
def _bincount(r, func, x, weights=None, minlength=0):
    if not minlength:
        raise NotLive(f"torch.bincount without minlength at {author_line()}: the number of bins must be fixed")
    count = len(func(x, weights, minlength))
    with r:
        return _counted(x, weights, count)


@rule("histc")
def _histc(r, func, x, bins=100, min=0, max=0):
    if not min < max:
        raise NotLive(f"torch.histc without min and max at {author_line()}: the bins must be fixed")
    with r:
        x = x.reshape(-1)
        at = ((x - min) * bins / (max - min)).long().clamp(max=bins - 1)
        return _counted(torch.where((x >= min) & (x <= max), at, bins), None, bins).to(x.dtype)


def _counted(at: torch.Tensor, weights, count: int) -> torch.Tensor:
    """How often each of ``0 ... count - 1`` occurs, or the sum of the weights; larger positions are not counted."""
    out = torch.zeros(count + 1, dtype=torch.int64 if weights is None else weights.dtype)
    return out.index_add(0, at.clamp(max=count), torch.ones_like(at) if weights is None else weights)[:count].clone()


def _write_at(r, target: torch.Tensor, plan: _Plan, values, accumulate: bool) -> None:
    whole = r.write(target)
    base = Operand(whole.buffer, whole.offset, plan.base)
    source = r.read(values, plan.shape) if isinstance(values, torch.Tensor) else r.number(values, len(plan.shape))
    r.emit("put_add" if accumulate else "put", plan.params, base, source, *plan.operands(r))


def _index_put(r, target, indices, values, accumulate):
    """``target[indices] = values`` on a live tensor."""
    masks = [i for i in indices if i is not None and i.dtype == torch.bool]
    if len(indices) == 1 and masks and values.numel() == 1 and masks[0].shape == target.shape and not accumulate:
        with r:
            chosen = torch.where(masks[0], values.reshape(()).to(target.dtype), target)
        r.assign(target, chosen)
        return target
    _refuse_live_masks(r, indices)
    plans = [_Plan(t, indices) for t in _blocks(target)]
    parts = _blocks(values) if values.is_complex() else [values, torch.zeros(())]
    for block, plan, part in zip(_blocks(target), plans, parts, strict=False):
        _write_at(r, block, plan, part, accumulate)
    target.index_put_(indices, values, accumulate)
    return target


@in_place("index_put_", "_index_put_impl_", "_unsafe_index_put_")
def _index_put_in_place(r, func, target, indices, values, accumulate=False, *unsafe, **named):
    r.revive(target)
    return _index_put(r, target, indices, values, accumulate)


@rule("index_put", "_unsafe_index_put", either=True)
def _index_put_copy(r, func, x, indices, values, accumulate=False):
    with r:
        target = x.clone()
    r.revive(target)
    return _index_put(r, target, indices, values, accumulate)


def _scatter_into(r, target, dim, index, values, accumulate: bool):
    if target.dim() == 0:
        index, values = index.reshape(1), values.reshape(1) if isinstance(values, torch.Tensor) else values
        target = target.view(1)
    dim %= target.dim()
    if isinstance(values, torch.Tensor) and values.dim():
        values = values[tuple(slice(n) for n in index.shape)]
    whole = r.write(target)
    base = Operand(whole.buffer, whole.offset, tuple(0 if d == dim else s for d, s in enumerate(target.stride())))
    shape = tuple(index.shape)
    source = r.read(values, shape) if isinstance(values, torch.Tensor) else r.number(values, len(shape))
    params = (shape, (target.stride(dim),), (target.shape[dim],))
    r.emit("put_add" if accumulate else "put", params, base, source, r.read(index))


@rule("scatter", "scatter_add", "scatter_reduce")
def _scatter(r, func, x, dim, index, values, reduce=None, *, include_self=True):
    name = func._schema.name.split("::")[1]
    if reduce not in (None, "add", "sum"):
        raise NotLive(f"the page has scatter with reduce='sum' only, asked for {reduce!r} at {author_line()}")
    if not include_self:
        raise NotLive(f"scatter_reduce(include_self=False) is not available on the page, at {author_line()}")
    keywords = {"reduce": reduce} if reduce else {}
    out = func(x, dim, index, values, **keywords)
    copy_into(r, out, x)
    _scatter_into(r, out, dim, index, values, name == "scatter_add" or reduce is not None)
    return out


@rule("index_add", "index_copy", "index_fill")
def _index_add(r, func, x, dim, index, values, alpha=1):
    name = func._schema.name.split("::")[1]
    with r:
        if name == "index_fill":
            values = torch.as_tensor(values, dtype=x.dtype)
        elif alpha != 1:
            values = values * alpha
        front = x.movedim(dim, 0)
        values = values.movedim(dim, 0) if values.dim() == x.dim() else values
        return front.index_put((index,), values, accumulate=name == "index_add").movedim(0, dim)


@rule("masked_fill")
def _masked_fill(r, func, x, mask, value):
    with r:
        value = value if isinstance(value, torch.Tensor) else torch.as_tensor(value, dtype=x.dtype)
        return torch.where(mask, value.to(x.dtype), x)


# -- windows -------------------------------------------------------------------------------------------------------
def _windows(x, kernel, stride, dilation):
    """Views of all windows: (batch, channels, *positions, *kernel)."""
    count = len(kernel)
    shape, steps = list(x.shape[:2]), list(x.stride()[:2])
    positions = [(x.shape[2 + i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in range(count)]
    shape += positions + list(kernel)
    steps += [x.stride(2 + i) * stride[i] for i in range(count)] + [x.stride(2 + i) * dilation[i] for i in range(count)]
    return x.as_strided(shape, steps, x.storage_offset())


def _correlate(x, weight, stride, padding, dilation, groups):
    """Convolution as a matrix product over windows; any number of spatial dimensions."""
    count = weight.dim() - 2
    if any(padding):
        x = torch.nn.functional.pad(x, [p for n in reversed(padding) for p in (n, n)])
    windows = _windows(x, weight.shape[2:], stride, dilation)
    batch, positions = x.shape[0], windows.shape[2 : 2 + count]
    order = [0, *range(2, 2 + count), 1, *range(2 + count, 2 + 2 * count)]
    parts = []
    per_group, channels = weight.shape[0] // groups, x.shape[1] // groups
    for g in range(groups):
        columns = windows[:, g * channels : (g + 1) * channels].permute(order).reshape(-1, weight[0].numel())
        rows = weight[g * per_group : (g + 1) * per_group].reshape(per_group, -1)
        parts.append((columns @ rows.T).reshape(batch, *positions, per_group))
    out = parts[0] if groups == 1 else torch.cat(parts, -1)
    return out.movedim(-1, 1)


def _spread(x, stride, count):
    """Put ``stride - 1`` zeros between the elements of the last ``count`` dimensions."""
    if all(s == 1 for s in stride):
        return x
    sizes = [(x.shape[2 + i] - 1) * stride[i] + 1 for i in range(count)]
    out = torch.zeros(*x.shape[:2], *sizes, dtype=x.dtype, device=x.device)
    out[(slice(None), slice(None), *[slice(None, None, s) for s in stride])] = x
    return out


def _transposed(x, weight, stride, padding, dilation, output_padding, groups):
    """Transposed convolution: the adjoint of :func:`_correlate`. ``weight``: (in, out / groups, *kernel)."""
    count = weight.dim() - 2
    spread = _spread(x, stride, count)
    channels = weight.shape[0] // groups
    flipped = torch.cat([w.transpose(0, 1) for w in weight.flip(list(range(2, 2 + count))).split(channels)], 0)
    pads = []
    for i in reversed(range(count)):
        reach = dilation[i] * (weight.shape[2 + i] - 1) - padding[i]
        pads += [reach, reach + output_padding[i]]
    spread = torch.nn.functional.pad(spread, pads)
    return _correlate(spread, flipped, [1] * count, [0] * count, dilation, groups)


@rule("convolution", "_convolution")
def _convolution(r, func, x, weight, bias, stride, padding, dilation, transposed, output_padding, groups, *rest):
    count = weight.dim() - 2
    stride, padding, dilation, output_padding = (
        list(v) * count if len(v) == 1 else list(v) for v in (stride, padding, dilation, output_padding)
    )
    with r:
        if transposed:
            out = _transposed(x, weight, stride, padding, dilation, output_padding, groups)
        else:
            out = _correlate(x, weight, stride, padding, dilation, groups)
        return out if bias is None else out + bias.view(1, -1, *[1] * count)


@rule("convolution_backward")
def _convolution_backward(
    r, func, grad, x, weight, bias_sizes, stride, padding, dilation, transposed, output_padding, groups, wanted
):
    if transposed:
        raise NotLive(f"the gradient of a transposed convolution is not available on the page, at {author_line()}")
    count = weight.dim() - 2
    stride, padding, dilation = (list(v) * count if len(v) == 1 else list(v) for v in (stride, padding, dilation))
    with r:
        to_x = to_weight = to_bias = None
        if wanted[0]:
            spare = [
                (x.shape[2 + i] + 2 * padding[i] - dilation[i] * (weight.shape[2 + i] - 1) - 1) % stride[i]
                for i in range(count)
            ]
            to_x = _transposed(grad, weight, stride, padding, dilation, spare, groups)
        if wanted[1]:
            padded = torch.nn.functional.pad(x, [p for n in reversed(padding) for p in (n, n)])
            windows = _windows(padded, weight.shape[2:], stride, dilation)
            channels, per_group = x.shape[1] // groups, weight.shape[0] // groups
            parts = []
            for g in range(groups):
                seen = windows[:, g * channels : (g + 1) * channels].movedim(1, -1 - count)
                rows = grad[:, g * per_group : (g + 1) * per_group].movedim(1, 0).reshape(per_group, -1)
                parts.append((rows @ seen.reshape(rows.shape[1], -1)).reshape(per_group, *weight.shape[1:]))
            to_weight = parts[0] if groups == 1 else torch.cat(parts, 0)
        if wanted[2]:
            to_bias = grad.sum([0, *range(2, 2 + count)])
        return to_x, to_weight, to_bias
