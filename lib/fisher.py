"""Fisher information and natural gradient, with the distances and geodesics they define.

The Fisher information of a family of distributions p_theta is F = E[s s^T], where the score s is the gradient of
ln p_theta. It measures how far apart neighbouring distributions are: 2 KL = dtheta^T F dtheta to second order. A
natural gradient step F^-1 grad goes down the steepest way in that geometry, whatever the parameters are called
(S. Amari, Neural Computation 10 (1998) 251).

Expectations over a finite sample space are exact. Distances and geodesics are in :mod:`lib.fisher_rao` (finitely many
classes) and :mod:`lib.fisher_rao_normal`, and can be imported from here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lib import checks
from lib.fisher_rao import (
    bernoulli_distance,
    bhattacharyya_coefficient,
    categorical_metric,
    curve_length,
    distributions,
    fisher_rao_distance,
    fisher_rao_geodesic,
    kullback_leibler,
)
from lib.fisher_rao_normal import normal_distance, normal_geodesic, normal_metric
from lib.live import tracing

__all__ = [
    "fisher_information",
    "exponential_family_fisher",
    "log_likelihood_fisher",
    "natural_gradient",
    "natural_gradient_step",
    "pull_back",
    "bernoulli_distance",
    "bhattacharyya_coefficient",
    "categorical_metric",
    "curve_length",
    "distributions",
    "fisher_rao_distance",
    "fisher_rao_geodesic",
    "kullback_leibler",
    "normal_distance",
    "normal_geodesic",
    "normal_metric",
]


def fisher_information(scores, probabilities=None) -> Tensor:
    """Fisher information from the scores of every outcome, E[s s^T].

    Parameters
    ----------
    scores : array_like, (..., outcomes, parameters)
        Gradient of the log-likelihood of each outcome.
    probabilities : array_like, (..., outcomes), optional
        Probability of each outcome. None: the outcomes are a sample, each counts the same (a noisy estimate, singular
        with fewer outcomes than parameters).

    Returns
    -------
    Tensor, (..., parameters, parameters)
        Symmetric, positive semidefinite.

    Raises
    ------
    ValueError
        If the shapes do not fit or the probabilities are no distribution.

    Examples
    --------
    An event of probability 0.2, in that probability: 1 / (0.2 * 0.8).

    >>> fisher_information([[-1 / 0.8], [1 / 0.2]], [0.8, 0.2]).tolist()
    [[6.25]]
    """
    if probabilities is None:
        (scores,) = checks.tensors(scores=scores)
        checks.shape("scores", scores, None, None)
        return scores.mT @ scores / scores.shape[-2]
    scores, probabilities = _outcomes("scores", scores, probabilities)
    return scores.mT @ (probabilities[..., None] * scores)


def exponential_family_fisher(statistics, probabilities) -> Tensor:
    """Fisher information of an exponential family in its natural parameters: the covariance of the statistics.

    Parameters
    ----------
    statistics : array_like, (..., outcomes, parameters)
        Sufficient statistics T of each outcome, p proportional to exp(theta . T).
    probabilities : array_like, (..., outcomes)
        Probability of each outcome at the parameters asked for.

    Returns
    -------
    Tensor, (..., parameters, parameters)

    Raises
    ------
    ValueError
        If the shapes do not fit or the probabilities are no distribution.

    Examples
    --------
    A spin of +1 or -1 without preference.

    >>> exponential_family_fisher([[1.0], [-1.0]], [0.5, 0.5]).tolist()
    [[1.0]]
    """
    statistics, probabilities = _outcomes("statistics", statistics, probabilities)
    mean = (probabilities[..., None] * statistics).sum(dim=-2, keepdim=True)
    scores = statistics - mean
    return scores.mT @ (probabilities[..., None] * scores)


def log_likelihood_fisher(log_likelihood: Callable[[Tensor], Tensor], theta) -> Tensor:
    """Fisher information of a family over finitely many outcomes, with the scores by automatic differentiation.

    Parameters
    ----------
    log_likelihood : callable
        Takes one parameter vector (parameters,) and returns the logarithm of the probability of every outcome,
        (outcomes,); written in torch.
    theta : array_like, (..., parameters)
        Where.

    Returns
    -------
    Tensor, (..., parameters, parameters)

    Raises
    ------
    ValueError
        If log_likelihood is not such a function: its values have another shape, are not finite (an outcome of
        probability 0 has no score), or their exponentials do not sum to 1.

    Examples
    --------
    >>> def softmax(theta):
    ...     return torch.log_softmax(theta, dim=0)
    >>> log_likelihood_fisher(softmax, [0.0, 0.0]).tolist()
    [[0.25, -0.25], [-0.25, 0.25]]
    """
    if not callable(log_likelihood):
        raise ValueError(f"log_likelihood must be a function, got {checks.describe(log_likelihood)}")
    (theta,) = checks.tensors(theta=theta)
    checks.shape("theta", theta, None)

    def twice(one: Tensor) -> tuple[Tensor, Tensor]:
        values = log_likelihood(one)
        if not isinstance(values, Tensor) or values.dim() != 1 or len(values) == 0:
            found = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(f"log_likelihood must return a tensor of shape (outcomes,), got {found}")
        return values, values

    rows = theta.reshape(-1, theta.shape[-1])
    scores, values = torch.func.vmap(torch.func.jacfwd(twice, has_aux=True))(rows)
    checks.require(
        values.isfinite(), "log_likelihood must be finite: every outcome needs a probability above 0", values
    )
    total = values.exp().sum(dim=-1)
    slack = math.sqrt(torch.finfo(values.dtype).eps)
    checks.require((total - 1).abs() <= slack, "log_likelihood must give probabilities that sum to 1", total)
    return fisher_information(scores, values.exp()).reshape(*theta.shape, theta.shape[-1])


def natural_gradient(grad, fisher, damping=0.0) -> Tensor:
    """Direction of steepest ascent in the geometry of the Fisher information, F^-1 grad.

    Parameters
    ----------
    grad : array_like, (..., n)
        Gradient of the loss.
    fisher : array_like, (..., n, n)
        Fisher information, symmetric and positive definite (after damping).
    damping : array_like, (...)
        Added to the diagonal of F, at least 0.

    Returns
    -------
    Tensor, (..., n)

    Raises
    ------
    ValueError
        If the shapes do not fit, damping is negative, or F is not symmetric or not positive definite.

    Examples
    --------
    >>> natural_gradient([1.0, 1.0], [[4.0, 0.0], [0.0, 0.5]]).tolist()
    [0.25, 2.0]
    """
    grad, fisher, damping = checks.tensors(grad=grad, fisher=fisher, damping=damping)
    size = checks.square("fisher", fisher)
    checks.shape("grad", grad, size)
    checks.require(damping >= 0, "damping must be at least 0", damping)
    batch = checks.batch(grad=grad.shape[:-1], fisher=fisher.shape[:-2], damping=damping.shape)
    check_symmetric("fisher", fisher)
    damped = add_damping(fisher, damping)
    check_positive_definite("fisher", damped, "positive definite (damping makes it so)")
    return steepest_ascent(grad.expand(*batch, size), damped.expand(*batch, size, size))[0]


def natural_gradient_step(theta, grad, fisher, lr, damping=0.0) -> Tensor:
    """One step of natural gradient descent, theta - lr (F + damping I)^-1 grad.

    Parameters
    ----------
    theta, grad : array_like, (..., n)
        Parameters, and gradient of the loss in them.
    fisher : array_like, (..., n, n)
        Fisher information at theta, symmetric and positive definite (after damping).
    lr : array_like, (...)
        Learning rate, above 0.
    damping : array_like, (...)
        Added to the diagonal of F, at least 0.

    Returns
    -------
    Tensor, (..., n)

    Raises
    ------
    ValueError
        If the shapes do not fit, lr is not above 0, damping is negative, or F is not symmetric or not positive
        definite.

    Examples
    --------
    On a quadratic loss whose curvature is F one full step arrives, however F is conditioned.

    >>> F = torch.tensor([[100.0, 0.0], [0.0, 0.01]], dtype=torch.float64)
    >>> theta = torch.tensor([3.0, -2.0], dtype=torch.float64)
    >>> natural_gradient_step(theta, F @ theta, F, lr=1.0).tolist()
    [0.0, 0.0]
    """
    theta, grad, fisher, lr, damping = checks.tensors(theta=theta, grad=grad, fisher=fisher, lr=lr, damping=damping)
    size = checks.square("fisher", fisher)
    checks.shape("theta", theta, size)
    checks.require(lr > 0, "lr must be above 0", lr)
    checks.batch(theta=theta.shape[:-1], grad=grad.shape[:-1], fisher=fisher.shape[:-2], lr=lr.shape)
    return theta - lr[..., None] * natural_gradient(grad, fisher, damping)


def pull_back(F, J) -> Tensor:
    """Fisher information (or any metric) in other parameters, J^T F J.

    Parameters
    ----------
    F : array_like, (..., n, n)
        Metric in the parameters theta.
    J : array_like, (..., n, m)
        Jacobian of theta in the new parameters phi. With m below n, the metric on a submanifold.

    Returns
    -------
    Tensor, (..., m, m)

    Raises
    ------
    ValueError
        If the shapes do not fit.

    Examples
    --------
    The metric of a normal distribution in its mean and the logarithm of its deviation.

    >>> pull_back(normal_metric([0.0, 0.5]), [[1.0, 0.0], [0.0, 0.5]]).tolist()
    [[4.0, 0.0], [0.0, 2.0]]
    """
    F, J = checks.tensors(F=F, J=J)
    checks.shape("J", J, checks.square("F", F), None)
    checks.batch(F=F.shape[:-2], J=J.shape[:-2])
    return J.mT @ F @ J


def check_symmetric(name: str, matrix: Tensor) -> None:
    slack = math.sqrt(torch.finfo(matrix.dtype).eps) * matrix.abs().amax(dim=(-2, -1), keepdim=True)
    checks.require((matrix - matrix.mT).abs() <= slack, f"{name} must be symmetric, but is not")


def check_positive_definite(name: str, matrix: Tensor, wanted: str = "positive definite") -> None:
    # Nothing is factorised for a check that a recording leaves out.
    if not tracing.active():
        checks.require(torch.linalg.cholesky_ex(matrix).info == 0, f"{name} must be {wanted}, but is not")


def add_damping(metric: Tensor, damping: Tensor) -> Tensor:
    """The metric with the damping on its diagonal."""
    return metric + damping[..., None, None] * torch.eye(metric.shape[-1], dtype=metric.dtype, device=metric.device)


def steepest_ascent(grad: Tensor, metric: Tensor) -> tuple[Tensor, Tensor]:
    """Solve metric @ direction = grad for equal batches, unchecked; also whether the direction goes up.

    For learners that take thousands of steps, each with many small metrics they know to be symmetric: checking those
    takes longer than the solution. A metric that rounding has made singular or indefinite shows in the second tensor,
    false where the solution failed or does not go uphill.
    """
    direction, failed = torch.linalg.solve_ex(metric, grad[..., None])
    direction = direction[..., 0]
    return direction, (failed == 0) & ((grad * direction).sum(dim=-1) >= 0)


def _outcomes(name: str, values, probabilities) -> tuple[Tensor, Tensor]:
    """Check that there is one probability for every row of the values."""
    values, probabilities = checks.tensors(**{name: values, "probabilities": probabilities})
    checks.shape(name, values, None, None)
    checks.shape("probabilities", probabilities, values.shape[-2])
    distributions(probabilities=probabilities)
    checks.batch(**{name: values.shape[:-2], "probabilities": probabilities.shape[:-1]})
    return values, probabilities
