"""Whole torch computations: recorded, packed, replayed by torch and by the runtime in Chromium, against torch."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from lib.live.errors import NotLive
from lib.live.fold import Loop, Step, fold
from lib.live.program import pack, record, replay
from lib.live.random import integers, normal, permutation, uniform
from tests.live.page_program import agree

D = torch.float64


def _draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=D)


X = _draw(4, 5, 6)
W = _draw(6, 3, seed=1)
S = _draw(5, 5, seed=2)
V = X[0, 0]
EYE = torch.eye(5, dtype=D)
SPD = S @ S.T + EYE
BOARD = _draw(16, 24, 17, seed=3)
INDEX = torch.tensor([3, 0, 2])
AWKWARD = torch.tensor([0.0, -0.0, 1.0, -2.5, math.inf, -math.inf, math.nan, 1e-300], dtype=D)


def _grad(function, *variables):
    variables = [v.detach().clone().requires_grad_() for v in variables]
    return torch.autograd.grad(function(*variables).sum(), variables)


def _assign(a):
    state = torch.zeros(6, 5, dtype=D)
    for t in range(1, 6):
        state[t] = state[t - 1] * 0.5 + a * X[0, :, t]
    state[:, 0] += 1
    state[2:4, 1:3] *= a
    return state


def _aliases(a):
    x = (a * X).clone()
    row, column = x[1], x[:, 2]
    row.add_(1)
    column.mul_(a)  # writes into the same memory as `row`
    x.transpose(0, 2)[3] = 7.0
    return x + row.sum()


def _constant_becomes_live(a):
    table = torch.arange(12.0, dtype=D).reshape(3, 4)
    half = table[:, ::2]
    before = table.sum()
    half[1] = a
    return table * before


def _out_argument(a):
    buffer = torch.empty(4, 5, 6, dtype=D)
    torch.add(X, a, out=buffer)
    torch.mul(buffer, buffer, out=buffer)
    torch.sin(buffer[0], out=buffer[1])
    return buffer


def _q_learning(a):
    """Tabular Q-learning on a ring: integer states, computed indices."""
    q, s = torch.zeros(5, 2, dtype=D), torch.zeros(1, dtype=torch.long)
    u = uniform(7, 60, 2)
    for t in range(60):
        greedy = q[s].argmax(-1)
        act = torch.where(u[t, :1] < 0.2, (u[t, 1:] * 2).long(), greedy)
        after = (s + 2 * act - 1) % 5
        reward = (after == 3).double()
        q[s, act] = q[s, act] + a * (reward + 0.9 * q[after].amax(-1) - q[s, act])
        s = after
    return q


def _network(a):
    """A small network trained by gradient descent; the learning rate is the slider."""
    with torch.enable_grad():
        weights = [normal(1, 8, 1), normal(2, 8), 0.3 * normal(3, 1, 8)]
        x = torch.linspace(-2, 2, 20, dtype=D)[:, None]
        losses = []
        for _ in range(30):
            weights = [w.detach().requires_grad_() for w in weights]
            out = torch.tanh(x @ weights[0].T + weights[1]) @ weights[2].T
            loss = ((out - torch.sin(x)) ** 2).mean()
            slopes = torch.autograd.grad(loss, weights)
            weights = [w - 0.1 * a * s for w, s in zip(weights, slopes, strict=True)]
            losses.append(loss.detach())
    return torch.stack(losses)


def _adam(a):
    w = torch.zeros(6, dtype=D, requires_grad=True)
    optimiser = torch.optim.Adam([w], lr=0.05)
    for _ in range(12):
        optimiser.zero_grad()
        ((X[0] @ w - a) ** 2).mean().backward()
        optimiser.step()
    return w.detach()


def _layer(make):
    torch.manual_seed(0)
    return make().double().eval()


LSTM = _layer(lambda: torch.nn.LSTM(6, 7, batch_first=True))
TRANSFORMER = _layer(lambda: torch.nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True))


def _without_grad(module, x):
    with torch.no_grad():
        out = module(x)
    return out[0] if isinstance(out, tuple) else out


def _sorted_eigenvalues(matrix):
    values = torch.linalg.eigvals(matrix)
    values = values[torch.argsort(values.imag, descending=True, stable=True)]
    return torch.view_as_real(values[torch.argsort(values.real, descending=True, stable=True)])


CASES = {
    # pointwise and comparison maths, conversions
    "arithmetic": lambda a: (a * X + 2) / (X * X + 1) - 3 % (X + a) + X // (a + 5) + (a - X) ** 3 + 2 - a * X,
    "addcmul": lambda a: torch.addcmul(X, X, a * X, value=0.3) + torch.addcdiv(X, X, X * X + a, value=2.0),
    "alpha": lambda a: torch.add(X, a * X, alpha=3) - torch.sub(X, a, alpha=0.5) + torch.rsub(X, a, alpha=2),
    "lerp": lambda a: torch.lerp(X, W.sum() * X, a),
    "comparisons": lambda a: sum(
        f(X, a).double() for f in (torch.eq, torch.ne, torch.lt, torch.le, torch.gt, torch.ge)
    ),
    "logic": lambda a: ((a < X) & (X < 1) | ~(X > 0) ^ (a > X)).double(),
    "isclose": lambda a: torch.isclose(X, X + a * 1e-9).double() + torch.isfinite(a * AWKWARD).sum(),
    "integers": lambda a: ((a * X * 5).long() % 3 + (a * X).int() * 2).double(),
    "bool_sum": lambda a: (a < X).sum(0).double() + (a < X).float().mean(),
    "clamp": lambda a: (a * X).clamp(-1, 1) + X.clamp(min=a) + X.clamp_max(a) + torch.clip(X, -a, a),
    "nan_to_num": lambda a: torch.nan_to_num(a * AWKWARD, nan=2.0, posinf=9.0, neginf=-9.0),
    "awkward": lambda a: torch.stack(
        [
            torch.nan_to_num(f(a * AWKWARD), nan=-7.0, posinf=8.0, neginf=-8.0)
            for f in (torch.sqrt, torch.log1p, torch.tanh, torch.sign, torch.relu, torch.erf)
        ]
    ),
    "softplus": lambda a: F.softplus(a * X) + F.silu(a * X) + F.gelu(a * X) + F.gelu(a * X, approximate="tanh"),
    "activations": lambda a: (
        F.elu(a * X) + F.leaky_relu(a * X) + F.hardtanh(a * X) + F.logsigmoid(a * X) + F.mish(X * a)
    ),
    "special": lambda a: torch.lgamma(a + X.abs()) + torch.digamma(a + X.abs()) + torch.special.ndtr(a * X),
    "round_decimals": lambda a: torch.round(a * X, decimals=2),
    "float32": lambda a: ((a * X).float() * 3 + 1).sin().double(),
    "scalar_tensors": lambda a: a * 3 + torch.tensor(2.0) * a + a**2 + 2**a,
    # reductions and scans
    "sum_all": lambda a: (a * X).sum() + (a * X).prod(2).sum() + (a * X).std() + (a * X).var(0).sum(),
    "mean_two": lambda a: (a * X).mean((0, 2), keepdim=True),
    "std_mean": lambda a: torch.std_mean(a * X, 1)[0] + torch.var_mean(a * X, 1, correction=0)[1],
    "max_min": lambda a: (a * X).max(1).values + (a * X).min(1, keepdim=True).values.squeeze(1) + (a * X).max(),
    "max_index": lambda a: (a * X).max(2).indices.double() + (a * X).argmin(2) + (a * X).argmax(),
    "amax_two": lambda a: torch.amax(a * X, (0, 1)) + torch.aminmax(a * X, dim=1)[0].sum(),
    "any_all": lambda a: ((a * X > 0).any(1).double() + (a * X > -1).all(1)) + (a * X > 2).any(),
    "median": lambda a: (a * X).median() + (a * X).median(2).values.sum() + (a * X).kthvalue(2, 1).values.sum(),
    "quantile": lambda a: torch.quantile(a * X, 0.3, dim=1),
    "count_nonzero": lambda a: torch.count_nonzero(torch.relu(a * X), dim=1).double(),
    "logsumexp": lambda a: torch.logsumexp(a * X, 1) + torch.softmax(a * X, -1).sum(2).mean(1, keepdim=True),
    "log_softmax": lambda a: torch.log_softmax(a * X, 1),
    "norms": lambda a: torch.linalg.vector_norm(a * X, dim=2) + (a * X).norm() + torch.linalg.vector_norm(X * a, 1),
    "cumulative": lambda a: (a * X).cumsum(1) + (a * X).cumprod(2) + torch.logcumsumexp(a * X, 0),
    "cummax": lambda a: torch.cummax(a * X, 1).values + torch.cummin(a * X, 2).indices,
    "diff": lambda a: torch.diff(a * X, dim=1) + torch.trapezoid(a * X, dim=1).sum(),
    # products
    "matmul": lambda a: (a * X) @ W,
    "bmm": lambda a: torch.bmm(a * X, X.transpose(1, 2)),
    "broadcast_matmul": lambda a: (a * X)[:, None] @ X.mT[None],
    "einsum": lambda a: torch.einsum("ijk,kl->jl", a * X, W) + torch.einsum("ijk,ijk->j", X, a * X)[:, None],
    "tensordot": lambda a: torch.tensordot(a * X, X, dims=([0, 1], [0, 1])),
    "vectors": lambda a: torch.outer(a * V, V) + torch.dot(V, a * V) + torch.kron(torch.eye(2, dtype=D), a * S[:3, :3]),
    "mv": lambda a: X[0] @ (a * V) + (a * X[0]) @ V,
    "addmm": lambda a: torch.addmm(X[0, :, :3], a * X[0], W, beta=0.5, alpha=2),
    "linear": lambda a: F.linear(a * X, W.T, W[0]),
    "cdist": lambda a: torch.cdist(a * X, X) + torch.cdist(a * X, X, p=1),
    "cross": lambda a: torch.linalg.cross(a * W, W + 1),
    # indexing and moving
    "index": lambda a: (a * X)[:, INDEX],
    "index_pair": lambda a: (a * X)[INDEX, :, INDEX],
    "index_mask": lambda a: (a * X)[X > 0.5],
    "index_computed": lambda a: torch.arange(20.0, dtype=D)[(a * 3).long() + INDEX],
    "index_negative": lambda a: (a * X)[torch.tensor([-1, 1]), torch.tensor([[0], [-2]])],
    "slices": lambda a: (a * X)[1:, ::2, -3:].flip(0)[:, None].squeeze(1),
    "gather": lambda a: torch.gather(a * X, 2, torch.tensor([0, 5]).expand(4, 5, 2)),
    "take_along": lambda a: torch.take_along_dim(a * X, (a * X).argsort(1), 1),
    "scatter": lambda a: torch.zeros(4, 5, dtype=D).scatter(1, (a * X[:, :1, 0]).abs().long() % 5, 1.0),
    "scatter_add": lambda a: torch.zeros(3, 6, dtype=D).scatter_add(
        0, torch.tensor([[0, 2, 2, 1, 0, 2]] * 2), a * X[0, :2]
    ),
    "index_add": lambda a: torch.zeros(4, 5, 3, dtype=D).index_add(
        2, torch.tensor([0, 2, 2]), a * X[:, :, :3], alpha=2
    ),
    "index_copy": lambda a: X.index_copy(1, torch.tensor([4, 0]), a * X[:, :2]) + X.index_fill(0, INDEX[:2], 3.0) * a,
    "index_put": lambda a: X.index_put((INDEX, INDEX), a * X[0, :3], accumulate=True),
    "index_put_twice": lambda a: torch.zeros(3, dtype=D).index_put(
        (torch.tensor([0, 2, 2]),), a * V[:3], accumulate=True
    ),
    "mask_assign": lambda a: _masked(a),
    "masked_fill": lambda a: (
        (a * X).masked_fill(X > 0, -1.0) + torch.where(a < X, X, 0.0) + torch.where(a < X, 1.0, 2.0)
    ),
    "where": lambda a: torch.where(a < X, X, a * X),
    "assign": _assign,
    "aliases": _aliases,
    "constant_becomes_live": _constant_becomes_live,
    "out_argument": _out_argument,
    "in_place_chain": lambda a: (a * X).mul_(2).add_(1).clamp_(-1, 1).neg_().exp_(),
    "fill_zero": lambda a: (a * X).fill_(2.0) + (a * X).zero_() + torch.full_like(X * a, 3.0) + (a * X).copy_(X[0]),
    "roll": lambda a: (a * X).roll((1, -2), (0, 2)) + (a * X).roll(7),
    "pad": lambda a: F.pad(a * X, (1, 2, 0, 1), value=3.0)[:, :5, :6] + F.pad(a * X, (-1, 1)),
    "pad_modes": lambda a: F.pad(a * X, (2, 1), mode="circular").sum() + F.pad(a * X, (2, 1), mode="reflect").sum(),
    "cat_stack": lambda a: (
        torch.cat([a * X, X], 1)[:, ::2] + torch.stack([a * V, V]).sum() + torch.hstack([V, V * a]).sum()
    ),
    "split": lambda a: sum(p.sum() * i for i, p in enumerate((a * X).split(2, 1))) + (a * X).chunk(3, 2)[1].sum(),
    "repeat": lambda a: (a * V).repeat(2, 3) + (a * V[:3]).repeat_interleave(6) + torch.tile(a * V[:2], (9,)),
    "diagonals": lambda a: torch.diag(a * V) + torch.diag_embed(a * V) + torch.diagonal(a * S)[0] + torch.trace(a * S),
    "triangles": lambda a: torch.tril(a * S) + torch.triu(a * S, 1),
    "reshape_copy": lambda a: (
        (a * X).transpose(0, 2).reshape(6, 20) + (a * X).permute(2, 0, 1).contiguous().view(6, 20)
    ),
    "unfold": lambda a: (a * V).unfold(0, 3, 1).mean(-1),
    "meshgrid": lambda a: (
        torch.cartesian_prod(a * V, V).sum(1) + torch.meshgrid(a * V, V, indexing="ij")[0].reshape(-1)
    ),
    "one_hot": lambda a: (INDEX[:, None] == torch.arange(4)).double() * a,
    "linspace": lambda a: torch.linspace(0, 1, 7, dtype=D) * a + torch.arange(7, dtype=D) ** a,
    # orders
    "sort": lambda a: (a * X).sort(-1).values + (a * X).sort(1, descending=True).indices,
    "argsort": lambda a: torch.argsort((a * X * 2).round(), dim=2, stable=True).double(),
    "topk": lambda a: (a * X).topk(2).values.sum() + (a * X).topk(3, dim=1, largest=False).indices.double(),
    "searchsorted": lambda a: (
        torch.searchsorted(V.sort().values, a * X[0, 0]).double() + torch.bucketize(a * V, V.sort()[0])
    ),
    "searchsorted_rows": lambda a: (
        torch.searchsorted(torch.softmax(a * X, 2).cumsum(2), uniform(3, 4, 5, 2)).double()
        + torch.searchsorted(V.sort().values, torch.tensor([-0.5, 0.5], dtype=D) * a, right=True)
    ),
    "roll_by_steps": lambda a: sum(
        (k + 9) * (a * BOARD).roll(k, d) for d in (0, 1, 2, -2) for k in (1, -1, 2, -3, 0, 15, 33)
    ),
    "roll_turned": lambda a: (a * BOARD).transpose(0, 2).roll(1, 0) + (a > BOARD).roll(-1, 2).transpose(0, 2),
    "histc": lambda a: torch.histc(a * X, 7, -2, 2),
    "bincount": lambda a: (
        torch.bincount((a * X[0, 0].abs()).long(), minlength=9).double()
        + torch.bincount((a * V.abs()).long(), weights=V, minlength=9)
    ),
    # convolutions
    "conv1d": lambda a: F.conv1d(a * X, X[:3, :, :2].contiguous(), W[0, :3], stride=2, padding=1, dilation=2),
    "conv1d_groups": lambda a: F.conv1d(a * X[:, :4], X[:2, :2, :3].contiguous(), groups=2),
    "conv2d": lambda a: F.conv2d(a * X[:, None], X[:2, None, :2, :3].contiguous(), padding=1),
    "conv_transpose1d": lambda a: F.conv_transpose1d(
        a * X, X[0, :, :6].reshape(5, 2, 3), stride=2, padding=1, output_padding=1
    ),
    "conv1d_gradient": lambda a: _grad(
        lambda x, w, b: F.conv1d(a * x, w, b, stride=2, padding=1) ** 2, X, X[:3, :, :2].contiguous(), W[0, :3]
    ),
    "conv2d_gradient": lambda a: _grad(
        lambda x, w: torch.sin(F.conv2d(a * x, w, groups=2)), X[:, :4, None], X[:2, :2, None, :2]
    ),
    "pool": lambda a: (a * X).unfold(2, 2, 2).amax(-1) + (a * X).unfold(2, 2, 2).mean(-1),
    # linear algebra
    "solve": lambda a: torch.linalg.solve(S + a * EYE, S[:, 0]),
    "solve_many": lambda a: (
        torch.linalg.solve(torch.stack([SPD, SPD + a * EYE]), S) + torch.linalg.solve(a * SPD, S, left=False)
    ),
    "inv_det": lambda a: torch.linalg.inv(S + a * EYE) * torch.linalg.det(S * a) + torch.linalg.slogdet(SPD + a)[1],
    "cholesky": lambda a: torch.linalg.cholesky(SPD + a * EYE) + torch.linalg.cholesky(SPD * a, upper=True),
    "triangular_solve": lambda a: torch.linalg.solve_triangular((SPD + a * EYE).triu(), S, upper=True),
    "lu": lambda a: torch.linalg.lu_solve(*torch.linalg.lu_factor(S + a * EYE), S),
    "eigvalsh": lambda a: torch.linalg.eigvalsh(S + S.T + a * EYE),
    "eigh": lambda a: (lambda e: e[1] @ torch.diag(e[0].exp()) @ e[1].T)(torch.linalg.eigh(0.3 * a * (S + S.T))),
    "eigvals": lambda a: _sorted_eigenvalues(S + a * SPD / 10),
    "eigvals_radius": lambda a: torch.linalg.eigvals(torch.stack([S, a * S + EYE])).abs().amax(-1),
    "matrix_power": lambda a: torch.linalg.matrix_power(0.3 * a * S, 7) + torch.linalg.matrix_power(S + a * EYE, -2),
    "matrix_exp": lambda a: (
        torch.linalg.matrix_exp(a * S) + torch.linalg.matrix_exp(torch.stack([S, a * SPD / 5])).sum(0)
    ),
    # complex arithmetic, as pairs
    "complex_maths": lambda a: _real(
        sum(f(_z(a)) for f in (torch.exp, torch.log, torch.sqrt, torch.sin, torch.cos, torch.tanh))
    ),
    "complex_hyperbolic": lambda a: _real(
        torch.sinh(_z(a)) + torch.cosh(_z(a)) + torch.sigmoid(_z(a)) + torch.sgn(_z(a))
    ),
    "complex_arithmetic": lambda a: _real(
        (_z(a) * _z(2 * a) - 3j) / (_z(a) + 2) + 1 / _z(a) - 2 * _z(a).conj() + a - _z(a) ** 3
    ),
    "complex_power": lambda a: _real(_z(a) ** 2.5 + (2 + 1j) ** _z(a) + _z(a) ** (0.5 + 1j)),
    "complex_parts": lambda a: _z(a).abs() + _z(a).angle() + _z(a).real - _z(a).imag + _z(a).conj().imag,
    "complex_sums": lambda a: _real(
        _z(a).sum(0) + _z(a).mean(0) + _z(a).cumsum(0)[-1] + _z(a).cumprod(1)[0] + _z(a).prod(0)
    ),
    "complex_matmul": lambda a: _real(_z(a) @ _z(2 * a).T + _z(a) @ S[:5].to(torch.complex128).T),
    "complex_index": lambda a: _real(
        _z(a)[:, INDEX] + torch.cat([_z(a), _z(a)], 0)[2:7].flip(0)[:, :3] + _z(a).roll(1, 0)[:, :3]
    ),
    "complex_assign": lambda a: _complex_assign(a),
    "complex_where": lambda a: _real(torch.where(a < S, _z(a), 0.0) + (_z(a) == _z(a)).double()),
    "complex_solve": lambda a: _real(torch.linalg.solve(_z(a), S.to(torch.complex128)) + torch.linalg.inv(_z(a))),
    "complex_matrix_exp": lambda a: _real(torch.linalg.matrix_exp(0.5 * _z(a))),
    "polar": lambda a: _real(torch.polar(a + S.abs(), a * S)),
    "complex_ssm": lambda a: _complex_recurrence(a),
    "fft": lambda a: _real(torch.fft.fft(a * X)) + _real(torch.fft.ifft(torch.fft.fft(a * X), norm="ortho")),
    "rfft": lambda a: _real(torch.fft.rfft(a * X)).sum(1) + _real(torch.fft.rfft(a * X, norm="ortho", dim=1)).sum(),
    "irfft": lambda a: torch.fft.irfft(torch.fft.rfft(a * X) * 2, n=6) + torch.fft.irfft(_z(a), n=7).sum(),
    "fft2": lambda a: (
        _real(torch.fft.fft2(a * X)) + _real(torch.fft.ifft2(a * X)) + _real(torch.fft.fftshift(torch.fft.fft(a * X)))
    ),
    # gradients through all of it
    "grad_tanh": lambda a: _grad(lambda v: torch.tanh(a * v @ W), X)[0],
    "grad_slider": lambda a: _grad(lambda v: torch.sin(v * 3) * v, a)[0],
    "grad_reductions": lambda a: _grad(
        lambda v: (v * a).prod(1).sum() + v.std(0).sum() * a + v.amax(1).sum() + v.norm() * a, S
    )[0],
    "grad_scans": lambda a: _grad(lambda v: (v * a).cumsum(0) * v.cumprod(1) + torch.logcumsumexp(v * a, 0), S)[0],
    "grad_softmax": lambda a: _grad(lambda v: torch.softmax(a * v, 1) * v + torch.log_softmax(v * a, 0), S)[0],
    "grad_index": lambda a: _grad(lambda v: v[INDEX] ** 2 * a + v.gather(1, INDEX[:, None].expand(3, 5) % 5)[:, :5], S)[
        0
    ],
    "grad_scatter": lambda a: _grad(
        lambda v: torch.zeros_like(S).scatter_add(0, INDEX[:, None].expand(3, 5), v[:3] * a) ** 2, S
    )[0],
    "grad_index_put": lambda a: _grad(lambda v: S.index_put((INDEX,), v[:3] * a) ** 2, S)[0],
    "grad_sort": lambda a: _grad(lambda v: (v * a).sort(1).values * torch.arange(5) + v.topk(2, 1).values.sum() * a, S)[
        0
    ],
    "grad_where": lambda a: _grad(
        lambda v: torch.where(v > 0, v * a, v**2).clamp(max=1.5) + v.roll(1, 0) * v.flip(1) * a, S
    )[0],
    "grad_pad_cat": lambda a: _grad(
        lambda v: torch.cat([F.pad(v, (1, 1)), torch.stack([v[0].repeat(2)[:7]])]) ** 2 * a, S
    )[0],
    "grad_matmul": lambda a: _grad(lambda v, w: torch.einsum("ij,jk,ik->k", a * v, w, v @ w), S, S.T.clone()),
    "grad_solve": lambda a: _grad(lambda v: torch.linalg.solve(v + (3 + a) * EYE, S[:, :2]) ** 2, S)[0],
    "grad_inverse": lambda a: _grad(lambda v: torch.linalg.inv(v + (4 + a) * EYE), S)[0],
    "grad_det": lambda a: _grad(lambda v: torch.linalg.det(v * a) + torch.linalg.slogdet(v @ v.T + a * EYE)[1], S)[0],
    "grad_cholesky": lambda a: _grad(lambda v: torch.linalg.cholesky(v @ v.T + a * EYE), S)[0],
    "grad_eigvalsh": lambda a: _grad(lambda v: torch.linalg.eigvalsh(v + v.T + a * torch.diag(V[:5])) ** 2, S)[0],
    "grad_eigh": lambda a: _grad(lambda v: torch.linalg.eigh((v + v.T) * a)[1] ** 2 @ torch.arange(5.0, dtype=D), S)[0],
    "grad_eigvals": lambda a: _grad(lambda v: torch.linalg.eigvals(v * a).abs() ** 2, S)[0],
    "grad_matrix_power": lambda a: _grad(lambda v: torch.linalg.matrix_power(v * a, 4), 0.3 * S)[0],
    "grad_matrix_exp": lambda a: _grad(lambda v: torch.linalg.matrix_exp(v * a) * S, S)[0],
    "grad_complex": lambda a: _grad(
        lambda v: (torch.exp(1j * a * v) / (2 + 1j * v)).abs() + torch.polar(v, v * a).real, S
    )[0],
    "grad_complex_solve": lambda a: _grad(lambda v: torch.linalg.solve(v + 1j * a * v.T + 4 * EYE, _z(a)).abs(), S)[0],
    "grad_fft": lambda a: _grad(
        lambda v: torch.fft.rfft(v * a).abs() ** 2 + torch.fft.irfft(torch.fft.rfft(v) * a, n=5)[:, :3], S
    )[0],
    "grad_layer_norm": lambda a: _grad(lambda v: F.layer_norm(v * a, (5,)) ** 3, S)[0],
    "grad_special": lambda a: _grad(
        lambda v: torch.lgamma(v.abs() + a) + torch.digamma(v.abs() + a) + torch.erf(v * a), S
    )[0],
    "grad_losses": lambda a: _grad(
        lambda v: F.cross_entropy(v * a, INDEX.repeat(2)[:5]) + F.huber_loss(v, a * S.T) + F.mse_loss(v, S.T * a), S
    )[0],
    "func_hessian": lambda a: torch.func.hessian(lambda v: torch.log(1 + (a * v**2).sum()))(V),
    "func_jacobian": lambda a: (
        torch.func.jacrev(lambda v: torch.tanh(a * v))(V) + torch.func.jacfwd(lambda v: v**2 * a)(V)
    ),
    "func_vmap": lambda a: torch.func.vmap(lambda row: (row * a).sum() ** 2)(X[0]),
    # learning
    "network": _network,
    "adam": _adam,
    "lstm": lambda a: _without_grad(LSTM, a * X),
    "transformer": lambda a: _without_grad(TRANSFORMER, a * X),
    "attention": lambda a: F.scaled_dot_product_attention(a * X, X, X),
    "normal_log_prob": lambda a: torch.distributions.Normal(a, torch.ones((), dtype=D), validate_args=False).log_prob(
        V
    ),
    "categorical_entropy": lambda a: torch.distributions.Categorical(logits=a * V, validate_args=False).entropy(),
    "q_learning": _q_learning,
    # random numbers
    "uniform": lambda a: uniform(a * 10, 4, 5) + a,
    "normal": lambda a: normal((a * 100).round(), 30),
    "discrete": lambda a: integers((a * 10).round(), 6, 40).double() + permutation((a * 10).round(), 40),
}


def _masked(a):
    x = (a * X).clone()
    x[X > 0] = 2.0
    x[x < -1] = a  # a mask that depends on the slider, one value: torch.where
    return x


def _z(a):
    return torch.complex(a * S + 0.3, S.T - a)


def _real(z):
    return torch.view_as_real(z.resolve_conj()).clone()


def _complex_assign(a):
    z = torch.zeros(5, 5, dtype=torch.complex128)
    z[1] = _z(a)[0]
    z[:, 2] = 1j
    z.real[3] = a
    z[4] += 2 - 1j
    return _real(z)


def _complex_recurrence(a):
    """A diagonal state-space model: one complex state per channel."""
    decay = torch.exp(torch.complex(-0.1 * a * torch.ones(3, dtype=D), a * torch.arange(1.0, 4.0, dtype=D)))
    state, out = torch.zeros(3, dtype=torch.complex128), []
    for t in range(12):
        state = decay * state + X[0, 0, t % 6]
        out.append(state.sum().real)
    return torch.stack(out)


@pytest.mark.parametrize("name", CASES)
def test_program_equals_torch(page, name):
    wider = {
        "float32": {"rtol": 1e-6, "atol": 1e-6},  # one rounding to single precision more or less
        "grad_special": {"rtol": 1e-8},  # torch's own trigamma is good to 1e-9
    }
    agree(page, CASES[name], {"a": 1.3}, [{"a": 0.7}, {"a": 2.1}], **wider.get(name, {}))


# -- folding -------------------------------------------------------------------------------------------------------
def _lorenz(rho):
    x = torch.ones(3, dtype=D)
    path = [x]
    for _ in range(10_000):
        slope = torch.stack([10 * (x[1] - x[0]), x[0] * (rho - x[2]) - x[1], x[0] * x[1] - 8 / 3 * x[2]])
        x = x + 0.001 * slope
        path.append(x)
    return torch.stack(path)


def test_ten_thousand_steps_are_stored_as_their_body(page):
    program = agree(page, _lorenz, {"rho": 28.0}, [{"rho": 14.0}], rtol=1e-6)
    assert len(json.dumps(program, separators=(",", ":"))) < 8_000


def test_ten_thousand_steps_written_in_place(page):
    def decay(rate):
        state = torch.zeros(10_001, 3, dtype=D)
        state[0] = torch.tensor([1.0, 2.0, 3.0])
        for t in range(10_000):
            state[t + 1] = state[t] + 0.001 * rate * (state[t].roll(1) - state[t])
        return state

    program = agree(page, decay, {"rate": 1.0}, [{"rate": 3.0}])
    assert len(json.dumps(program, separators=(",", ":"))) < 8_000


def test_nested_loops_fold_into_nested_loops(page):
    def nested(a):
        w = torch.zeros(4, dtype=D) + a
        for _ in range(60):
            x = w
            for _ in range(25):
                x = torch.tanh(x * a + 0.1)
            w = w + 0.01 * x
        return w

    program = agree(page, nested, {"a": 1.3}, [{"a": 0.4}])
    assert len(program["steps"]) < 40
    assert len(json.dumps(program, separators=(",", ":"))) < 4_000


def test_training_is_stored_as_one_step_of_it(page):
    program = agree(page, _network, {"a": 1.0}, [{"a": 0.5}])
    assert len(json.dumps(program, separators=(",", ":"))) < 30_000


def _unrolled(items):
    """The steps of a folded sequence, by the rule of :class:`lib.live.fold.Loop`."""
    for item in items:
        if isinstance(item, Step):
            yield item
            continue
        for turn in range(item.count):
            by = [turn * s for s in item.shifts]
            yield from _unrolled(_moved(item.body, by))


def _moved(items, by):
    at, out = 0, []
    for item in items:
        mine = by[at : at + len(item.offsets)]
        at += len(item.offsets)
        if isinstance(item, Step):
            out.append(Step(item.signature, tuple(o + b for o, b in zip(item.offsets, mine, strict=True))))
        else:
            out.append(Loop(item.count, tuple(_moved(item.body, mine)), item.shifts))
    return out


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=5),
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=4),
    st.integers(1, 12),
    st.integers(1, 9),
    st.integers(0, 3),
    st.integers(0, 3),
)
def test_folding_keeps_the_sequence(body, rest, inner, outer, inner_shift, outer_shift):
    """Nested loops, regular and not: unrolling the folded sequence gives back every step, in order."""
    steps = []
    for i in range(outer):
        for j in range(inner):
            steps += [Step(s, (o + inner_shift * j * (1 + (s == 3) * i) + outer_shift * i, j % 2)) for s, o in body]
        steps += [Step(s, (o * i, 5 - o)) for s, o in rest]
    folded = fold(steps)
    assert list(_unrolled(folded)) == steps


def test_the_same_recording_gives_the_same_program():
    programs = []
    for _ in range(2):
        recorder, inputs, out = record(_network, {"a": 1.0})
        programs.append(json.dumps(pack(recorder, inputs, [out])))
    assert programs[0] == programs[1]


def test_a_task_can_be_abandoned_and_begun_again(page):
    """Slices of a long program: progress grows to 1, and a new setting does not see what an old one left behind."""
    recorder, inputs, out = record(_lorenz, {"rho": 28.0})
    program = json.loads(json.dumps(pack(recorder, inputs, [out])))
    values, progress = page.evaluate(
        """(program) => { const p = live.load(program), seen = [];
        const lost = p.begin({ rho: 5 }); lost.advance(0); lost.advance(0);
        const task = p.begin({ rho: 14 });
        do seen.push(task.progress); while (!task.advance(0));
        seen.push(task.progress);
        return [Array.from(task.outputs[0].data), seen]; }""",
        program,
    )
    want = replay(program, {"rho": 14.0})[0].numpy().reshape(-1)
    np.testing.assert_allclose(values, want, rtol=1e-9)
    assert progress == sorted(progress) and progress[-1] == 1 and len(progress) > 3


def _with_gradient(a):
    w = torch.ones(3, dtype=D, requires_grad=True)
    w.grad = a * torch.ones(3, dtype=D)
    return [w]


# -- what cannot be replayed is refused, with the reason -----------------------------------------------------------
REFUSED = {
    "branch": (lambda a: X * (2 if bool((a * V).sum() > 0) else 1), "torch.where"),
    "item": (lambda a: torch.ones(3) * torch.tensor((a * V).sum().item()), "Choice"),
    "dynamic mask": (lambda a: X[a < X], "torch.where"),
    "unique": (lambda a: torch.unique((a * X).round()), "Choice"),
    "global randomness": (lambda a: a * torch.rand(3), "lib.live.uniform"),
    "dropout": (lambda a: F.dropout(a * X, 0.5), "lib.live.uniform"),
    "svd": (lambda a: torch.linalg.svdvals(a * S), "lib/live/operations.py"),
    "svd's stand-in": (lambda a: torch.linalg.svdvals(a * S), "torch.linalg.eigh of a.mT @ a"),
    "half precision": (lambda a: (a * X).bfloat16(), "use float32"),
    "open bins": (lambda a: torch.histc(a * X, 7), "min and max"),
    "open counts": (lambda a: torch.bincount((a * V.abs()).long()), "minlength"),
    "many at once": (lambda a: torch.nn.utils.clip_grad_norm_(_with_gradient(a), 1.0), "foreach=False"),
    "integer bits": (lambda a: (a * 5).long() & 3, "lib/live/operations.py"),
    "reinterpreted memory": (lambda a: (a * X).view(torch.int64), "memory"),
    "polygamma": (lambda a: torch.polygamma(3, a * X.abs()), "polygamma"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_names_line_and_way_out(name):
    function, way_out = REFUSED[name]
    with pytest.raises(NotLive) as refused:
        record(function, {"a": 1.3})
    assert way_out in str(refused.value)
    assert "test_programs.py:" in str(refused.value)
