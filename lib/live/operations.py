"""The operations a page can run: one table that drives the tracer, the runtime and the tests.

A *pointwise* row is a JavaScript expression in the already broadcast operands ``a``, ``b``, ``c`` together with the
torch function it must equal. The tracer accepts an ATen operation because its name is here, the build writes the
runtime's loops from the expressions, the proof at build time replays a recording with the torch functions, and the
test suite compares expression and function in Chromium on ordinary and awkward numbers.

The rows of :data:`KERNELS` need loops of their own; their JavaScript is in ``runtime/kernels.js`` under the same name.
Booleans are the numbers 0 and 1 on the page, integers are doubles (exact below 2**53).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch

__all__ = ["KERNELS", "POINTWISE", "REDUCE", "SCAN", "Pointwise", "Reduce", "Scan"]


@dataclass(frozen=True)
class Pointwise:
    """One elementwise operation: the page's expression and torch's function.

    ``hot`` rows get a loop of their own in the runtime; the others share a loop that calls the expression.
    """

    javascript: str
    torch: Callable
    hot: bool = False

    @property
    def operands(self) -> list[str]:
        """Names of the operands that the expression reads, in order."""
        return [name for name in "abc" if re.search(rf"\b{name}\b", self.javascript)]


@dataclass(frozen=True)
class Reduce:
    """A reduction: start value, update of ``s`` by ``x``, and the result for ``n`` elements."""

    start: str
    update: str
    finish: str = "s"


@dataclass(frozen=True)
class Scan:
    """A running reduction along one dimension."""

    start: str
    update: str


def _truth(function: Callable) -> Callable:
    """Let a logical function take the page's 0/1 numbers."""
    return lambda *operands: function(*(x != 0 for x in operands))


def _rows(hot: bool, rows: dict[str, str], **functions: Callable) -> dict[str, Pointwise]:
    return {
        name: Pointwise(expression, functions.get(name) or getattr(torch, name), hot)
        for name, expression in rows.items()
    }


_HOT = _rows(
    True,
    {
        "copy": "a",
        "neg": "-a",
        "abs": "Math.abs(a)",
        "exp": "Math.exp(a)",
        "log": "Math.log(a)",
        "sqrt": "Math.sqrt(a)",
        "reciprocal": "1/a",
        "sin": "Math.sin(a)",
        "cos": "Math.cos(a)",
        "tanh": "Math.tanh(a)",
        "sigmoid": "1/(1+Math.exp(-a))",
        "relu": "a<0?0:a",
        "add": "a+b",
        "sub": "a-b",
        "mul": "a*b",
        "div": "a/b",
        "maximum": "a!==a||b!==b?NaN:a>b?a:b",
        "minimum": "a!==a||b!==b?NaN:a<b?a:b",
        "eq": "+(a===b)",
        "ne": "+(a!==b)",
        "lt": "+(a<b)",
        "le": "+(a<=b)",
        "gt": "+(a>b)",
        "ge": "+(a>=b)",
        "where": "a?b:c",
    },
    copy=lambda a: a,
    where=lambda a, b, c: torch.where(a != 0, b, c),
)

_COLD = _rows(
    False,
    {
        # signs and rounding
        "sign": "a>0?1:a<0?-1:0",
        "floor": "Math.floor(a)",
        "ceil": "Math.ceil(a)",
        "trunc": "Math.trunc(a)",
        "round": "rint(a)",
        "frac": "a-Math.trunc(a)",
        "copysign": "negative(a)===negative(b)?a:-a",
        "signbit": "+negative(a)",
        # exponentials and powers
        "expm1": "Math.expm1(a)",
        "exp2": "2**a",
        "log1p": "Math.log1p(a)",
        "log2": "Math.log2(a)",
        "log10": "Math.log10(a)",
        "rsqrt": "1/Math.sqrt(a)",
        "pow": "power(a,b)",
        "hypot": "Math.hypot(a,b)",
        "xlogy": "b!==b?b:a===0?0:a*Math.log(b)",
        "logaddexp": "logaddexp(a,b)",
        # trigonometric and hyperbolic
        "tan": "Math.tan(a)",
        "asin": "Math.asin(a)",
        "acos": "Math.acos(a)",
        "atan": "Math.atan(a)",
        "atan2": "Math.atan2(a,b)",
        "sinh": "Math.sinh(a)",
        "cosh": "Math.cosh(a)",
        "asinh": "Math.asinh(a)",
        "acosh": "Math.acosh(a)",
        "atanh": "Math.atanh(a)",
        "sinc": "a===0?1:Math.sin(Math.PI*a)/(Math.PI*a)",
        # special functions
        "erf": "erf(a)",
        "erfc": "erfc(a)",
        "erfinv": "erfinv(a)",
        "lgamma": "lgamma(a)",
        "digamma": "digamma(a)",
        "trigamma": "trigamma(a)",
        # division with a remainder, with torch's and Python's signs
        "div_floor": "floordiv(a,b)",
        "div_trunc": "Math.trunc(a/b)",
        "remainder": "modulo(a,b)",
        "fmod": "a%b",
        # choices between two numbers
        "fmax": "a!==a?b:b!==b?a:a>b?a:b",
        "fmin": "a!==a?b:b!==b?a:a<b?a:b",
        "heaviside": "a===0?b:+(a>0)",
        # predicates and logic
        "isnan": "+(a!==a)",
        "isinf": "+(a===1/0||a===-1/0)",
        "logical_not": "+(a===0)",
        "logical_and": "+(a!==0&&b!==0)",
        "logical_or": "+(a!==0||b!==0)",
        "logical_xor": "+((a!==0)!==(b!==0))",
    },
    trigamma=lambda a: torch.special.polygamma(1, a),
    div_floor=lambda a, b: torch.div(a, b, rounding_mode="floor"),
    div_trunc=lambda a, b: torch.div(a, b, rounding_mode="trunc"),
    logical_not=_truth(torch.logical_not),
    logical_and=_truth(torch.logical_and),
    logical_or=_truth(torch.logical_or),
    logical_xor=_truth(torch.logical_xor),
)

POINTWISE: dict[str, Pointwise] = _HOT | _COLD

REDUCE: dict[str, Reduce] = {
    "sum": Reduce("0", "s+=x"),
    "mean": Reduce("0", "s+=x", "s/n"),
    "prod": Reduce("1", "s*=x"),
    "amax": Reduce("-Infinity", "s=x>s||x!==x?x:s"),
    "amin": Reduce("Infinity", "s=x<s||x!==x?x:s"),
    "any": Reduce("0", "s=s||x!==0?1:0"),
    "all": Reduce("1", "s=s&&x!==0?1:0"),
}

SCAN: dict[str, Scan] = {
    "cumsum": Scan("0", "s+=x"),
    "cumprod": Scan("1", "s*=x"),
    "logcumsumexp": Scan("-Infinity", "s=logaddexp(s,x)"),
}

# name -> number of results; results come first among a row's operands
KERNELS: dict[str, int] = {
    "argmax": 1,
    "argmin": 1,
    "cummax": 2,
    "cummin": 2,
    "sort": 2,
    "searchsorted": 1,
    "mm": 1,
    "take": 1,
    "put": 1,
    "put_add": 1,
    "lu": 2,
    "lu_solve": 1,
    "cholesky": 1,
    "eigh": 2,
    "eig": 2,
    "matrix_exp": 1,
    "dft": 1,
    "uniform": 1,
}
