"""How fast the error of a discretization falls with the step: the order of accuracy.

One cell, dh/dt = A(t) h + u(t) with h(0) = 0, is run to a final time by each rule. The exponential trapezoid is of
second order for a constant A, of first order when A varies, and of second order again with A averaged over each step.

Source: Lahoti et al., "Mamba-3", arXiv:2603.15569, Proposition 5 and Table 1; the repair is ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lib import checks
from lib.ssm.discretize import METHODS, discretize

__all__ = ["RULES", "integrate", "order_of_accuracy"]

# Besides the rules of `discretize`: the bilinear rule with both ends of the input (Tustin), and the exponential
# trapezoid with A averaged over the step.
RULES = (*METHODS, "tustin", "averaged")


def integrate(
    rate: Callable[[Tensor], Tensor], drive: Callable[[Tensor], Tensor], steps: int, rule: str, *, until=2.0, lam=0.5
) -> Tensor:
    """State at the final time, by one rule.

    Parameters
    ----------
    rate : callable
        A(t) at a tensor of times, at most 0 (per unit of time).
    drive : callable
        Input u(t) at a tensor of times.
    steps : int
        Steps of equal length, at least 1.
    rule : str
        One of `RULES`.
    until : array_like, ()
        Final time, above 0.
    lam : array_like, ()
        Weight of the right end of a step in the exponential trapezoid, from 0 to 1.

    Returns
    -------
    Tensor, ()
        h(until).

    Raises
    ------
    ValueError
        If an argument is out of range, the rule is unknown, or rate and drive do not give a number for each time.

    Notes
    -----
    There is no loop: the state is the sum of all inputs, each multiplied by the decays of the steps after it.

    Examples
    --------
    >>> float(integrate(lambda t: -torch.ones_like(t), torch.ones_like, 100, "zero_order_hold"))  # 1 - exp(-2)
    0.864664716763
    """
    for name, value in dict(rate=rate, drive=drive).items():
        if not callable(value):
            raise ValueError(f"{name} must be a function of a tensor of times, got {checks.describe(value)}")
    checks.integer("steps", steps, lowest=1)
    checks.choice("rule", rule, RULES)
    until, lam = checks.tensors(until=until, lam=lam)
    for name, value in dict(until=until, lam=lam).items():
        if value.dim():
            raise ValueError(f"{name} must be one number, got {checks.describe(value)}")
    checks.require(until > 0, "until must be positive", until)
    checks.require((lam >= 0) & (lam <= 1), "lam must be from 0 to 1", lam)
    dt = until / steps
    times = dt * torch.arange(steps + 1, dtype=until.dtype, device=until.device)
    A, u = _at_times("rate", rate, times), _at_times("drive", drive, times)
    alpha, beta, gamma = _coefficients(A[:-1], A[1:], dt, rule, lam)
    written = beta * u[:-1] + gamma * u[1:]
    after = torch.cat([alpha.flip(0)[:-1].cumprod(0).flip(0), torch.ones_like(alpha[:1])])
    return (written * after).sum()


def order_of_accuracy(steps: Sequence[int], errors) -> Tensor:
    """Slope of the error against the length of the step, both on logarithmic axes.

    Parameters
    ----------
    steps : sequence of int, (k,)
        Numbers of steps to the same final time, at least two different ones.
    errors : array_like, (..., k)
        Absolute errors, above 0.

    Returns
    -------
    Tensor, (...)
        About 1 for a rule of first order, 2 for one of second order.

    Raises
    ------
    ValueError
        If the lengths differ, steps has no two different numbers, or a number is not positive.

    Examples
    --------
    >>> order_of_accuracy([10, 20, 40], [0.4, 0.1, 0.025])
    tensor(2.0000, dtype=torch.float64)
    """
    steps, errors = checks.tensors(steps=steps, errors=errors)
    if steps.dim() != 1 or steps.shape[0] < 2:
        raise ValueError(f"steps must be a list of at least two numbers, got {checks.describe(steps)}")
    if errors.dim() == 0 or errors.shape[-1] != steps.shape[0]:
        raise ValueError(f"errors must be as many as steps, {steps.shape[0]}, got shape {tuple(errors.shape)}")
    checks.require(steps > 0, "steps must be positive", steps)
    checks.require(steps.max() > steps.min(), "steps must hold at least two different numbers")
    checks.require(errors > 0, "errors must be positive", errors)
    x = -steps.log()
    x = x - x.mean()
    return (errors.log() * x).sum(-1) / (x * x).sum()


def _at_times(name: str, function, times: Tensor) -> Tensor:
    values = function(times)
    if not isinstance(values, Tensor) or values.shape != times.shape:
        raise ValueError(f"{name} must give a tensor of shape {tuple(times.shape)}, got {checks.describe(values)}")
    return values


def _coefficients(left: Tensor, right: Tensor, dt: Tensor, rule: str, lam: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Coefficients of all steps, from the rates at both ends of each."""
    if rule == "tustin":
        denominator = 1 - dt * right / 2
        weight = dt / 2 / denominator
        return (1 + dt * left / 2) / denominator, weight, weight
    if rule == "averaged":
        return discretize((left + right) / 2, dt, "exponential_trapezoidal", lam)
    return discretize(right, dt, rule, lam)
