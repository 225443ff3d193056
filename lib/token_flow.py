"""Tokens in infinitely many thin layers: the differential equation, followed to the end of its time.

Two integrators. :func:`integrate_tokens` and :func:`first_blow_up` are adaptive, accurate to ten digits, and take one
system. :func:`follow_tokens` has a fixed number of steps, is batched and differentiable, and runs inside live figures.

All use the logarithms of the token sizes and of time, and move along the length of the path in these coordinates: each
unit of length multiplies time or a token by at most e. So eight decades of slow decay and the last instant before a
blow-up cost the same few steps, and no step can be too long to be stable.

Sources: T. N. Vo and others, arXiv:2410.03292, for the equation and its regimes; the rescaling, the integrals and the
constants are derived in the book's chapter.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from lib import _tokens, checks

__all__ = [
    "BlowUp",
    "TokenPath",
    "arrival_time",
    "blow_up_time",
    "first_blow_up",
    "follow_tokens",
    "integrate_tokens",
]

NODES = 96  # of the rule in `blow_up_time`: relative error 1e-12 for s x0 above 0.01, 3e-9 below
PANELS, PANEL_NODES = 16, 24  # of the composite rule in `arrival_time`
TOLERANCE = 1e-10  # relative, of the adaptive integrator
SLOWEST = 1e-30  # per unit of depth; nothing slower is told from rest
LONGEST = 1e4  # path lengths that no system of the regimes reaches


class BlowUp(NamedTuple):
    """The first token that leaves every bound.

    Attributes
    ----------
    time : float
        When it is infinite (units of depth); ``inf`` if no token ever is.
    token : int or None
        Its place in the sequence, counted from 0.
    tokens : Tensor, (L,)
        All tokens when it passed the bound.
    """

    time: float
    token: int | None
    tokens: Tensor


class TokenPath(NamedTuple):
    """Tokens along their path.

    Attributes
    ----------
    times : Tensor, (..., steps + 1)
        Depth, from 0.
    tokens : Tensor, (..., steps + 1, L)
    """

    times: Tensor
    tokens: Tensor


def follow_tokens(x0, mu, step_weight, decay, steps: int = 120, length=36.0) -> TokenPath:
    """Follow the tokens along a given length of path, with a fixed number of Runge-Kutta steps.

    Parameters
    ----------
    x0 : array_like, (..., L)
        Tokens at depth 0; zeros stay zero.
    mu : array_like, (...)
        Product of read and write map, per unit of depth.
    step_weight : array_like, (...)
        Weight s of the step size softplus(s x).
    decay : array_like, (...)
        Forgetting rate a, above 0.
    steps : int
        Runge-Kutta steps of fourth order, at least 1.
    length : array_like, (...)
        Length of the path, above 0: the logarithm of time, counted from the first speed of the tokens, plus the way of
        the tokens' logarithms. 36 reaches past 10^8 while tokens grow slowly, and past 10^9 times their start when
        they blow up; shrinking to depth 10^8 takes about 45.

    Returns
    -------
    TokenPath
        The times are different in each system. In a blow-up they tend to its time.

    Raises
    ------
    ValueError
        If the shapes do not fit, ``decay`` or ``length`` is not above 0, or ``steps`` is below 1.

    Notes
    -----
    With time scale t0 = 1 / speed at the start, theta = log(t + t0) and u = log abs(x), the path obeys
    d(u, theta) / dl = (r, 1) / (1 + abs(r)) with r = (t + t0) du/dt and abs(r) the Euclidean length of r over sqrt(2).

    Examples
    --------
    >>> path = follow_tokens([1.0, -0.7], mu=1.0, step_weight=1.0, decay=1.0)
    >>> round(float(path.times[-1]), 3)  # when the first token is infinite
    0.283
    """
    x0, mu, step_weight, decay, length = _tokens.read(
        "x0", x0, mu=mu, step_weight=step_weight, decay=decay, length=length
    )
    steps = checks.integer("steps", steps, lowest=1)
    sign = torch.sign(x0)
    present = sign * sign
    scale = _time_scale(x0, mu, step_weight, decay)
    signed_weight = step_weight[..., None] * sign
    size = x0.shape[-1]
    lower = torch.ones(size, size, dtype=x0.dtype, device=x0.device).tril()
    fading = -decay[..., None, None] * lower.tril(-1)
    one = torch.ones_like(mu)[..., None]

    def direction(state: Tensor) -> Tensor:
        """Unit-speed motion of (log sizes, log time); the same sums as in `_tokens.memory`."""
        grown = torch.exp(state)
        sizes, time = grown[..., :-1] * present, grown[..., -1:]
        step = _tokens.softplus(signed_weight * sizes)
        kept = torch.exp((step[..., :, None] * fading).cumsum(dim=-2)) * lower
        rate = (kept @ (sizes * sizes * step)[..., None])[..., 0] * (mu[..., None] * time) * present
        speed = 1 + torch.sqrt((rate * rate).sum(dim=-1, keepdim=True) / 2)
        return torch.cat([rate, one], dim=-1) / speed

    start = torch.where(present > 0, x0.abs(), torch.ones_like(x0))
    state = torch.log(torch.cat([start, scale[..., None]], dim=-1))
    stride = (length / steps)[..., None]
    path = [state]
    for _ in range(steps):
        first = direction(state)
        second = direction(state + stride / 2 * first)
        third = direction(state + stride / 2 * second)
        fourth = direction(state + stride * third)
        state = state + stride / 6 * (first + 2 * (second + third) + fourth)
        path.append(state)
    logs = torch.stack(path, dim=-2)
    times = scale[..., None] * torch.expm1(logs[..., -1] - logs[..., :1, -1])
    return TokenPath(times, torch.exp(logs[..., :-1]) * sign[..., None, :])


def integrate_tokens(x0, mu, step_weight, decay, times) -> Tensor:
    """Tokens of one system at given depths, to ten digits (LSODA).

    Parameters
    ----------
    x0 : array_like, (L,)
        Tokens at depth 0.
    mu, step_weight, decay : float
        As in :func:`follow_tokens`.
    times : array_like, (n,)
        Depths, rising and at least 0.

    Returns
    -------
    Tensor, (n, L), float64

    Raises
    ------
    ValueError
        If the start is empty or not finite, ``decay`` is not above 0, the times do not rise, or a token is infinite
        before the last of them.

    Examples
    --------
    >>> x = integrate_tokens([1.0, -0.7], mu=-1.0, step_weight=0.8, decay=1.0, times=[1.0, 1e8])
    >>> (x[:, 1] / x[:, 0]).round(decimals=3).tolist()  # the limit is -sqrt(1/2)
    [-0.755, -0.707]
    """
    x0, mu, step_weight, decay = _tokens.read_one(x0, mu=mu, step_weight=step_weight, decay=decay)
    (times,) = checks.tensors(times=times)
    if times.dim() != 1 or times.shape[0] == 0:
        raise ValueError(f"times must have shape (n,) with at least one depth, got {tuple(times.shape)}")
    checks.require(times >= 0, "times must be at least 0", times)
    checks.require(times.diff() > 0, "times must rise")
    if bool(_tokens.explosive(x0, mu, step_weight).any()):
        end = _explode(x0, mu, step_weight, decay, max(1e3, 10 * float(x0.abs().max()))).time
        checks.require(times < end, f"times must end before a token is infinite at {end:.6g}", times)
    system = _LogSystem(x0, mu, step_weight, decay)
    moments = times.double().cpu().numpy()
    if moments[-1] == 0:
        return x0.double()[None].to(times.device)
    system.scale = min(system.scale, moments[-1])  # where nothing moves much, time is counted from its end
    marks = np.log1p(moments / system.scale)
    answer = system.solve(system.by_time, marks[-1], marks)
    return torch.from_numpy(system.tokens(answer.y[:-1].T)).to(times.device)


def first_blow_up(x0, mu, step_weight, decay, size: float = 1e3) -> BlowUp:
    """When and where the first token of one system becomes infinite.

    Parameters
    ----------
    x0 : array_like, (L,)
        Tokens at depth 0.
    mu, step_weight, decay : float
        As in :func:`follow_tokens`.
    size : float
        The integration stops when a token that explodes by itself has this size; the rest of the time is
        :func:`blow_up_time` from there. Above all start values.

    Returns
    -------
    BlowUp

    Raises
    ------
    ValueError
        If the start is empty or not finite, ``decay`` is not above 0, or ``size`` does not exceed the start.

    Examples
    --------
    >>> end = first_blow_up([0.5, 1.0, 0.8, -0.6], mu=1.0, step_weight=1.0, decay=1.0)
    >>> end.token, round(end.time, 5)
    (1, 0.27668)
    """
    x0, mu, step_weight, decay = _tokens.read_one(x0, mu=mu, step_weight=step_weight, decay=decay)
    size = checks.real_number("size", size, lowest=float(x0.abs().max()), open_below=True)
    if not bool(_tokens.explosive(x0, mu, step_weight).any()):
        return BlowUp(math.inf, None, x0)
    return _explode(x0, mu, step_weight, decay, size)


def blow_up_time(x0, mu, step_weight) -> Tensor:
    """Depth at which a token alone is infinite.

    Parameters
    ----------
    x0, mu, step_weight : array_like, (...)
        Start, product of read and write map, and weight of the step size, of any shapes that broadcast.

    Returns
    -------
    Tensor, (...)
        The integral of dy / (mu y^3 softplus(s y)) from x0 to infinity; infinite unless mu > 0 and s x0 >= 0 with x0
        not 0. For the first token of a sequence this is its own time; for a later one, an upper bound.

    Raises
    ------
    ValueError
        If the shapes do not broadcast.

    Notes
    -----
    With y = x0 / r the integral is that of r / softplus(s x0 / r) over 0 < r < 1, divided by mu x0^2. The integrand is
    smooth, and Gauss and Legendre's rule gives it to rounding.

    Examples
    --------
    >>> round(float(blow_up_time(1.0, mu=1.0, step_weight=1.0)), 12)
    0.282963287508
    >>> float(blow_up_time(-1.0, mu=1.0, step_weight=1.0))
    inf
    """
    x0, mu, step_weight = checks.tensors(x0=x0, mu=mu, step_weight=step_weight)
    checks.batch(x0=x0.shape, mu=mu.shape, step_weight=step_weight.shape)
    pushed = step_weight * x0
    explodes = (mu > 0) & (x0 != 0) & (pushed >= 0)
    nodes, weights = _rule(NODES, x0)
    step = _tokens.softplus(torch.where(explodes, pushed, torch.zeros_like(pushed))[..., None] / nodes)
    integral = (weights * nodes / step).sum(dim=-1)
    pace = torch.where(explodes, mu * x0 * x0, torch.ones_like(pushed))
    return torch.where(explodes, integral / pace, torch.inf)


def arrival_time(x, x0, mu, step_weight) -> Tensor:
    """Depth at which a token alone has come from one size to another.

    Parameters
    ----------
    x, x0 : array_like, (...)
        Value aimed at and value at depth 0, both of one sign and not 0.
    mu, step_weight : array_like, (...)
        As in :func:`blow_up_time`.

    Returns
    -------
    Tensor, (...)
        The integral of dy / (mu y^3 softplus(s y)) from x0 to x. Relative error below 1e-8 while abs(s x) is below 300.

    Raises
    ------
    ValueError
        If the shapes do not broadcast, or x cannot be reached: another sign, smaller although mu > 0, larger although
        mu < 0.

    Examples
    --------
    >>> round(float(arrival_time(10.0, 1.0, mu=1.0, step_weight=-1.0)), 4)
    36.669
    """
    x, x0, mu, step_weight = checks.tensors(x=x, x0=x0, mu=mu, step_weight=step_weight)
    checks.batch(x=x.shape, x0=x0.shape, mu=mu.shape, step_weight=step_weight.shape)
    x, x0, mu, step_weight = torch.broadcast_tensors(x, x0, mu, step_weight)
    checks.require(x * x0 > 0, "x and x0 must have one sign, and neither may be 0", x)
    way = torch.log(x / x0)
    checks.require(way * mu >= 0, "x must lie where mu leads: beyond x0 for mu > 0, between 0 and x0 for mu < 0", x)
    nodes, weights = _rule(PANEL_NODES, x)
    panels = torch.arange(PANELS, dtype=x.dtype, device=x.device)
    place = ((panels[:, None] + nodes) / PANELS).flatten()
    y = x0[..., None] * torch.exp(way[..., None] * place)
    density = 1 / (y * y * _tokens.softplus(step_weight[..., None] * y))
    mean = (density * weights.repeat(PANELS)).sum(dim=-1) / PANELS
    return way / mu * mean


def _rule(count: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre nodes and weights on (0, 1)."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    half = {"dtype": like.dtype, "device": like.device}
    return (torch.tensor(nodes, **half) + 1) / 2, torch.tensor(weights, **half) / 2


def _time_scale(x0: Tensor, mu: Tensor, step_weight: Tensor, decay: Tensor) -> Tensor:
    """Time in which the fastest token would change by a factor e; 1 if none moves."""
    speed = mu.abs() * _tokens.memory(x0, step_weight, decay).amax(dim=-1)
    moving = speed > SLOWEST
    return 1 / torch.where(moving, speed, torch.ones_like(speed))


class _LogSystem:
    """One system in the logarithms of sizes and time, for scipy."""

    def __init__(self, x0: Tensor, mu: Tensor, step_weight: Tensor, decay: Tensor):
        self.scale = float(_time_scale(x0, mu, step_weight, decay))
        self.mu, self.step_weight, self.decay = float(mu), float(step_weight), float(decay)
        start = x0.detach().double().cpu().numpy()
        self.sign = np.sign(start)
        self.start = np.append(np.log(np.where(start == 0, 1, np.abs(start))), 0)

    def tokens(self, logs: np.ndarray) -> np.ndarray:
        return self.sign * np.exp(logs)

    def rates(self, state: np.ndarray) -> np.ndarray:
        """Change of the log sizes per unit of log time; state is (log sizes, log(1 + t / scale))."""
        x = self.tokens(state[:-1])
        step = np.logaddexp(0, self.step_weight * x)
        remembered, rates = 0.0, np.empty_like(x)
        for place, (forgotten, written) in enumerate(zip(np.exp(-self.decay * step), x * x * step, strict=True)):
            remembered = forgotten * remembered + written
            rates[place] = remembered
        return self.mu * self.scale * math.exp(state[-1]) * rates * self.sign**2

    def by_time(self, _, state: np.ndarray) -> np.ndarray:
        return np.append(self.rates(state), 1)

    def by_length(self, _, state: np.ndarray) -> np.ndarray:
        rates = self.rates(state)
        return np.append(rates, 1) / (1 + np.linalg.norm(rates))

    def solve(self, field, end: float, marks=None, events=None):
        from scipy.integrate import solve_ivp

        answer = solve_ivp(
            field, (0, end), self.start, "LSODA", t_eval=marks, events=events, rtol=TOLERANCE, atol=TOLERANCE / 10
        )
        if not answer.success:
            raise ArithmeticError(f"the integration stopped early: {answer.message}")
        return answer


def _explode(x0: Tensor, mu: Tensor, step_weight: Tensor, decay: Tensor, size: float) -> BlowUp:
    """Follow a system in which some token explodes until one that does so by itself has the given size."""
    bursting = _tokens.explosive(x0, mu, step_weight).cpu().numpy()
    system = _LogSystem(x0, mu, step_weight, decay)
    goal = math.log(size)

    def arrived(_, state):
        return state[:-1][bursting].max() - goal

    arrived.terminal = True
    answer = system.solve(system.by_length, LONGEST, events=arrived)
    logs, passed = answer.y[:-1, -1], system.scale * math.expm1(answer.y[-1, -1])
    token = int(np.where(bursting, logs, -np.inf).argmax())
    tokens = torch.from_numpy(system.tokens(logs))
    left = blow_up_time(tokens[token], mu.double().cpu(), step_weight.double().cpu())
    return BlowUp(passed + float(left), token, tokens.to(x0.device))
