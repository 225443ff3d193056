"""Nonlinear least squares, many problems at once: Levenberg and Marquardt's method with a damping of its own each.

One call fits thousands of bootstrap samples, starts or settings: every step is a handful of tensor operations for all
problems that are still moving. Bounds are kept by freezing the parameters that press against them, so that an optimum
on a bound is reached exactly. A bound from both sides holds a parameter fixed, as a profile likelihood needs it.

Sources: D. W. Marquardt, J. SIAM 11 (1963) 431; D. M. Bates and D. G. Watts, Technometrics 23 (1981) 179 (the rule that
stops); P. J. Huber, *Robust statistics* (1981), section 7.8 (weights).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lib import checks

__all__ = ["LeastSquares", "huber_loss", "least_squares"]

# Where a step is better the damping falls by 10, where it is worse it rises by 4; between these ends.
CALMER, WILDER = 0.1, 4.0
LEAST_DAMPING, MOST_DAMPING = 1e-12, 1e12
# After a step that was worse the damping is at least this: less hardly shortens a step.
AFTER_FAILURE = 1e-4
# Problems at rest are taken out as soon as they are this share of all.
AT_REST = 0.25


@dataclass(frozen=True)
class LeastSquares:
    """Optima of a batch of problems.

    Attributes
    ----------
    parameters : Tensor, (..., p)
    cost : Tensor, (...)
        Half the sum of squared residuals, or the sum of Huber's function of them.
    converged : Tensor, (...), bool
        Whether the remaining step was negligible; false where ``max_steps`` came first or no step helped.
    information : Tensor, (..., p, p)
        Normal matrix J^T W J at the optimum (W = 1 without ``huber``), over all parameters, also those on a bound.
    steps : int
        Steps tried, of the slowest problem.
    """

    parameters: Tensor
    cost: Tensor
    converged: Tensor
    information: Tensor
    steps: int


def huber_loss(residuals, delta) -> Tensor:
    """Huber's function: r^2 / 2 up to ``delta``, then the straight line delta (abs(r) - delta / 2).

    Parameters
    ----------
    residuals : array_like
    delta : array_like
        Where the parabola ends, above 0, in the unit of the residuals.

    Returns
    -------
    Tensor
        Of the shape that both have in common.

    Raises
    ------
    ValueError
        If an argument is not finite, or ``delta`` is not above 0.

    Examples
    --------
    >>> huber_loss([0.5, -3.0], 1.0).tolist()
    [0.125, 2.5]
    """
    residuals, delta = checks.tensors(residuals=residuals, delta=delta)
    checks.batch(residuals=residuals.shape, delta=delta.shape)
    checks.require(delta > 0, "delta must be above 0", delta)
    return _huber(residuals, delta)


def _huber(residuals: Tensor, delta) -> Tensor:
    size = residuals.abs()
    inside = torch.minimum(size, torch.as_tensor(delta, dtype=size.dtype, device=size.device))
    return inside * (size - inside / 2)


def least_squares(
    residuals: Callable[..., Tensor],
    start,
    data=(),
    jacobian: Callable[..., Tensor] | bool | None = None,
    lower=None,
    upper=None,
    huber: float | None = None,
    tolerance: float = 1e-7,
    max_steps: int = 200,
    damping: float = 1e-3,
) -> LeastSquares:
    """Minimise sums of squared residuals, a batch of problems at once.

    Parameters
    ----------
    residuals : callable
        ``residuals(parameters, *data)`` of shape (batch, n) for parameters (batch, p); the problems must not mix.
    start : array_like, (..., p)
        Where each problem starts.
    data : sequence of array_like, (..., n)
        What the residuals need beside the parameters. The leading dimensions broadcast with those of ``start``; the
        function receives (batch, n), or (1, n) for data that all problems share.
    jacobian : callable or True, optional
        Derivatives, (batch, n, p), of the same arguments; fastest as ``torch.stack(columns, dim=-2).mT``. With True
        ``residuals`` returns both, residuals and derivatives, and can share what they have in common. Default: forward
        differentiation, one pass a parameter.
    lower, upper : array_like, (..., p), optional
        Bounds, infinite where there is none; equal bounds hold a parameter fixed. A start outside is moved inside.
    huber : float, optional
        Sum Huber's function of the residuals with this ``delta`` instead of half their squares.
    tolerance : float
        Stop with the step that lowers the cost by less than ``tolerance`` squared of it, or by less than its rounding.
    max_steps : int
        Largest number of steps.
    damping : float
        Of the first step, relative to the diagonal of J^T J: from a start that is nearly right, 1e-6 saves steps.

    Returns
    -------
    LeastSquares

    Raises
    ------
    ValueError
        If the shapes do not fit, a start gives residuals that are not finite, or a bound excludes everything.

    Examples
    --------
    Two exponentials, from one start each:

    >>> t = torch.linspace(0, 4, 9, dtype=torch.float64)
    >>> counts = torch.stack([3 * torch.exp(-0.5 * t), 5 * torch.exp(-t)])
    >>> fit = least_squares(lambda p, t, y: p[:, :1] * torch.exp(-p[:, 1:] * t) - y, [[1.0, 1.0]] * 2, (t, counts))
    >>> fit.parameters
    tensor([[3.0000, 0.5000],
            [5.0000, 1.0000]], dtype=torch.float64)
    """
    if residuals is None:
        raise ValueError("residuals must be callable, got None")
    checks.callback("residuals", residuals)
    if jacobian is not True:
        checks.callback("jacobian", jacobian)
    tolerance = checks.real_number("tolerance", tolerance, lowest=0, highest=1, open_below=True)
    max_steps = checks.integer("max_steps", max_steps, lowest=1)
    damping = checks.real_number("damping", damping, lowest=LEAST_DAMPING, highest=MOST_DAMPING)
    if huber is not None:
        huber = checks.real_number("huber", huber, lowest=0, open_below=True)
    parameters, batch, data, lower, upper = _read(start, data, lower, upper)
    # Smaller changes of the cost are lost in its rounding.
    tolerance = max(tolerance, torch.finfo(parameters.dtype).eps ** 0.5)
    problem = _Problem(residuals, jacobian, huber)
    found = problem.solve(parameters, data, lower, upper, tolerance, max_steps, damping)
    parameters, cost, converged, information, steps = found
    size = parameters.shape[-1]
    return LeastSquares(
        parameters.reshape(*batch, size),
        cost.reshape(batch),
        converged.reshape(batch),
        information.reshape(*batch, size, size),
        steps,
    )


class _Problem:
    """What is minimised, and its derivatives."""

    def __init__(self, residuals, jacobian, huber):
        self.residuals = residuals
        self.jacobian = jacobian or self._forward
        self.huber = huber

    def _forward(self, parameters: Tensor, *data: Tensor) -> Tensor:
        columns = []
        for direction in torch.eye(parameters.shape[-1], dtype=parameters.dtype, device=parameters.device):
            along = direction.expand_as(parameters)
            columns.append(torch.func.jvp(lambda p: self.residuals(p, *data), (parameters,), (along,))[1])
        return torch.stack(columns, dim=-2).mT

    def evaluate(self, p: Tensor, data) -> tuple[Tensor, Tensor, Tensor]:
        """Cost, normal matrix and gradient; what is as long as the data is given up at once."""
        if self.jacobian is True:
            r, J = self.residuals(p, *data)
        else:
            r, J = self.residuals(p, *data), self.jacobian(p, *data)
        if r.dim() != 2 or len(r) != len(p):
            raise ValueError(f"residuals must return shape ({len(p)}, n), got {tuple(r.shape)}")
        if self.huber is None:
            cost = torch.linalg.vector_norm(r, dim=-1).square() / 2
            return cost, J.mT @ J, (J.mT @ r[:, :, None])[:, :, 0]
        cost = _huber(r, self.huber).sum(dim=-1)
        weighted = J * (self.huber / r.abs().clamp(min=self.huber))[:, :, None]
        return cost, weighted.mT @ J, (weighted.mT @ r[:, :, None])[:, :, 0]

    def solve(self, p, data, lower, upper, tolerance, max_steps, damping):
        """All problems until each is at rest; those at rest leave the arrays in time."""
        cost, H, g = self.evaluate(p, data)
        checks.require(cost.isfinite(), "start must give finite residuals, but they hold NaN or infinity")
        damping = torch.full_like(cost, damping)
        moving = torch.ones_like(cost, dtype=torch.bool)
        converged = torch.zeros_like(moving)
        where = torch.arange(len(p), device=p.device)
        out = [torch.empty_like(value) for value in (p, cost, converged, H)]
        steps = 0
        while steps < max_steps:
            step, drop = _damped_step(H, g, damping, p, lower, upper)
            tried = torch.clamp(p - step, lower, upper)
            small = drop <= tolerance**2 * cost + _rounding(H, p)
            settled = moving & small & (damping < 1)
            # The last step is below what the cost can show, and still sharpens the parameters.
            p = torch.where(settled[:, None], tried, p)
            converged = converged | settled
            moving = moving & ~settled & (damping < MOST_DAMPING)
            left = int(moving.sum())
            if left == 0:
                break
            if left <= (1 - AT_REST) * len(moving):
                for whole, part in zip(out, (p, cost, converged, H)):
                    whole[where] = part
                p, cost, H, g, damping, converged, where, lower, upper, tried = (
                    value[moving] for value in (p, cost, H, g, damping, converged, where, lower, upper, tried)
                )
                data = [tensor[moving] if len(tensor) == len(moving) else tensor for tensor in data]
                moving = torch.ones_like(converged)
            steps += 1
            cost_tried, H_tried, g_tried = self.evaluate(tried, data)
            better = moving & (cost_tried < cost)
            p = torch.where(better[:, None], tried, p)
            cost = torch.where(better, cost_tried, cost)
            H = torch.where(better[:, None, None], H_tried, H)
            g = torch.where(better[:, None], g_tried, g)
            damping = torch.where(better, damping * CALMER, (damping * WILDER).clamp(min=AFTER_FAILURE))
            damping = damping.clamp(LEAST_DAMPING, MOST_DAMPING)
        for whole, part in zip(out, (p, cost, converged, H)):
            whole[where] = part
        return (*out, steps)


def _damped_step(H, g, damping, p, lower, upper) -> tuple[Tensor, Tensor]:
    """What to subtract, and by how much the undamped model of the cost falls."""
    frozen = ((p <= lower) & (g >= 0)) | ((p >= upper) & (g <= 0))
    free = (~frozen).to(H.dtype)
    H = H * (free[:, :, None] * free[:, None, :])
    g = g * free
    diagonal = H.diagonal(dim1=-2, dim2=-1)
    scale = torch.where(diagonal > 0, diagonal, 1.0)
    # Relative to the diagonal; a parameter without any influence has no pull either and stays where it is.
    lifted = H + torch.diag_embed((damping[:, None] + 1e-15) * scale)
    step = torch.linalg.solve_ex(lifted, g.unsqueeze(-1))[0].squeeze(-1)
    step = torch.where(step.isfinite(), step, 0.0)
    return step, (g * step).sum(dim=-1) / 2


def _rounding(H: Tensor, p: Tensor) -> Tensor:
    """Cost of residuals that are nothing but rounding: the squared size of each parameter's part in what is fitted."""
    part = (H.diagonal(dim1=-2, dim2=-1) * p * p).sum(dim=-1)
    return (8 * torch.finfo(p.dtype).eps) ** 2 * part


def _read(start, data, lower, upper):
    if isinstance(data, Tensor) or not isinstance(data, (tuple, list)):
        raise ValueError(f"data must be a sequence of arrays, got {checks.describe(data)}")
    named = {"start": start} | {f"data[{i}]": value for i, value in enumerate(data)}
    # An optimum is a number: gradients do not pass through the search.
    start, *data = (tensor.detach() for tensor in checks.tensors(**named))
    checks.shape("start", start, None)
    for i, tensor in enumerate(data):
        checks.shape(f"data[{i}]", tensor, None)
    batch = checks.batch(start=start.shape[:-1], **{f"data[{i}]": d.shape[:-1] for i, d in enumerate(data)})
    size = start.shape[-1]
    bounds = []
    for name, value, far in (("lower", lower, -torch.inf), ("upper", upper, torch.inf)):
        bound = torch.as_tensor(far, dtype=start.dtype) if value is None else _bound(name, value, start)
        checks.batch(start=(*batch, size), **{name: bound.shape})
        bounds.append(bound.to(start).expand(*batch, size).reshape(-1, size))
    lower, upper = bounds
    checks.require(lower <= upper, "lower must not exceed upper", lower)
    p = start.expand(*batch, size).reshape(-1, size)
    data = [d.expand(*batch, d.shape[-1]).reshape(-1, d.shape[-1]) if d.dim() > 1 else d[None] for d in data]
    return torch.clamp(p, lower, upper), batch, data, lower, upper


def _bound(name: str, value, start: Tensor) -> Tensor:
    """Bounds may be infinite, so they are read without the check for finite numbers."""
    try:
        bound = torch.as_tensor(value, dtype=start.dtype, device=start.device)
    except (TypeError, ValueError, RuntimeError) as problem:
        raise ValueError(f"{name} must be numbers in a rectangular array, got {checks.describe(value)}") from problem
    checks.require(~bound.isnan(), f"{name} must not be NaN")
    return bound
