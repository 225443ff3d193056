"""Record a torch computation as straight-line instructions on strided memory.

The author's function runs once with real tensors under a :class:`Recorder`. Every ATen operation that depends on a
control appends one :class:`Instruction`; everything else is ordinary torch and becomes a constant. Shapes, views and
broadcasting are resolved while recording: an operand is (buffer, offset, strides), and a buffer is a torch storage.

Three facts carry the design:

* *Liveness follows storages*, so aliasing and writing in place are right without any bookkeeping of names.
* Whatever the table of :mod:`lib.live.operations` lacks is taken apart by torch's own decompositions, again under the
  recorder; a rule in :mod:`lib.live.rules` is needed only for operations with arguments of their own.
* If an input depends on a control and no result does, something was lost: that raises instead of baking one setting.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
from torch._decomp import decomposition_table
from torch.utils._python_dispatch import TorchDispatchMode

from .errors import NotLive, author_line, instead_of
from .operations import POINTWISE, REDUCE, SCAN

__all__ = ["Buffer", "Instruction", "Operand", "Recorder"]

aten = torch.ops.aten

# operations that read only the shape of their tensor argument
_SHAPE_ONLY = {
    *("zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "randint_like"),
    *("new_zeros", "new_ones", "new_full", "new_empty", "new_empty_strided", "_is_all_true"),
}
_UNINITIALISED = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "empty_permuted"}
_RANDOM = {"rand", "randn", "randint", "randperm", "bernoulli", "multinomial", "normal", "uniform", "rand_like"} | {
    *("randn_like", "randint_like", "exponential", "native_dropout", "poisson", "binomial", "random", "geometric"),
}
_ASKS_FOR_VALUES = {"_local_scalar_dense", "equal", "is_nonzero", "nonzero", "_unique2", "unique_dim", "masked_select"}
# names under which ATen knows a row of the table (booleans only for the bitwise ones: checked where they are used)
_ALIASES = {
    "clone": "copy",
    "lift_fresh_copy": "copy",
    "alias": "copy",
    "contiguous": "copy",
    "true_divide": "div",
    "bitwise_and": "logical_and",
    "bitwise_or": "logical_or",
    "bitwise_xor": "logical_xor",
    "bitwise_not": "logical_not",
    "absolute": "abs",
    "special_erf": "erf",
    "special_erfc": "erfc",
    "special_erfinv": "erfinv",
    "special_gammaln": "lgamma",
    "special_digamma": "digamma",
    "special_expm1": "expm1",
    "special_exp2": "exp2",
    "special_log1p": "log1p",
    "special_sinc": "sinc",
    "special_xlogy": "xlogy",
    "sgn": "sign",
}


class Operand(NamedTuple):
    """A strided block of a buffer, in elements of the buffer's real number type."""

    buffer: int
    offset: int
    strides: tuple[int, ...]


class Instruction(NamedTuple):
    """``op`` applied to strided operands, results first. ``params`` holds shapes and constants (nested tuples)."""

    op: str
    params: tuple
    operands: tuple[Operand, ...]


class Buffer(NamedTuple):
    """Memory of one torch storage: number type (``"d"`` or ``"f"``), length, and its values if it is a constant."""

    kind: str
    length: int
    values: torch.Tensor | None


class Recorder(TorchDispatchMode):
    """Records what depends on the tensors given to :meth:`watch`.

    Attributes
    ----------
    buffers : list of Buffer
    instructions : list of Instruction
    """

    def __init__(self) -> None:
        super().__init__()
        self.buffers: list[Buffer] = []
        self.instructions: list[Instruction] = []
        self._live: dict[int, int] = {}  # storage -> buffer
        self._constants: dict[tuple, int] = {}  # (storage, version, kind) -> buffer
        self._contents: dict[tuple, int] = {}  # (kind, bytes) -> buffer: equal constants are stored once
        self._scalars: dict[str, int] = {}  # repr of a number -> buffer
        self._notes: dict[int, torch.Tensor] = {}  # storage -> what remember() was given
        self._taken_apart = False
        self._keep: list = []  # storages are identified by address: they must stay alive

    # -- memory -----------------------------------------------------------------------------------------------------
    def watch(self, tensor: torch.Tensor) -> int:
        """Make a tensor an input of the program; returns its buffer."""
        self._live[_storage(tensor)] = buffer = self._buffer(tensor)
        return buffer

    def is_live(self, tensor: torch.Tensor) -> bool:
        """Whether the tensor's memory depends on a watched tensor."""
        return _storage(tensor) in self._live

    def read(self, tensor: torch.Tensor, shape: tuple[int, ...] | None = None) -> Operand:
        """The operand that reads ``tensor`` broadcast to ``shape``."""
        shape = tuple(tensor.shape if shape is None else shape)
        if tensor.is_neg():  # torch negates the imaginary part of a conjugate lazily
            stored = torch._neg_view(tensor)
            tensor = self.pointwise("neg", torch.empty_like(stored), stored)
        if not self.is_live(tensor) and tensor.numel() == 1:
            return self.number(tensor.detach().reshape(()).item(), len(shape))
        expanded = tensor.expand(shape)
        strides = tuple(0 if n == 1 else s for s, n in zip(expanded.stride(), shape, strict=True))
        buffer = self._source(tensor)
        if self.buffers[buffer].length == 1 and not self.is_live(tensor):  # a constant whose values are all equal
            return Operand(buffer, 0, (0,) * len(shape))
        return Operand(buffer, expanded.storage_offset(), strides)

    def write(self, tensor: torch.Tensor) -> Operand:
        """The operand that writes ``tensor``, which is live from here on."""
        key = _storage(tensor)
        if key not in self._live:
            self._live[key] = self._buffer(tensor)
        return Operand(self._live[key], tensor.storage_offset(), tuple(tensor.stride()))

    def number(self, value: float, dims: int) -> Operand:
        """The operand that reads a Python number, broadcast over ``dims`` dimensions."""
        if isinstance(value, complex):
            raise NotLive(f"a complex constant met a real operation at {author_line()}")
        name = repr(float(value))
        if name not in self._scalars:
            self._scalars[name] = self._add("d", 1, torch.tensor([float(value)], dtype=torch.float64))
        return Operand(self._scalars[name], 0, (0,) * dims)

    def remember(self, tensor: torch.Tensor, note: torch.Tensor) -> None:
        """Attach a tensor to another one's memory, for a later rule that needs it."""
        self._keep.append(tensor.untyped_storage())
        self._notes[_storage(tensor)] = note

    def recall(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """What :meth:`remember` attached, or None."""
        return self._notes.get(_storage(tensor))

    def _add(self, kind: str, length: int, values: torch.Tensor | None) -> int:
        self.buffers.append(Buffer(kind, length, values))
        return len(self.buffers) - 1

    def _buffer(self, tensor: torch.Tensor) -> int:
        if tensor.dtype in (torch.float16, torch.bfloat16):
            raise NotLive(f"the page has no half precision ({tensor.dtype}), used at {author_line()}: use float32")
        self._keep.append(tensor.untyped_storage())
        return self._add(_kind(tensor.dtype), _length(tensor), None)

    def _source(self, tensor: torch.Tensor) -> int:
        """The buffer that holds a tensor: a live one, or a constant copied into the program."""
        storage = _storage(tensor)
        if storage in self._live:
            return self._live[storage]
        key = (storage, tensor._version, _kind(tensor.dtype))
        if key not in self._constants:
            self._keep.append(tensor.untyped_storage())
            self._constants[key] = self._constant(_everything(tensor))
        return self._constants[key]

    def _constant(self, values: torch.Tensor) -> int:
        kind = _kind(values.dtype)
        values = values.to(torch.float32 if kind == "f" else torch.float64)
        data = values.numpy().tobytes()
        if data and data == data[: values.element_size()] * values.numel():
            return self.number(values[0].item(), 0).buffer
        key = (kind, data)
        if key not in self._contents:
            self._contents[key] = self._add(kind, values.numel(), values)
        return self._contents[key]

    # -- instructions -----------------------------------------------------------------------------------------------
    def emit(self, op: str, params: tuple, *operands: Operand) -> None:
        """Append one instruction as it stands."""
        self.instructions.append(Instruction(op, params, operands))

    def pointwise(self, op: str, out: torch.Tensor, *inputs) -> torch.Tensor:
        """Record ``out = op(*inputs)``, elementwise with broadcasting; numbers are allowed among the inputs."""
        shape = tuple(out.shape)
        reads = [self.read(x, shape) if isinstance(x, torch.Tensor) else self.number(x, len(shape)) for x in inputs]
        if 0 not in shape:
            self.emit(op, *_collapse(shape, [self.write(out), *reads]))
        else:
            self.write(out)
        return out

    def kernel(self, op: str, batch: int, outs: list, inputs: list, extra: tuple = ()) -> None:
        """Record a kernel that works on the trailing dimensions of its operands, batched over the leading ones.

        Parameters
        ----------
        batch : int
            Number of leading dimensions; results and inputs must agree on their sizes.
        outs, inputs : list of Tensor
            The rest of each tensor's dimensions is the block the kernel sees.
        extra : tuple of int or float
            Constants of the kernel.
        """
        shape = tuple(outs[0].shape[:batch])
        blocks = tuple(tuple(t.shape[batch:]) for t in (*outs, *inputs))
        reads = [self.read(t) for t in inputs]
        self.emit(op, (shape, blocks, tuple(extra)), *[self.write(t) for t in outs], *reads)

    def reduce(self, op: str, x: torch.Tensor, dims, out: torch.Tensor) -> torch.Tensor:
        """Record a reduction of ``x`` over ``dims`` (all of them if empty or None) into ``out``."""
        dims = _dims(dims, x.dim())
        kept = [d for d in range(x.dim()) if d not in dims]
        target = out if out.dim() == len(kept) else out.squeeze(tuple(dims))
        source = x.permute(kept + dims)
        shape = (tuple(x.shape[d] for d in kept), tuple(x.shape[d] for d in dims))
        self.emit(op, shape, self.write(target), self.read(source))
        return out

    def scan(self, op: str, x: torch.Tensor, dim: int, out: torch.Tensor) -> torch.Tensor:
        """Record a running reduction along ``dim``."""
        if x.dim() == 0:
            return self.pointwise("copy", out, x)
        last = [d for d in range(x.dim()) if d != dim % x.dim()] + [dim % x.dim()]
        self.emit(op, tuple(x.permute(last).shape), self.write(out.permute(last)), self.read(x.permute(last)))
        return out

    # -- torch's side -----------------------------------------------------------------------------------------------
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name, kind = _facts(func)
        tensors = _tensors(args, kwargs)
        if any(t.is_meta for t in tensors):  # forward-mode derivatives ask for shapes only
            return func(*args, **kwargs)
        # With a generator a draw is a constant; uniform_ and normal_ initialise modules (the proof catches unseeded).
        if kind == "random" and kwargs.get("generator") is None:
            raise NotLive(
                f"torch's random numbers cannot be redrawn on the page (torch.{name}) at {author_line()}: "
                "use lib.live.uniform or lib.live.normal with a seed"
            )
        if kind == "shape only" or not any(map(self.is_live, tensors)):
            out = func(*args, **kwargs)
            if name in _UNINITIALISED:
                out.zero_()  # memory of the moment must not become a constant of the program
            return out
        out = self._step(func, name, kind, args, kwargs)
        taken_apart, self._taken_apart = self._taken_apart, False  # then its parts were checked
        if not taken_apart:
            results = _tensors((out,), {})
            if results and not any(map(self.is_live, results)):
                raise NotLive(f"lib.live lost the controls in {func} at {author_line()}: please report this")
        return out

    def _step(self, func, name: str, kind: str, args, kwargs):
        if name in _ASKS_FOR_VALUES:
            raise NotLive(
                f"a Python decision or a shape depends on a slider (torch.{name}) at {author_line()}: "
                "use torch.where, or a Choice instead of a Slider"
            )
        if kind == "view":
            return self._view(func, name, args, kwargs)
        if kind == "in place":
            return self._in_place(func, name, args, kwargs)
        return self._functional(func, name, args, kwargs)

    def _view(self, func, name: str, args, kwargs):
        if name == "view" and isinstance(args[1], torch.dtype):
            raise NotLive(f"reinterpreting memory (Tensor.view(dtype)) is not possible on the page, at {author_line()}")
        out = func(*args, **kwargs)
        if isinstance(out, torch.Tensor) and not self.is_live(out):  # contiguous, reshape, to: it had to copy
            from .rules import copy_into

            copy_into(self, out.view(args[0].shape), args[0])
        return out

    def _functional(self, func, name: str, args, kwargs):
        from . import complex_rules, rules

        if _has_complex(args, kwargs) and name not in rules.EITHER:
            if name in complex_rules.RULES:
                return complex_rules.RULES[name](self, *args, **kwargs)
            return self._decomposed(func, name, args, kwargs)
        if name in rules.RULES:
            out = rules.RULES[name](self, func, *args, **kwargs)
            if out is not NotImplemented:
                return out
        base = _ALIASES.get(name, name)
        if (base in POINTWISE and not name.startswith("bitwise_")) or _is_logic(name, args):
            out = func(*args, **kwargs)
            count = len(POINTWISE[base].operands)
            return self.pointwise(base, out, *[a for a in args if isinstance(a, torch.Tensor | int | float)][:count])
        if base in REDUCE:
            out = func(*args, **kwargs)
            dims = kwargs.get("dim", args[1] if len(args) > 1 and not isinstance(args[1], torch.dtype) else None)
            return self.reduce(base, args[0], dims, out)
        if base in SCAN:
            return self.scan(base, args[0], args[1], func(*args, **kwargs))
        return self._decomposed(func, name, args, kwargs)

    def _decomposed(self, func, name: str, args, kwargs):
        """Let torch take the operation apart, and record the parts."""
        with self:
            if func in decomposition_table:
                out = decomposition_table[func](*args, **kwargs)
            else:
                out = func.decompose(*args, **kwargs)
        self._taken_apart = True
        if out is NotImplemented:
            numbers = " of complex numbers" if _has_complex(args, kwargs) else ""
            raise NotLive(
                f"the page cannot run torch.{name}{numbers}, used at {author_line()}: {instead_of(name)}"
                "write it with other operations, add a row to lib/live/operations.py, or use grid=True"
            )
        return out

    def _in_place(self, func, name: str, args, kwargs):
        """Run the functional twin of an in-place or ``out=`` operation and copy its result where it belongs."""
        from . import rules

        if name in rules.IN_PLACE:
            out = rules.IN_PLACE[name](self, func, *args, **kwargs)
            if out is not NotImplemented:
                return out
        targets, twin, arguments, keywords = _functional_twin(func, args, kwargs)
        if twin is None:  # shape-changing views in place: t_, squeeze_ ...
            return func(*args, **kwargs)
        with self:
            result = twin(*arguments, **keywords)
        results = result if isinstance(result, tuple | list) else [result]
        for target, value in zip(targets, results, strict=False):
            self.assign(target, value)
        return targets[0] if len(targets) == 1 else tuple(targets)

    def assign(self, target: torch.Tensor, value) -> torch.Tensor:
        """``target.copy_(value)``, recorded; a constant target keeps what the assignment does not cover."""
        from .rules import copy_into

        self.revive(target, covered=target.numel() == _length(target) // (2 if target.is_complex() else 1))
        copy_into(self, target, value)
        target.copy_(value) if isinstance(value, torch.Tensor) else target.fill_(value)
        return target

    def revive(self, target: torch.Tensor, covered: bool = False) -> None:
        """Make the memory of a constant tensor live; its values are copied unless they are about to be covered."""
        if self.is_live(target):
            return
        if covered:
            self.write(target)
            return
        whole = torch.as_strided(_real(target), (_length(target),), (1,), 0)
        source = self.read(whole)
        self.emit("copy", (_length(target),), self.write(whole), source)


# -- helpers -------------------------------------------------------------------------------------------------------
def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _kind(dtype: torch.dtype) -> str:
    return "f" if dtype in (torch.float32, torch.complex64) else "d"


def _length(tensor: torch.Tensor) -> int:
    """Number of real numbers in the tensor's storage."""
    size = tensor.element_size() // (2 if tensor.is_complex() else 1)
    return tensor.untyped_storage().nbytes() // size


def _real(tensor: torch.Tensor) -> torch.Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def _everything(tensor: torch.Tensor) -> torch.Tensor:
    """A copy of the whole storage of a tensor, as real numbers."""
    return torch.as_strided(_real(tensor.detach()), (_length(tensor),), (1,), 0).clone()


@functools.cache
def _facts(func) -> tuple[str, str]:
    """Name of an ATen overload, and what kind of handling it gets."""
    name = func._schema.name.split("::")[1]
    if name in _SHAPE_ONLY:
        return name, "shape only"
    if name.rstrip("_") in _RANDOM and func.namespace != "live" and name not in ("uniform_", "normal_"):
        return name, "random"
    returns = func._schema.returns
    aliases = bool(returns) and returns[0].alias_info is not None and not returns[0].alias_info.is_write
    if (aliases or name in ("_unsafe_view", "_reshape_alias")) and name != "resolve_conj":
        return name, "view"
    return name, "in place" if func._schema.is_mutable else "functional"


def _tensors(args, kwargs) -> list[torch.Tensor]:
    """The tensors among arguments, lists of tensors included."""
    found: list[torch.Tensor] = []
    for x in (*args, *kwargs.values()) if kwargs else args:
        if isinstance(x, torch.Tensor):
            found.append(x)
        elif isinstance(x, list | tuple):
            found.extend(y for y in x if isinstance(y, torch.Tensor))
    return found


def _has_complex(args, kwargs) -> bool:
    numbers = any(isinstance(x, complex) for x in (*args, *kwargs.values()))
    return numbers or any(t.is_complex() for t in _tensors(args, kwargs))


def _is_logic(name: str, args) -> bool:
    """Bitwise operations are logic on booleans; on integers the page has none."""
    return (
        name.startswith("bitwise_")
        and name in _ALIASES
        and all(a.dtype == torch.bool if isinstance(a, torch.Tensor) else isinstance(a, bool) for a in args)
    )


def _dims(dims, count: int) -> list[int]:
    if dims is None or (not isinstance(dims, int) and len(dims) == 0):
        return list(range(count))
    listed = [dims] if isinstance(dims, int) else list(dims)
    return [d % count for d in listed] if count else []


def _functional_twin(func, args, kwargs):
    """The operation without its writing: (written tensors, function, arguments, keyword arguments)."""
    schema = func._schema
    written, arguments, keywords = [], list(args), dict(kwargs)
    for i, argument in enumerate(schema.arguments):
        if argument.alias_info is None or not argument.alias_info.is_write:
            continue
        if argument.name in keywords and argument.is_out:
            written.append(keywords.pop(argument.name))
        elif i < len(arguments):
            written.append(arguments[i])
    name = schema.name.split("::")[1]
    base = name[:-1] if name.endswith("_") and not name.endswith("__") else name
    if base in ("transpose", "t", "squeeze", "unsqueeze", "as_strided", "swapaxes", "swapdims", "detach"):
        return written, None, (), {}
    wanted = [(a.name, str(a.type)) for a in schema.arguments if not a.is_out]
    packet = getattr(torch.ops.aten, base, None)
    for overload in packet.overloads() if packet else ():
        candidate = getattr(packet, overload)
        if not candidate._schema.is_mutable and [(a.name, str(a.type)) for a in candidate._schema.arguments] == wanted:
            return written, candidate, tuple(arguments), keywords
    raise NotLive(f"the page cannot run torch.{name} in place, used at {author_line()}: assign its result instead")


def _collapse(shape: tuple[int, ...], operands: list[Operand]) -> tuple:
    """Merge neighbouring dimensions that are contiguous in every operand: most loops become flat."""
    dims = [d for d, n in enumerate(shape) if n != 1]
    sizes = [shape[d] for d in dims]
    strides = [[operand.strides[d] for d in dims] for operand in operands]
    for d in range(len(sizes) - 2, -1, -1):
        if all(s[d] == s[d + 1] * sizes[d + 1] for s in strides):
            sizes[d] *= sizes[d + 1]
            del sizes[d + 1]
            for s in strides:
                s[d] = s[d + 1]
                del s[d + 1]
    return tuple(sizes), *(Operand(o.buffer, o.offset, tuple(s)) for o, s in zip(operands, strides, strict=True))
