"""Complex arithmetic, recorded as pairs of real operations.

A complex tensor's memory is its real view: real and imaginary part of each number side by side. Every rule works on
the two parts under the recorder and joins the results; ``torch.complex`` is the only operation that writes pairs.
"""

from __future__ import annotations

import math

import torch

from .rules import resolved, rule

__all__ = ["RULES"]

RULES: dict = {}  # ATen name -> rule(recorder, *args, **kwargs), for calls with a complex tensor among the arguments


@rule("complex", either=True)
def _complex(r, func, re, im):
    out = func(re, im)
    pairs = torch.view_as_real(out)
    r.pointwise("copy", pairs[..., 0], re)
    r.pointwise("copy", pairs[..., 1], im)
    return out


@rule("polar", either=True)
def _polar(r, func, radius, angle):
    with r:
        return torch.complex(radius * torch.cos(angle), radius * torch.sin(angle))


def _parts(r, x):
    """Real and imaginary part; numbers and real tensors have an imaginary part of 0."""
    if isinstance(x, torch.Tensor):
        if not x.is_complex():
            return x, 0.0
        pair = torch.view_as_real(resolved(r, x))
        return pair[..., 0], pair[..., 1]
    number = complex(x)
    return number.real, number.imag


def _pairs(*names: str):
    """Register ``rule(*(re, im) pairs) -> (re, im)``, or a real result; its torch code is recorded."""

    def register(function):
        def apply(r, *args, **kwargs):
            operands = [_parts(r, a) for a in args]
            with r:
                out = function(*operands, **kwargs)
                if not isinstance(out, tuple):
                    return out
                re, im = (v if isinstance(v, torch.Tensor) else torch.as_tensor(v) for v in out)
                re, im = torch.broadcast_tensors(re, im)
                dtype = torch.promote_types(re.dtype, im.dtype)
                return torch.complex(re.to(dtype), im.to(dtype))

        RULES.update(dict.fromkeys(names, apply))
        return function

    return register


def _times(a, b):
    (ar, ai), (br, bi) = a, b
    if isinstance(bi, float) and bi == 0:
        return ar * br, ai * br
    if isinstance(ai, float) and ai == 0:
        return ar * br, ar * bi
    return ar * br - ai * bi, ar * bi + ai * br


def _over(a, b):
    (ar, ai), (br, bi) = a, b
    if isinstance(bi, float) and bi == 0:
        return ar / br, ai / br
    size = br * br + bi * bi
    return (ar * br + ai * bi) / size, (ai * br - ar * bi) / size


def _log(a):
    return torch.log(torch.hypot(*a)), torch.atan2(a[1], a[0])


def _exp(a):
    size = torch.exp(a[0])
    return size * torch.cos(a[1]), size * torch.sin(a[1])


def _sqrt(a):
    size = torch.hypot(*a)
    half = torch.sqrt((size + a[0].abs()) / 2)
    other = a[1].abs() / (2 * torch.where(half == 0, torch.ones_like(half), half))
    right = a[0] >= 0
    im = torch.where(right, other, half)
    return torch.where(right, half, other), torch.where(torch.signbit(a[1]), -im, im)


def _with_alpha(sign: int):
    def rule_(r, a, b, alpha=1):
        (ar, ai), (br, bi) = _parts(r, a), _parts(r, b)
        with r:
            br, bi = _times((br, bi), (float(alpha) * sign, 0.0)) if alpha * sign != 1 else (br, bi)
            re, im = (torch.as_tensor(v) for v in (ar + br, ai + bi))
            return torch.complex(*torch.broadcast_tensors(re, im))

    return rule_


RULES["add"], RULES["sub"] = _with_alpha(1), _with_alpha(-1)
RULES["rsub"] = lambda r, a, b, alpha=1: RULES["sub"](r, b, a, alpha)
_pairs("mul")(lambda a, b: _times(a, b))
_pairs("div", "true_divide")(lambda a, b: _over(a, b))
_pairs("neg")(lambda a: (-a[0], -a[1]))
_pairs("reciprocal")(lambda a: _over((1.0, 0.0), a))
_pairs("abs")(lambda a: torch.hypot(*a))
_pairs("angle")(lambda a: torch.atan2(a[1], a[0]))
_pairs("exp")(lambda a: _exp(a))
_pairs("log")(lambda a: _log(a))
_pairs("sqrt")(lambda a: _sqrt(a))
_pairs("sin")(lambda a: (torch.sin(a[0]) * torch.cosh(a[1]), torch.cos(a[0]) * torch.sinh(a[1])))
_pairs("cos")(lambda a: (torch.cos(a[0]) * torch.cosh(a[1]), -torch.sin(a[0]) * torch.sinh(a[1])))
_pairs("sinh")(lambda a: (torch.sinh(a[0]) * torch.cos(a[1]), torch.cosh(a[0]) * torch.sin(a[1])))
_pairs("cosh")(lambda a: (torch.cosh(a[0]) * torch.cos(a[1]), torch.sinh(a[0]) * torch.sin(a[1])))
_pairs("eq")(lambda a, b: (a[0] == b[0]) & (a[1] == b[1]))
_pairs("ne")(lambda a, b: (a[0] != b[0]) | (a[1] != b[1]))


@_pairs("tanh")
def _tanh(a):
    size = torch.cosh(2 * a[0]) + torch.cos(2 * a[1])
    return torch.sinh(2 * a[0]) / size, torch.sin(2 * a[1]) / size


@_pairs("sgn")
def _sgn(a):
    size = torch.hypot(*a)
    safe = torch.where(size == 0, torch.ones_like(size), size)
    return a[0] / safe, a[1] / safe


@_pairs("sigmoid")
def _sigmoid(a):
    re, im = _exp((-a[0], -a[1]))
    return _over((1.0, 0.0), (1 + re, im))


@_pairs("pow")
def _pow(a, b):
    if isinstance(b[0], float) and b[1] == 0 and b[0] == int(b[0]) and 0 <= b[0] <= 16:  # exact, as torch's loop
        out = (torch.ones_like(a[0]), torch.zeros_like(a[0]))
        for _ in range(int(b[0])):
            out = _times(out, a)
        return out
    return _exp(_times(_log(tuple(torch.as_tensor(v, dtype=torch.float64) for v in a)), b))


def _each_part(*names: str):
    """Operations that act on real and imaginary part alike."""

    def make(name: str):
        def apply(r, x, *args, **kwargs):
            re, im = _parts(r, x)
            operation = getattr(torch, name)
            with r:
                return torch.complex(operation(re, *args, **kwargs), operation(im, *args, **kwargs))

        return apply

    RULES.update({name: make(name) for name in names})


_each_part("sum", "mean", "cumsum")


def _where(r, condition, a, b):
    (ar, ai), (br, bi) = _parts(r, a), _parts(r, b)
    with r:
        return torch.complex(torch.where(condition, ar, br), torch.where(condition, ai, bi))


def _product(name: str):
    def apply(r, a, b):
        (ar, ai), (br, bi) = _parts(r, a), _parts(r, b)
        multiply = getattr(torch, name)
        with r:
            if isinstance(ai, float):
                return torch.complex(multiply(ar, br), multiply(ar, bi))
            if isinstance(bi, float):
                return torch.complex(multiply(ar, br), multiply(ai, br))
            return torch.complex(multiply(ar, br) - multiply(ai, bi), multiply(ar, bi) + multiply(ai, br))

    return apply


RULES["where"] = _where
RULES.update({name: _product(name) for name in ("mm", "bmm", "mv", "dot")})


def _vdot(r, a, b):
    with r:
        return torch.dot(torch.conj_physical(a), b)


def _addmm(r, c, a, b, *, beta=1, alpha=1):
    with r:
        return (a @ b) * alpha + c * beta


def _cumulative(r, x, dim, dtype=None):
    with r:  # complex products in order; the length is fixed, so the loop is folded when the program is packed
        pieces = x.unbind(dim)
        out = [pieces[0]]
        for piece in pieces[1:]:
            out.append(out[-1] * piece)
        return torch.stack(out, dim)


def _prod(r, x, dim=None, keepdim=False, dtype=None):
    with r:
        if dim is None:
            return torch.cumprod(x.reshape(-1), 0)[-1]
        out = torch.cumprod(x, dim).select(dim, -1)
        return out.unsqueeze(dim) if keepdim else out


def _solve(r, a, b, left=True, check_errors=False):
    """Complex equations as real ones of twice the size."""
    from .matrix_rules import block_form, is_vector

    vector = is_vector(a, b)
    with r:
        a = a if a.is_complex() else torch.complex(a, torch.zeros_like(a))
        b = b if b.is_complex() else torch.complex(b, torch.zeros_like(b))
        b = b.unsqueeze(-1) if vector else b
        if not left:
            a, b = a.mT, b.mT
        n = a.shape[-1]
        both = torch.linalg.solve_ex(block_form(a), torch.cat([b.real, b.imag], -2))[0]
        x = torch.complex(both[..., :n, :].clone(), both[..., n:, :].clone())
        x = x if left else x.mT.clone()
        x = x.squeeze(-1) if vector else x
        matrix = (a if left else a.mT).clone()  # as it is now: the gradient must not see later writes into it
    lu, pivots, info = torch.linalg.lu_factor_ex(matrix.detach().resolve_conj())
    r.remember(lu, matrix)
    return x, lu, pivots, info


def _solve_again(r, lu, pivots, b, left=True, adjoint=False):
    """Equations with a matrix that was factored before (the gradient of a solution): solved from the matrix itself."""
    matrix = r.recall(lu)
    with r:
        if matrix is None:  # a constant
            permutation, lower, upper = torch.lu_unpack(lu, pivots)
            matrix = permutation.to(lu.dtype) @ lower @ upper
        return torch.linalg.solve_ex(matrix.mH.clone() if adjoint else matrix, b, left=left)[0]


def _inverse(r, a, check_errors=False):
    with r:
        eye = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device).expand(a.shape)
        return torch.linalg.solve_ex(a, eye)[0], torch.zeros(a.shape[:-2], dtype=torch.int32)


def _isnan(r, a):
    re, im = _parts(r, a)
    with r:
        return torch.isnan(re) | torch.isnan(im)


RULES |= {
    "vdot": _vdot,
    "addmm": _addmm,
    "cumprod": _cumulative,
    "prod": _prod,
    "_linalg_solve_ex": _solve,
    "linalg_lu_solve": _solve_again,
    "linalg_inv_ex": _inverse,
    "isnan": _isnan,
    "expm1": lambda r, a: RULES["sub"](r, RULES["exp"](r, a), 1.0),
    "log10": lambda r, a: RULES["div"](r, RULES["log"](r, a), math.log(10.0)),
    "log2": lambda r, a: RULES["div"](r, RULES["log"](r, a), math.log(2.0)),
    "log1p": lambda r, a: RULES["log"](r, RULES["add"](r, a, 1.0)),
}
