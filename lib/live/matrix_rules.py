"""Products, factorisations and spectra of small matrices, and Fourier transforms of short signals."""

from __future__ import annotations

import math

import torch

from .errors import NotLive, author_line
from .rules import resolved, rule

__all__ = ["block_form", "is_vector"]


def block_form(matrix: torch.Tensor) -> torch.Tensor:
    """The real matrix ``[[re, -im], [im, re]]`` that multiplies like a complex one."""
    re, im = matrix.real, matrix.imag
    return torch.cat([torch.cat([re, -im], -1), torch.cat([im, re], -1)], -2)


def is_vector(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether ``torch.linalg.solve(a, b)`` takes ``b`` for one vector per matrix (torch's own rule)."""
    return b.dim() == 1 or (a.dim() - 1 == b.dim() and b.shape == a.shape[:-1])


@rule("_linalg_check_errors", either=True)
def _check_errors(r, func, info, name, *, is_matrix):
    """Whether a factorisation failed is known only on the page; there it gives infinities, as the proof would show."""
    return func(info.detach().clone() if not r.is_live(info) else torch.zeros_like(info), name, is_matrix=is_matrix)


# -- products ------------------------------------------------------------------------------------------------------
def _product(r, a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> None:
    a, b, out = (t if t.dim() == 3 else t.unsqueeze(0) for t in (a, b, out))
    batch, rows, inner = a.shape
    reads = r.read(a), r.read(b)
    r.emit("mm", (batch, rows, b.shape[2], inner), r.write(out), *reads)


@rule("mm", "bmm")
def _mm(r, func, a, b, *dtype):
    out = func(a, b, *dtype)
    _product(r, a, b, out)
    return out


@rule("mv")
def _mv(r, func, a, b):
    out = func(a, b)
    _product(r, a, b.unsqueeze(1), out.unsqueeze(1))
    return out


@rule("dot")
def _dot(r, func, a, b):
    out = func(a, b)
    _product(r, a[None], b[:, None], out.view(1, 1))
    return out


@rule("addmm", "addmv", "baddbmm", "addbmm", "addr")
def _addmm(r, func, c, a, b, *, beta=1, alpha=1):
    name = func._schema.name.split("::")[1]
    with r:
        product = torch.outer(a, b) if name == "addr" else a @ b
        product = product.sum(0) if name == "addbmm" else product
        return (product if alpha == 1 else product * alpha) + (c if beta == 1 else c * beta)


# -- linear equations ----------------------------------------------------------------------------------------------
def _factor(r, a: torch.Tensor, lu: torch.Tensor, pivots: torch.Tensor) -> None:
    r.kernel("lu", a.dim() - 2, [lu, pivots], [a])


def _solve(r, lu, pivots, b, out, adjoint=0) -> None:
    batch = tuple(out.shape[:-2])
    r.kernel(
        "lu_solve",
        len(batch),
        [out],
        [lu.expand(*batch, *lu.shape[-2:]), pivots.expand(*batch, pivots.shape[-1]), b.expand(*batch, *b.shape[-2:])],
        (int(adjoint),),
    )


@rule("linalg_lu_factor_ex", "linalg_lu_factor")
def _lu_factor(r, func, a, pivot=True, check_errors=False):
    if not pivot:
        raise NotLive(f"lu_factor(pivot=False) is not available on the page, at {author_line()}")
    out = func(a)
    _factor(r, a, out[0], out[1])
    if len(out) == 2:
        return out
    return out[0], out[1], r.pointwise("copy", out[2], 0.0)


@rule("linalg_lu_solve")
def _lu_solve(r, func, lu, pivots, b, left=True, adjoint=False):
    out = func(lu, pivots, b, left=left, adjoint=adjoint)
    if left:
        _solve(r, lu, pivots, b, out, adjoint)
    else:  # X A = B is A^T X^T = B^T
        _solve(r, lu, pivots, b.mT, out.mT, not adjoint)
    return out


@rule("_linalg_solve_ex")
def _linalg_solve(r, func, a, b, left=True, check_errors=False):
    solution, lu, pivots, info = func(a, b, left=left, check_errors=False)
    _factor(r, a, lu, pivots)
    vector = is_vector(a, b)
    right, target = (b.unsqueeze(-1), solution.unsqueeze(-1)) if vector else (b, solution)
    if left:
        _solve(r, lu, pivots, right, target)
    else:
        _solve(r, lu, pivots, right.mT, target.mT, 1)
    return solution, lu, pivots, r.pointwise("copy", info, 0.0)


@rule("linalg_inv_ex")
def _inverse(r, func, a, check_errors=False):
    inverse, info = func(a)
    with r:
        eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device).expand(a.shape)
        inverse = torch.linalg.solve_ex(a, eye)[0]
    return inverse, r.pointwise("copy", info, 0.0)


@rule("_linalg_det", "_linalg_slogdet")
def _determinant(r, func, a):
    out = func(a)
    lu, pivots = out[-2:]
    _factor(r, a.mT if a.is_contiguous() else a, lu, pivots)  # torch saves a copy: det(A) = det(A^T)
    with r:
        diagonal = lu.diagonal(dim1=-2, dim2=-1)
        moved = pivots != torch.arange(1, a.shape[-1] + 1, device=a.device)
        sign = 1 - 2 * (moved.sum(-1) % 2).to(a.dtype)
        if func._schema.name.endswith("slogdet"):
            return sign * diagonal.sign().prod(-1), diagonal.abs().log().sum(-1), lu, pivots
        return sign * diagonal.prod(-1), lu, pivots


@rule("linalg_solve_triangular", "triangular_solve")
def _triangular(r, func, a, b, *, upper=None, left=True, unitriangular=False, **other):
    if upper is None:
        return NotImplemented
    with r:
        a = a.triu() if upper else a.tril()
        if unitriangular:
            a = a - torch.diag_embed(a.diagonal(dim1=-2, dim2=-1)) + torch.eye(a.shape[-1], dtype=a.dtype)
        return torch.linalg.solve_ex(a, b, left=left)[0]


@rule("linalg_cholesky_ex", "linalg_cholesky")
def _cholesky(r, func, a, *, upper=False, check_errors=False):
    factor, info = func(a, upper=upper)
    target = factor.mT if upper else factor
    r.kernel("cholesky", a.dim() - 2, [target], [a.mT if upper else a])
    return factor, r.pointwise("copy", info, 0.0)


# -- spectra -------------------------------------------------------------------------------------------------------
@rule("_linalg_eigh")
def _eigh(r, func, a, uplo="L", compute_v=True):
    values, vectors = func(a, uplo, True)
    with r:
        triangle = a.tril() if uplo.upper() == "L" else a.triu()
        whole = triangle + triangle.mT - torch.diag_embed(a.diagonal(dim1=-2, dim2=-1))
    r.kernel("eigh", a.dim() - 2, [values, vectors], [whole])
    return values, vectors


@rule("linalg_eig", "_linalg_eigvals", "linalg_eigvals")
def _eig(r, func, a):
    values, vectors = torch.linalg.eig(a)
    r.kernel("eig", a.dim() - 2, [torch.view_as_real(values), torch.view_as_real(vectors)], [a])
    return (values, vectors) if func._schema.name.endswith("eig") else values


@rule("linalg_matrix_exp", either=True)
def _matrix_exp(r, func, a):
    out = func(a)
    if a.is_complex():
        n = a.shape[-1]
        with r:
            whole = torch.linalg.matrix_exp(block_form(a))
            return torch.complex(whole[..., :n, :n], whole[..., n:, :n])
    r.kernel("matrix_exp", a.dim() - 2, [out], [a])
    return out


# -- Fourier transforms --------------------------------------------------------------------------------------------
def _dft(r, x: torch.Tensor, dim: int, sign: int) -> torch.Tensor:
    """Unnormalised transform of a complex tensor along one dimension, recorded as one kernel."""
    moved = x.movedim(dim, -1)
    out = torch.fft.fft(moved) if sign < 0 else torch.fft.ifft(moved, norm="forward")
    r.kernel("dft", moved.dim() - 1, [torch.view_as_real(out)], [torch.view_as_real(moved)], (sign,))
    return out.movedim(-1, dim)


def _scaled(x: torch.Tensor, normalization: int, count: int) -> torch.Tensor:
    return x if normalization == 0 else x / (math.sqrt(count) if normalization == 1 else count)


@rule("_fft_c2c", either=True)
def _fft_c2c(r, func, x, dims, normalization, forward):
    x = resolved(r, x)
    for d in dims:
        x = _dft(r, x, d, -1 if forward else 1)
    with r:
        return _scaled(x, normalization, math.prod(x.shape[d] for d in dims))


@rule("_fft_r2c", either=True)
def _fft_r2c(r, func, x, dims, normalization, onesided):
    count = math.prod(x.shape[d] for d in dims)
    with r:
        wide = torch.complex(x, torch.zeros_like(x))
    for d in reversed(dims):
        wide = _dft(r, wide, d, -1)
    with r:
        if onesided:
            wide = wide.narrow(dims[-1], 0, x.shape[dims[-1]] // 2 + 1)
        return _scaled(wide.clone(), normalization, count)


@rule("_fft_c2r", either=True)
def _fft_c2r(r, func, x, dims, normalization, last):
    half = dims[-1]
    x = resolved(r, x)
    for d in dims[:-1]:
        x = _dft(r, x, d, 1)
    with r:
        kept = x.narrow(half, 0, last // 2 + 1)
        rest = last - (last // 2 + 1)
        mirrored = x.narrow(half, 1, rest).flip((half,)) if rest else None
        wide = kept if mirrored is None else torch.cat([kept, torch.conj_physical(mirrored)], half)
        # the transform of a real signal has real ends: their imaginary parts are not read
        ends = [0] + ([last // 2] if last % 2 == 0 else [])
        imag = wide.imag.clone()
        for e in ends:
            imag.select(half, e).zero_()
        wide = torch.complex(wide.real.clone(), imag)
    whole = _dft(r, wide, half, 1)
    with r:
        return _scaled(whole.real.clone(), normalization, math.prod(whole.shape[d] for d in dims))
