"""Every row of the operation table: the runtime in Chromium against torch, on ordinary and awkward numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.special
import torch

from lib.live import runtime
from lib.live.operations import KERNELS, POINTWISE, REDUCE, SCAN
from lib.live.program import encode
from tests.live.page_program import run

AWKWARD = [
    *(
        0.0,
        -0.0,
        1.0,
        -1.0,
        0.5,
        -0.5,
        1.5,
        -1.5,
        2.5,
        -2.5,
        3.7,
        -3.7,
        1e-8,
        -1e-8,
        30.0,
        -30.0,
        7.0,
        -7.0,
        0.1,
        171.5,
    ),
    *(1e300, -1e300, 5e-324, 2.0**53, math.inf, -math.inf, math.nan),
]
# torch leaves the sign of a zero to its vector unit here: what is asserted is the value
SIGN_OF_ZERO_IS_FREE = {
    *("maximum", "minimum", "fmax", "fmin", "round", "sinc", "logaddexp", "xlogy", "remainder", "hypot", "lgamma"),
}


def reference(op, inputs):
    """What a row must give: torch, or where torch is less exact than the page, an independent source.

    torch's polygamma(1, x) is good to 1e-9 only, and its vectorised remainders are NaN where the quotient overflows.
    """
    if op == "trigamma":
        with np.errstate(all="ignore"):
            return scipy.special.polygamma(1, inputs[0].numpy())
    want = POINTWISE[op].torch(*inputs).double().numpy()
    if op in ("fmod", "remainder"):
        a, b = (x.numpy() for x in inputs)
        with np.errstate(all="ignore"):
            overflows = np.isfinite(a) & np.isfinite(b) & (b != 0) & np.isinf(a / b)
            want = np.where(overflows, {"fmod": np.fmod, "remainder": np.remainder}[op](a, b), want)
    return want


def program(op, params, arrays, layouts, offsets, out_shape, out_at=0):
    """A program of one step: memory is [result | inputs]; layouts are strides per operand."""
    room = max(out_at + int(np.prod(out_shape or (1,))) * 4, 1)
    constants, at, places = [], room, []
    for array in arrays:
        constants.append([at, encode(torch.as_tensor(array).reshape(-1).to(torch.float64))])
        places.append(at)
        at += array.numel()
    step = [0, out_at, *(p + o for p, o in zip(places, offsets, strict=True))]
    return {
        "size": {"d": at, "f": 0},
        "constants": {"d": constants},
        "inputs": {},
        "signatures": [[op, params, [["d", *s] for s in layouts]]],
        "steps": [step],
        "outputs": [["d", out_at, list(out_shape), list(layouts[0])]],
    }


def pairs(count):
    """All pairs (triples) of awkward numbers, as flat tensors."""
    values = torch.tensor(AWKWARD, dtype=torch.float64)
    if count == 1:
        extra = torch.linspace(-5, 5, 41, dtype=torch.float64)
        return [torch.cat([values, extra])]
    a, b = (t.reshape(-1) for t in torch.meshgrid(values, values, indexing="ij"))
    return [a, b] if count == 2 else [(a > 0).double(), b, a]


def explain(inputs, got, want, bad):
    return [(*(t[i].item() for t in inputs), got[i], want[i]) for i in np.flatnonzero(bad)[:6]]


@pytest.mark.parametrize("op", [*POINTWISE])
def test_pointwise_row_equals_torch(page, op):
    inputs = pairs(len(POINTWISE[op].operands))
    want = reference(op, inputs)
    n = len(want)
    got = run(page, program(op, [n], inputs, [[1]] * (len(inputs) + 1), [0] * len(inputs), [n]), {})[0]
    bad = ~np.isclose(got, want, rtol=2e-12, atol=1e-300, equal_nan=True)
    if op in ("lgamma", "digamma", "trigamma", "logaddexp", "erfinv"):  # zeros inside the range: relative error of sums
        bad &= ~np.isclose(got, want, rtol=2e-12, atol=2e-14, equal_nan=True)
    if op not in SIGN_OF_ZERO_IS_FREE:
        bad |= (want == 0) & (np.signbit(got) != np.signbit(want))
    assert not bad.any(), explain(inputs, got, want, bad)


@pytest.mark.parametrize("op", [*POINTWISE])
def test_pointwise_row_walks_strides_and_broadcasts(page, op):
    """Transposed, stepped and broadcast operands, written into a transposed block."""
    count = len(POINTWISE[op].operands)
    g = torch.Generator().manual_seed(1)
    memory = [torch.rand(40, generator=g, dtype=torch.float64) * 0.9 + 0.05 for _ in range(count)]
    strides = [[1, 6], [0, 2], [3, 0]][:count]
    offsets = [2, 5, 1][:count]
    views = [torch.as_strided(m, (3, 4), s, o) for m, s, o in zip(memory, strides, offsets, strict=True)]
    want = reference(op, views)
    got = run(page, program(op, [3, 4], memory, [[1, 3], *strides], offsets, [3, 4]), {})[0]
    np.testing.assert_allclose(got, want, rtol=2e-12, atol=1e-14)


BLOCK = torch.tensor(
    [[1.0, -2.0, 0.0, 4.0, 4.0], [math.inf, 1.0, -0.0, 2.0, 0.5], [math.nan, 1.0, 2.0, -3.0, 0.0],
     [-math.inf, -1.0, -1.0, 3.0, 3.0], [0.0, -0.0, 0.0, -0.0, 0.0], [-1.0, -1.0, math.nan, math.nan, 2.0]],
    dtype=torch.float64,
)  # fmt: skip


@pytest.mark.parametrize("op", [*REDUCE])
@pytest.mark.parametrize("dim", [0, 1])
def test_reduction_row_equals_torch(page, op, dim):
    kept = 1 - dim
    x = BLOCK != 0 if op in ("any", "all") else BLOCK
    want = getattr(x, op)(dim).double().numpy()
    params = [[BLOCK.shape[kept]], [BLOCK.shape[dim]]]
    strides = [BLOCK.stride(kept), BLOCK.stride(dim)]
    got = run(page, program(op, params, [BLOCK], [[1], strides], [0], [BLOCK.shape[kept]]), {})[0]
    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("op", [*REDUCE])
def test_reduction_over_dimensions_that_are_not_neighbours(page, op):
    x = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    want = x.permute(1, 0, 2).reshape(4, 15)
    want = getattr(want > 0.5 if op in ("any", "all") else want, op)(1).double().numpy()
    memory = (x > 0.5).double() if op in ("any", "all") else x
    got = run(page, program(op, [[4], [3, 5]], [memory], [[1], [5, 20, 1]], [0], [4]), {})[0]
    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("op", [*SCAN])
def test_scan_row_equals_torch(page, op):
    rows = BLOCK.clone()
    rows[0], rows[1] = torch.linspace(-3, 2, 5), torch.tensor([-math.inf, -math.inf, 0.0, 1.0, -2.0])
    if op != "logcumsumexp":
        rows[1] = BLOCK[1]
    want = getattr(rows, op)(1).numpy()
    got = run(page, program(op, list(rows.shape), [rows], [[5, 1], [5, 1]], [0], list(rows.shape)), {})[0]
    np.testing.assert_allclose(got, want, rtol=1e-12)


def test_every_kernel_is_tested_below():
    assert set(KERNELS) == set(BLOCK_CASES) | {"mm", "take", "put", "put_add"}


def _matrix(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SPD = _matrix(5, 4, 4) @ _matrix(5, 4, 4).T + torch.eye(4, dtype=torch.float64)
LU, PIVOTS = torch.linalg.lu_factor(_matrix(6, 4, 4))
TIES = torch.tensor([2.0, math.nan, -1.0, 2.0, -math.inf, 0.0, -0.0, math.inf, 2.0], dtype=torch.float64)
FALLING = torch.tensor([3.0, 1.0, 1.0, 2.0, math.nan, 5.0], dtype=torch.float64)
BLOCK_CASES = {  # name: (blocks of results, inputs, constants, results by torch)
    "argmax": ([()], [TIES], (), lambda x: x.argmax()),
    "argmin": ([()], [TIES[2:]], (), lambda x: x.argmin()),
    "cummax": ([(6,), (6,)], [FALLING], (), lambda x: x.cummax(0)),
    "cummin": ([(6,), (6,)], [FALLING], (), lambda x: x.cummin(0)),
    "sort": ([(9,), (9,)], [TIES], (1,), lambda x: x.sort(stable=True, descending=True)),
    "searchsorted": ([(9,)], [torch.tensor([-1.0, 0.0, 2.0, 2.0, 5.0], dtype=torch.float64), TIES], (1,),
                     lambda edges, x: torch.searchsorted(edges, x, right=True)),
    "lu": ([(4, 4), (4,)], [_matrix(6, 4, 4)], (), lambda a: torch.linalg.lu_factor(a)),
    "lu_solve": ([(4, 2)], [LU, PIVOTS.double(), _matrix(7, 4, 2)], (1,),
                 lambda lu, p, b: torch.linalg.lu_solve(lu, p.int(), b, adjoint=True)),
    "cholesky": ([(4, 4)], [SPD], (), torch.linalg.cholesky),
    "eigh": ([(4,), (4, 4)], [SPD], (), None),
    "eig": ([(4, 2), (4, 4, 2)], [_matrix(8, 4, 4)], (), None),
    "matrix_exp": ([(4, 4)], [3 * _matrix(9, 4, 4)], (), torch.linalg.matrix_exp),
    "dft": ([(12, 2)], [_matrix(10, 12, 2)], (-1,),
            lambda x: torch.view_as_real(torch.fft.fft(torch.view_as_complex(x)))),
    "uniform": ([(50,)], [torch.tensor(123456789.0, dtype=torch.float64)], (3,), None),
}  # fmt: skip


def block_outputs(page, op, outs, inputs, extra):
    """All results of one block kernel, run on contiguous memory."""
    shapes = [list(o) for o in outs] + [list(x.shape) for x in inputs]
    strides = [list(torch.empty(s).stride()) for s in shapes]
    places, at, constants = [], 0, []
    for i, shape in enumerate(shapes):
        places.append(at)
        if i >= len(outs):
            constants.append([at, encode(inputs[i - len(outs)].reshape(-1))])
        at += int(np.prod(shape or [1]))
    made = {
        "size": {"d": at, "f": 0}, "constants": {"d": constants}, "inputs": {},
        "signatures": [[op, [[], shapes, list(extra)], [["d", *s] for s in strides]]],
        "steps": [[0, *places]],
        "outputs": [["d", p, s, t] for p, s, t in zip(places, shapes, strides, strict=True)][: len(outs)],
    }  # fmt: skip
    return run(page, made, {})


@pytest.mark.parametrize("op", [name for name, case in BLOCK_CASES.items() if case[3]])
def test_block_kernel_equals_torch(page, op):
    outs, inputs, extra, reference = BLOCK_CASES[op]
    want = reference(*inputs)
    want = tuple(want) if isinstance(want, tuple) else (want,)
    got = block_outputs(page, op, outs, inputs, extra)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w.double().numpy(), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_symmetric_eigenvalues_and_vectors(page, n):
    a = _matrix(n, n, n)
    a = a + a.T
    values, vectors = block_outputs(page, "eigh", [(n,), (n, n)], [a], ())
    np.testing.assert_allclose(values, torch.linalg.eigvalsh(a).numpy(), rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(a.numpy() @ vectors, vectors * values, atol=1e-11)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(n), atol=1e-12)


GENERAL = {
    "random 1": _matrix(1, 1, 1),
    "random 2": _matrix(2, 2, 2),
    "random 3": _matrix(3, 3, 3),
    "random 9": _matrix(4, 9, 9),
    "random 20": _matrix(5, 20, 20),
    "rotation": torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64),
    "cyclic": torch.roll(torch.eye(5, dtype=torch.float64), 1, 0),
    "Leslie": torch.tensor([[0.0, 4.0, 3.0], [0.5, 0.0, 0.0], [0.0, 0.25, 0.0]], dtype=torch.float64),
    "triangular": _matrix(6, 6, 6).triu(),
    "badly scaled": torch.diag(torch.tensor([1e-6, 1.0, 1e6], dtype=torch.float64)) @ _matrix(7, 3, 3),
    "zero": torch.zeros(3, 3, dtype=torch.float64),
}


@pytest.mark.parametrize("name", GENERAL)
def test_general_eigenvalues_and_vectors(page, name):
    a = GENERAL[name]
    n = len(a)
    values, vectors = block_outputs(page, "eig", [(n, 2), (n, n, 2)], [a], ())
    values, vectors = values[:, 0] + 1j * values[:, 1], vectors[..., 0] + 1j * vectors[..., 1]
    want = torch.linalg.eigvals(a).numpy()
    scale = max(np.abs(want).max(), 1e-300)
    gaps = np.abs(values[:, None] - want[None, :])
    assert gaps.min(0).max() <= 1e-9 * scale and gaps.min(1).max() <= 1e-9 * scale, (values, want)
    assert abs(values.sum() - np.trace(a.numpy())) <= 1e-10 * scale
    np.testing.assert_allclose(a.numpy() @ vectors, vectors * values, atol=1e-8 * scale)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=0), 1, rtol=1e-12)
    conjugates = sorted(values[values.imag > 0], key=lambda z: (z.real, z.imag))
    mirrored = sorted(values[values.imag < 0].conj(), key=lambda z: (z.real, z.imag))
    assert conjugates == mirrored  # exactly, so that an order by real part is the same everywhere


@pytest.mark.parametrize("n", [1, 2, 3, 5, 8, 12, 30, 64])
@pytest.mark.parametrize("sign", [-1, 1])
def test_fourier_transform_of_any_length(page, n, sign):
    x = _matrix(n, n, 2)
    z = torch.view_as_complex(x)
    want = torch.fft.fft(z) if sign < 0 else torch.fft.ifft(z, norm="forward")
    got = block_outputs(page, "dft", [(n, 2)], [x], (sign,))[0]
    np.testing.assert_allclose(got, torch.view_as_real(want).numpy(), atol=1e-12)


@pytest.mark.parametrize("seed", [0, 1, 3, 2**31, 2**32 + 5, 999999])
@pytest.mark.parametrize("stream", [0, 1, 2**32 - 1])
def test_random_numbers_are_the_same_bits(page, seed, stream):
    from lib.live.random import uniform

    got = block_outputs(page, "uniform", [(64,)], [torch.tensor(float(seed), dtype=torch.float64)], (stream,))[0]
    assert np.array_equal(got, uniform(seed, 64, stream=stream).numpy())


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 4, 5), (1, 7, 9, 8), (3, 2, 2, 0)])
def test_matrix_product_row(page, shape):
    batch, rows, columns, inner = shape
    a, b = _matrix(1, batch, inner, rows), _matrix(2, batch, columns, inner)
    want = (a.mT @ b.mT).numpy()
    layouts = [[rows * columns, columns, 1], [inner * rows, 1, rows], [columns * inner, 1, inner]]
    got = run(page, program("mm", list(shape), [a, b], layouts, [0, 0], [batch, rows, columns]), {})[0]
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


def test_take_reads_and_put_writes_at_computed_places(page):
    x = torch.arange(12.0, dtype=torch.float64)
    index = torch.tensor([2.0, -1.0, 0.0], dtype=torch.float64)  # negative positions count from the end
    got = run(page, program("take", [[3, 4], [4], [3]], [x, index], [[4, 1], [0, 1], [1, 0]], [0, 0], [3, 4]), {})[0]
    assert np.array_equal(got, x.view(3, 4)[index.long()].numpy())
    values = torch.tensor([5.0, 6.0, 7.0], dtype=torch.float64)
    for op, want in (("put", [7.0, 0, 6.0]), ("put_add", [7.0, 0, 11.0])):
        at = torch.tensor([2.0, -1.0, 0.0], dtype=torch.float64)
        made = program(op, [[3], [1], [3]], [values, at], [[0], [1], [1]], [0, 0], [3])
        made["outputs"][0][3] = [1]
        assert run(page, made, {})[0].tolist() == want


def test_size_of_the_runtime():
    assert len(runtime.source().encode()) <= 45_000
