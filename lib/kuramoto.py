"""Kuramoto oscillators: phases that pull at each other, their order parameter, and the theory of its onset.

``dtheta_i/dt = Omega_i + K * (average over the neighbours j of sin(theta_j - theta_i))``. Phases are in radians and are
not wrapped, frequencies in radians per unit of time; K has the unit of a frequency. With everyone as neighbour this is
the mean-field model, where order sets in at a critical coupling.

Sources: Y. Kuramoto, Chemical Oscillations, Waves, and Turbulence (Springer, 1984); J. A. Acebron et al., Rev. Mod.
Phys. 77 (2005) 137; on lattices H. Hong, H. Park, M. Y. Choi, Phys. Rev. E 72 (2005) 036217.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lib import _coupling, checks

__all__ = [
    "critical_coupling",
    "frequency_quantiles",
    "kuramoto",
    "kuramoto_step",
    "kuramoto_theory",
    "order_parameter",
    "stationary_order",
]

DENSITIES = ("lorentz", "normal", "uniform")


def kuramoto_step(K, omega, dt, theta, coupling="mean") -> Tensor:
    """One step of Heun's method (second order in dt).

    Parameters
    ----------
    K, omega, dt, coupling
        As for :func:`kuramoto`; dt may be a tensor of shape (...), too.
    theta : array_like, (..., n)
        Phases (radians); for ``coupling="torus"`` (..., rows, columns).

    Returns
    -------
    Tensor
        Phases one dt later, in the shape of ``theta`` with the batch of all arguments.

    Raises
    ------
    ValueError
        If the shapes do not fit, or dt is not above 0.

    Examples
    --------
    >>> kuramoto_step(0.0, [1.0, 2.0], 0.5, [0.0, 0.0])
    tensor([0.5000, 1.0000], dtype=torch.float64)
    """
    step, theta = _prepared(K, omega, dt, theta, coupling, "theta")
    return step(theta)


def kuramoto(K, omega, steps: int, dt, theta0, coupling="mean", *, keep: str = "path") -> Tensor:
    """Follow Kuramoto oscillators by Heun's method.

    Parameters
    ----------
    K : array_like, (...)
        Coupling (radians per unit of time). It multiplies the *average* over the neighbours: K / n for each of all n
        oscillators, K / 4 for each neighbour on a torus.
    omega : array_like, (..., n)
        Natural frequencies (radians per unit of time); for a torus (..., rows, columns).
    steps : int
        Number of steps, at least 0.
    dt : float
        Length of a step (units of time), above 0; 0.05 resolves frequencies and couplings of order 1.
    theta0 : array_like, (..., n)
        Phases at time 0 (radians); for a torus (..., rows, columns).
    coupling : {"mean", "ring", "torus"}, Graph, or array_like, (..., n, n)
        The neighbours: everyone, two on a ring, four on a torus, those in a graph (in proportion to their weights), or
        a row-stochastic matrix.
    keep : {"path", "last", "order"}
        Return the phases at every step, at the last one only, or just r at every step (for many oscillators).

    Returns
    -------
    Tensor, (..., steps + 1, n), (..., n) or (..., steps + 1)
        Phases (radians, not wrapped), or the modulus r of the order parameter.

    Raises
    ------
    ValueError
        If the shapes do not fit, dt is not above 0, ``steps`` is negative, or the coupling is none of these.

    Notes
    -----
    With S and C the averages of sine and cosine over the neighbours, the pull is K (S cos(theta_i) - C sin(theta_i)):
    n terms in place of n squared for the mean field.

    Examples
    --------
    >>> apart = torch.linspace(0, 3, 50, dtype=torch.float64)
    >>> r = kuramoto(2.0, torch.zeros(50, dtype=torch.float64), 200, 0.05, apart, keep="order")
    >>> round(float(r[0]), 2), round(float(r[-1]), 4)
    (0.65, 1.0)
    """
    steps = checks.integer("steps", steps, lowest=0)
    checks.choice("keep", keep, ("path", "last", "order"))
    step, theta = _prepared(K, omega, dt, theta0, coupling, "theta0")
    sites = _coupling.site_dimensions(coupling)
    if keep == "order":
        return _order_along(step, theta, steps, sites)
    path = [theta]
    for _ in range(steps):
        theta = step(theta)
        if keep == "path":
            path.append(theta)
    return torch.stack(path, dim=-1 - sites) if keep == "path" else theta


def order_parameter(theta, sites: int = 1) -> tuple[Tensor, Tensor]:
    """Order parameter of phases, r exp(i psi) = average of exp(i theta).

    Parameters
    ----------
    theta : array_like, (..., n)
        Phases (radians).
    sites : int
        How many of the last dimensions hold the sites: 2 for a torus (..., rows, columns).

    Returns
    -------
    r : Tensor, (...)
        From 0 (incoherent; about 1 / sqrt(n) for independent phases) to 1 (all phases equal).
    psi : Tensor, (...)
        Mean phase, in [-pi, pi] (radians).

    Raises
    ------
    ValueError
        If theta is not finite, has fewer dimensions, or no sites.

    Examples
    --------
    >>> r, psi = order_parameter([0.0, math.pi / 2])
    >>> round(float(r), 6), round(float(psi), 6)
    (0.707107, 0.785398)
    """
    (theta,) = checks.tensors(theta=theta)
    sites = checks.integer("sites", sites, lowest=1)
    checks.shape("theta", theta, *(None,) * sites)
    return _order(theta, sites)


def stationary_order(r) -> Tensor:
    """Average of an order parameter over the second half of a run, when the transient has passed.

    Parameters
    ----------
    r : array_like, (..., steps + 1)
        Over time, as ``kuramoto(..., keep="order")`` returns it.

    Returns
    -------
    Tensor, (...)

    Raises
    ------
    ValueError
        If r is not a finite array with at least one time.

    Examples
    --------
    >>> float(stationary_order([0.0, 0.2, 0.5, 0.7]))
    0.6
    """
    (r,) = checks.tensors(r=r)
    checks.shape("r", r, None)
    return r[..., r.shape[-1] // 2 :].mean(dim=-1)


def frequency_quantiles(n: int, density: str = "lorentz", width=0.5) -> Tensor:
    """Natural frequencies at the quantiles (k - 1/2) / n of a density: a sample without sampling noise.

    Parameters
    ----------
    n : int
        Number of oscillators, at least 1.
    density : {"lorentz", "normal", "uniform"}
        Shape, symmetric about 0.
    width : array_like, (...)
        Half-width at half maximum, standard deviation, or half-width; above 0 (radians per unit of time).

    Returns
    -------
    Tensor, (..., n)
        In rising order.

    Raises
    ------
    ValueError
        If an argument is out of range or the density is unknown.

    Examples
    --------
    >>> frequency_quantiles(4, "uniform", 1.0).tolist()
    [-0.75, -0.25, 0.25, 0.75]
    """
    n = checks.integer("n", n, lowest=1)
    checks.choice("density", density, DENSITIES)
    width = _read_width(width)
    share = (torch.arange(n, dtype=width.dtype, device=width.device) + 0.5) / n
    if density == "lorentz":
        standard = torch.tan(math.pi * (share - 0.5))
    elif density == "normal":
        standard = math.sqrt(2) * torch.erfinv(2 * share - 1)
    else:
        standard = 2 * share - 1
    return width[..., None] * standard


def critical_coupling(density="lorentz", width=0.5) -> Tensor:
    """Coupling at which the mean-field model begins to order, K_c = 2 / (pi p(0)).

    Parameters
    ----------
    density : {"lorentz", "normal", "uniform"} or callable
        Density of natural frequencies, unimodal and even; a callable p(omega) takes and returns a float.
    width : array_like, (...)
        As for :func:`frequency_quantiles`; for a callable only the scale on which it falls.

    Returns
    -------
    Tensor, (...)
        Radians per unit of time; 2 g for Lorentz.

    Raises
    ------
    ValueError
        If the width is not above 0, the density is unknown, or it is not above 0 at 0.

    Examples
    --------
    >>> float(critical_coupling("lorentz", 0.5))
    1.0
    """
    width = _read_width(width)
    peak = _peak(density, width)
    return 2 / (math.pi * peak)


def kuramoto_theory(K, density="lorentz", width=0.5) -> Tensor:
    """Order parameter of infinitely many mean-field oscillators.

    In closed form, r = sqrt(1 - K_c / K), for Lorentz frequencies (usable in live figures). For any other unimodal even
    density p it solves ``1 = K * integral of cos(u)^2 p(K r sin u)``, u from -pi/2 to pi/2, by quadrature and
    bracketing.

    Parameters
    ----------
    K : array_like
        Couplings, at least 0 (radians per unit of time).
    density : {"lorentz", "normal", "uniform"} or callable
        As for :func:`critical_coupling`.
    width : array_like
        As for :func:`critical_coupling`; broadcasts with K.

    Returns
    -------
    Tensor
        r of the stable state, 0 up to the critical coupling; in the broadcast shape of K and width. For the uniform
        density it jumps from 0 to pi / 4. Gradients pass through the closed form only.

    Raises
    ------
    ValueError
        If a coupling is negative, the width is not above 0, or the density is unknown or not normalised.

    Examples
    --------
    >>> kuramoto_theory([0.5, 2.0, 4.0], "lorentz", 0.5)
    tensor([0.0000, 0.7071, 0.8660], dtype=torch.float64)
    >>> kuramoto_theory([0.5, 2.0, 4.0], "normal", 0.5)
    tensor([0.0000, 0.9642, 0.9920], dtype=torch.float64)
    """
    K, width = checks.tensors(K=K, width=width)
    checks.batch(K=K.shape, width=width.shape)
    checks.require(K >= 0, "K must be at least 0", K)
    width = _read_width(width)
    peak = _peak(density, width)
    if isinstance(density, str) and density == "lorentz":
        ordered = 2 * width < K
        # The root is taken where it has a slope only, so that gradients are 0 and not NaN up to the critical coupling.
        r = torch.sqrt(1 - 2 * width / torch.where(ordered, K, 4 * width))
        return torch.where(ordered, r, torch.zeros_like(r))
    from lib import _self_consistency

    return _self_consistency.order(K, density, width, peak)


def _order(theta: Tensor, sites: int) -> tuple[Tensor, Tensor]:
    theta = theta.flatten(start_dim=-sites)
    C = _coupling.tree_mean(theta.cos())[..., 0]
    S = _coupling.tree_mean(theta.sin())[..., 0]
    return torch.sqrt(C * C + S * S), torch.atan2(S, C)


def _order_along(step: Callable[[Tensor], Tensor], theta: Tensor, steps: int, sites: int) -> Tensor:
    r = [_order(theta, sites)[0]]
    for _ in range(steps):
        theta = step(theta)
        r.append(_order(theta, sites)[0])
    return torch.stack(r, dim=-1)


def _prepared(K, omega, dt, theta, coupling, name: str) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """One step of Heun's method, and the phases in the shape of the whole batch."""
    K, omega, dt, theta = checks.tensors(K=K, omega=omega, dt=dt, **{name: theta})
    checks.require(dt > 0, "dt must be above 0", dt)
    sites = _coupling.site_dimensions(coupling)
    checks.shape(name, theta, *(None,) * sites)
    places = theta.shape[-sites:]
    checks.shape("omega", omega, *places)
    mean, of_coupling = _coupling.average("coupling", coupling, name, theta)
    batch = checks.batch(
        **{"K": K.shape, "omega": omega.shape[:-sites], "dt": dt.shape, name: theta.shape[:-sites]},
        coupling=of_coupling,
    )
    theta = theta.expand(*batch, *places)
    K, dt = (number.reshape(*number.shape, *(1,) * sites) for number in (K, dt))

    def step(theta: Tensor) -> Tensor:
        slope = _velocity(theta, omega, K, mean)
        return theta + dt / 2 * (slope + _velocity(theta + dt * slope, omega, K, mean))

    return step, theta


def _velocity(theta: Tensor, omega: Tensor, K: Tensor, mean) -> Tensor:
    sine, cosine = theta.sin(), theta.cos()
    return omega + K * (mean(sine) * cosine - mean(cosine) * sine)


def _read_width(width) -> Tensor:
    (width,) = checks.tensors(width=width)
    checks.require(width > 0, "width must be above 0", width)
    return width


def _peak(density, width: Tensor) -> Tensor:
    """Density at frequency 0, in the shape of the width."""
    if callable(density):
        value = checks.real_number("density(0)", density(0.0), lowest=0, open_below=True)
        return torch.full_like(width, value)
    checks.choice("density", density, DENSITIES)
    factor = {"lorentz": math.pi, "normal": math.sqrt(2 * math.pi), "uniform": 2.0}[density]
    return 1 / (factor * width)
