"""A recording made small: dead steps dropped, memory shared, repetitions folded; and the same program run by torch.

The program is plain JSON. All memory of a program is two flat arrays, ``d`` (double) and ``f`` (single precision);
a step is ``[signature, offset, ...]`` and a loop ``[-1, count, [steps], [shifts] or 0]``; a signature is
``[operation, parameters, [[array, stride, ...], ...]]`` and is stored once.
"""

from __future__ import annotations

import base64
import heapq
import itertools
import json
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from .fold import Step, fold
from .operations import KERNELS, POINTWISE, REDUCE, SCAN
from .random import uniform_bits
from .trace import Buffer, Instruction, Recorder
from .tracing import recording

__all__ = ["pack", "record", "replay", "steps_of"]

_SMALL = 2**14  # multiplications of a matrix product that the replay does one by one


def record(function, settings: dict[str, float], watcher=None):
    """Run ``function(**settings)`` under a recorder, every setting a watched 0-dim float64 tensor.

    Parameters
    ----------
    function : callable
    settings : dict of float
    watcher : callable, optional
        Given the recorder, returns a context manager that is active while the function runs.

    Returns
    -------
    recorder : Recorder
    inputs : dict of Tensor
    out
        What the function returned.
    """
    recorder = Recorder()
    inputs = {name: torch.tensor(float(value), dtype=torch.float64) for name, value in settings.items()}
    for tensor in inputs.values():
        recorder.watch(tensor)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # a fused kernel for inference that nothing can take apart
    try:
        with recording(), recorder, watcher(recorder) if watcher else nullcontext():
            out = function(**inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return recorder, inputs, out


def pack(recorder: Recorder, inputs: dict[str, torch.Tensor], outputs: list[torch.Tensor]) -> dict[str, Any]:
    """The JSON-able program that computes ``outputs`` (live tensors) from ``inputs``."""
    reads = [recorder.read(_plain(t)) for t in outputs]
    shapes = [list(t.shape) for t in outputs]
    code = _needed(recorder.instructions, {o.buffer for o in reads})
    slots = {recorder.read(t).buffer: name for name, t in inputs.items()}
    place, sizes, constants = _allocate(recorder.buffers, code, [o.buffer for o in reads], slots)

    signatures: dict[str, int] = {}
    steps = []
    for op, params, operands in code:
        layout = [[recorder.buffers[o.buffer].kind, *o.strides] for o in operands]
        name = json.dumps([op, params, layout], separators=(",", ":"))
        offsets = tuple(place[o.buffer] + o.offset for o in operands)
        steps.append(Step(signatures.setdefault(name, len(signatures)), offsets))
    return {
        "size": sizes,
        "constants": constants,
        "inputs": {name: place[buffer] for buffer, name in slots.items()},
        "signatures": [json.loads(s) for s in signatures],
        "steps": [_json(item) for item in fold(steps)],
        "outputs": [
            [recorder.buffers[o.buffer].kind, place[o.buffer] + o.offset, shape, list(o.strides)]
            for o, shape in zip(reads, shapes, strict=True)
        ],
    }


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.is_complex():
        raise TypeError("a figure shows real numbers: give the real or imaginary part, or the absolute value")
    return tensor


def _json(item) -> list:
    if isinstance(item, Step):
        return [item.signature, *item.offsets]
    return [-1, item.count, [_json(i) for i in item.body], list(item.shifts) if any(item.shifts) else 0]


def _results(op: str) -> int:
    return KERNELS.get(op, 1)


def _needed(code: list[Instruction], wanted: set[int]) -> list[Instruction]:
    """The instructions on which the wanted buffers depend, in order."""
    kept = []
    for instruction in reversed(code):
        count = _results(instruction.op)
        if any(o.buffer in wanted for o in instruction.operands[:count]):
            wanted |= {o.buffer for o in instruction.operands}
            kept.append(instruction)
    return kept[::-1]


def _allocate(buffers: list[Buffer], code: list[Instruction], outputs: list[int], inputs: dict[int, str]):
    """Give every buffer a place in the flat array of its kind; memory is used again after a buffer's last use.

    Inputs and constants come first, in order of use, so that the constants of successive loop passes are neighbours
    and fold. Free blocks are kept by size and by how long their buffers live (in powers of two), the lowest is taken
    first: then the layout of a loop is periodic from its first passes on, because a result that is kept for the end
    does not take the place of a pass's own temporaries.
    """
    last = {o.buffer: i for i, instruction in enumerate(code) for o in instruction.operands}
    last |= dict.fromkeys(outputs, len(code))
    first: dict[int, int] = {}
    for i, instruction in enumerate(code):
        for operand in instruction.operands:
            first.setdefault(operand.buffer, i)
    place: dict[int, int] = {}
    size = {"d": 0, "f": 0}
    free: dict[tuple, list[int]] = {}
    constants: dict[str, list] = {"d": [], "f": []}

    def pool(buffer: int) -> list[int]:
        lifetime = (last[buffer] - first[buffer]).bit_length()
        return free.setdefault((*buffers[buffer][:2], lifetime), [])

    def put(buffer: int) -> None:
        kind, length, values = buffers[buffer]
        block = pool(buffer) if values is None and buffer not in inputs else None
        if block:
            place[buffer] = heapq.heappop(block)
            return
        place[buffer] = size[kind]
        size[kind] += length
        if values is not None:
            constants[kind].append([place[buffer], values])

    for buffer in inputs:
        put(buffer)
    used = dict.fromkeys(itertools.chain(outputs, (o.buffer for i in code for o in i.operands)))
    for buffer in used:
        if buffers[buffer].values is not None and buffer not in place:
            put(buffer)
    for i, instruction in enumerate(code):
        mine = dict.fromkeys(o.buffer for o in instruction.operands)
        for buffer in mine:
            if buffer not in place:
                put(buffer)
        for buffer in mine:
            if last[buffer] == i and buffers[buffer].values is None and buffer not in inputs:
                heapq.heappush(pool(buffer), place[buffer])
    return place, size, {kind: _blocks(entries) for kind, entries in constants.items() if entries}


def _blocks(entries: list) -> list:
    """Constants as ``[offset, data]``: neighbouring numbers as one block, arrays without the zeros at their ends."""
    blocks: list[list] = []
    for offset, values in entries:
        single = values.numel() == 1
        if single and blocks and blocks[-1][2] and blocks[-1][0] + len(blocks[-1][1]) == offset:
            blocks[-1][1].append(values.item())
        elif single:
            blocks.append([offset, [values.item()], True])
        else:
            told = torch.nonzero((values != 0) | torch.signbit(values))  # memory starts as zeros
            first, last = (int(told[0]), int(told[-1]) + 1) if len(told) else (0, 0)
            if last > first:
                blocks.append([offset + first, values[first:last].tolist(), False])
    return [[offset, encode(torch.tensor(values, dtype=torch.float64))] for offset, values, _ in blocks]


def encode(values: torch.Tensor) -> str:
    """Numbers as base64 of little-endian bytes, in the narrowest of int8, float32, float64 that is exact."""
    wide = values.to(torch.float64).numpy()
    for letter, dtype in (("b", "<i1"), ("f", "<f4"), ("d", "<f8")):
        with np.errstate(invalid="ignore", over="ignore"):
            narrow = wide.astype(dtype)
            same = np.array_equal(narrow.astype("<f8"), wide, equal_nan=True)
        if same and not (letter == "b" and np.signbit(wide[wide == 0]).any()):
            break
    return letter + base64.b64encode(narrow.tobytes()).decode()


def decode(text: str) -> np.ndarray:
    """The inverse of :func:`encode`, as float64."""
    dtype = {"b": "<i1", "f": "<f4", "d": "<f8"}[text[0]]
    return np.frombuffer(base64.b64decode(text[1:]), dtype).astype("<f8")


# -- the same program run by torch: proves the recording, not the JavaScript ---------------------------------------
def steps_of(steps: list):
    """Iterate over the steps of a program with loops unrolled: ``(signature, offsets)``."""
    for step in steps:
        if step[0] >= 0:
            yield step[0], step[1:]
            continue
        _, count, body, shifts = step
        shifts = shifts or [0] * _width(step)
        for turn in range(count):
            yield from _shifted(body, shifts, turn)


def _shifted(body: list, shifts: list[int], turn: int):
    at = 0
    for step in body:
        width = _width(step)
        moved = _moved(step, [turn * s for s in shifts[at : at + width]])
        at += width
        yield from steps_of([moved])


def _width(step: list) -> int:
    return len(step) - 1 if step[0] >= 0 else sum(_width(s) for s in step[2])


def _moved(step: list, by: list[int]) -> list:
    if step[0] >= 0:
        return [step[0], *(o + b for o, b in zip(step[1:], by, strict=True))]
    at, body = 0, []
    for inner in step[2]:
        width = _width(inner)
        body.append(_moved(inner, by[at : at + width]))
        at += width
    return [-1, step[1], body, step[3]]


def replay(program: dict[str, Any], settings: dict[str, float]) -> list[torch.Tensor]:
    """Run a program with torch on the CPU: what the page must compute at these settings.

    Sums are not rounded as torch rounds them: a figure that lives on rounding, which is the page's own, must not pass
    the proof.
    """
    memory = {k: torch.zeros(n, dtype={"d": torch.float64, "f": torch.float32}[k]) for k, n in program["size"].items()}
    for kind, blocks in program["constants"].items():
        for offset, text in blocks:
            values = torch.from_numpy(decode(text))
            memory[kind][offset : offset + len(values)] = values
    for name, offset in program["inputs"].items():
        memory["d"][offset] = float(settings[name])
    for signature, offsets in steps_of(program["steps"]):
        op, params, layout = program["signatures"][signature]
        _run(op, params, [(memory[kind], offset, strides) for (kind, *strides), offset in zip(layout, offsets)])
    return [
        torch.as_strided(memory[k], shape, strides, offset).clone() for k, offset, shape, strides in program["outputs"]
    ]


def _run(op: str, params: list, operands: list) -> None:
    def view(which: int, shape) -> torch.Tensor:
        array, offset, strides = operands[which]
        return torch.as_strided(array, tuple(shape), tuple(strides), offset)

    if op in POINTWISE:
        inputs = [view(i, params).double() for i in range(1, len(operands))]
        view(0, params).copy_(POINTWISE[op].torch(*inputs).double())
    elif op in REDUCE:
        kept, reduced = params
        x = view(1, kept + reduced).reshape(*kept, -1).double().flip(-1)
        view(0, kept).copy_(getattr(x != 0 if op in ("any", "all") else x, op)(-1))
    elif op in SCAN:
        view(0, params).copy_(getattr(view(1, params).double(), op)(-1))
    elif op == "mm":
        batch, rows, columns, inner = params
        a, b = view(1, (batch, rows, inner)).double(), view(2, (batch, inner, columns)).double()
        if batch * rows * inner * columns < _SMALL:  # no fused multiply and add: the page has none
            product = (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(-2)
        else:
            product = a.flip(-1) @ b.flip(-2)
        view(0, (batch, rows, columns)).copy_(product)
    elif op in ("take", "put", "put_add"):
        _move(op, params, operands, view)
    else:
        batch, blocks, extra = params
        views = [view(i, list(batch) + list(block)) for i, block in enumerate(blocks)]
        count = _results(op)
        if op == "uniform":
            views[0].copy_(uniform_bits(views[1], views[0].numel(), *extra))
            return
        results = _KERNELS[op](*(v.double() for v in views[count:]), *extra)
        for target, value in zip(views[:count], results if isinstance(results, tuple) else (results,), strict=True):
            target.copy_(value)


def _move(op: str, params: list, operands: list, view) -> None:
    shape, steps, sizes = params
    walked, first = (operands[1], 2) if op == "take" else (operands[0], 2)
    array, offset, strides = walked
    at = torch.full(tuple(shape), offset)
    for d, (n, stride) in enumerate(zip(shape, strides, strict=True)):
        at = at + (torch.arange(n) * stride).view([-1 if j == d else 1 for j in range(len(shape))])
    for i, (step, size) in enumerate(zip(steps, sizes, strict=True)):
        at = at + view(first + i, shape).long() % size * step
    if op == "take":
        view(0, shape).copy_(array[at])
    else:
        values = view(1, shape).reshape(-1).to(array.dtype).clone()
        array.index_put_((at.reshape(-1),), values, accumulate=op == "put_add")


def _eig(a: torch.Tensor):
    """Eigenvalues in an order that is not torch's: a figure that depends on the order must not pass the proof."""
    values, vectors = torch.linalg.eig(a)
    return torch.view_as_real(values.flip(-1)), torch.view_as_real(vectors.flip(-1))


def _eigh(a: torch.Tensor):
    """Eigenvectors with signs that are not torch's, for the same reason."""
    values, vectors = torch.linalg.eigh(a)
    return values, -vectors


def _dft(x: torch.Tensor, sign: int) -> torch.Tensor:
    z = torch.view_as_complex(x.clone(memory_format=torch.contiguous_format))
    return torch.view_as_real(torch.fft.fft(z) if sign < 0 else torch.fft.ifft(z, norm="forward"))


_KERNELS = {
    "argmax": lambda x: x.argmax(-1),
    "argmin": lambda x: x.argmin(-1),
    "cummax": lambda x: tuple(x.cummax(-1)),
    "cummin": lambda x: tuple(x.cummin(-1)),
    "sort": lambda x, descending: tuple(x.sort(dim=-1, descending=bool(descending), stable=True)),
    "searchsorted": lambda edges, x, right: torch.searchsorted(edges.contiguous(), x.contiguous(), right=bool(right)),
    "lu": lambda a: tuple(torch.linalg.lu_factor_ex(a)[:2]),
    "lu_solve": lambda lu, pivots, b, adjoint: torch.linalg.lu_solve(lu, pivots.int(), b, adjoint=bool(adjoint)),
    "cholesky": lambda a: torch.linalg.cholesky_ex(a)[0],
    "eigh": _eigh,
    "eig": _eig,
    "matrix_exp": torch.linalg.matrix_exp,
    "dft": _dft,
}
