"""Fisher information and natural gradient: exact values, sampling, change of coordinates, bad input."""

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lib import fisher
from tests.replays import recorded, replays

D = torch.float64
seeds = given(st.integers(0, 2**31 - 1))


def normals(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=D)


def positive_definite(seed, *shape):
    A = normals(seed, *shape, shape[-1])
    return A @ A.mT + 0.1 * torch.eye(shape[-1], dtype=D)


@seeds
@settings(max_examples=25)
def test_three_ways_to_the_fisher_information_of_an_exponential_family(seed):
    """Covariance of the statistics, outer products of scores, and the curvature of ln Z."""
    statistics, theta = normals(seed, 7, 3), normals(seed + 1, 3)

    def log_likelihood(theta):
        return torch.log_softmax(statistics @ theta, dim=0)

    p = log_likelihood(theta).exp()
    curvature = torch.func.hessian(lambda theta: (statistics @ theta).logsumexp(dim=0))(theta)
    by_covariance = fisher.exponential_family_fisher(statistics, p)
    torch.testing.assert_close(by_covariance, curvature, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(
        fisher.fisher_information(statistics - p @ statistics, p), curvature, rtol=1e-10, atol=1e-12
    )
    torch.testing.assert_close(fisher.log_likelihood_fisher(log_likelihood, theta), curvature, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        by_covariance, np.cov(statistics.numpy().T, aweights=p.numpy(), bias=True), rtol=1e-9, atol=1e-12
    )
    # Twice the divergence of a neighbour, to second order.
    step = 1e-4 * normals(seed + 2, 3)
    divergence = fisher.kullback_leibler(p, log_likelihood(theta + step).exp())
    assert 2 * float(divergence) == pytest.approx(float(step @ curvature @ step), rel=2e-2, abs=1e-14)


def test_batches_of_families():
    statistics, theta = normals(1, 5, 2), normals(2, 4, 3, 2)

    def log_likelihood(theta):
        return torch.log_softmax(statistics @ theta, dim=0)

    together = fisher.log_likelihood_fisher(log_likelihood, theta)
    assert together.shape == (4, 3, 2, 2)
    torch.testing.assert_close(together[2, 1], fisher.log_likelihood_fisher(log_likelihood, theta[2, 1]))
    p = (theta @ statistics.mT).softmax(-1)
    torch.testing.assert_close(fisher.exponential_family_fisher(statistics, p), together)
    for one in (fisher.fisher_information, fisher.exponential_family_fisher):
        torch.testing.assert_close(one(statistics, p)[1, 2], one(statistics, p[1, 2]))
    torch.testing.assert_close(fisher.fisher_information(statistics), fisher.fisher_information(statistics, [0.2] * 5))


def test_a_sample_estimates_the_information_of_a_normal():
    """Scores of a million draws, against the exact matrix; the error is one of sampling."""
    mean, sd, size = 1.5, 0.7, 1_000_000
    z = normals(0, size)
    scores = torch.stack([z / sd, (z.square() - 1) / sd], dim=-1)
    found = fisher.fisher_information(scores)
    torch.testing.assert_close(found, fisher.normal_metric([mean, sd]), rtol=0, atol=8 * 15 / math.sqrt(size))


def test_categorical_information_in_free_coordinates():
    """The metric of the simplex, pulled back to all classes but the last: diag(1/p) + 1/p_last."""
    p = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=D)
    J = torch.cat([torch.eye(3, dtype=D), -torch.ones(1, 3, dtype=D)])
    expected = torch.diag(1 / p[:3]) + 1 / p[3]
    torch.testing.assert_close(fisher.pull_back(fisher.categorical_metric(p), J), expected)

    def log_likelihood(free):
        return torch.cat([free, 1 - free.sum(0, keepdim=True)]).log()

    torch.testing.assert_close(fisher.log_likelihood_fisher(log_likelihood, p[:3]), expected)
    # The inverse is the covariance of one draw: the bound of Cramer and Rao is reached.
    torch.testing.assert_close(expected.inverse(), torch.diag(p[:3]) - torch.outer(p[:3], p[:3]))


@seeds
@settings(max_examples=25)
def test_a_step_against_numpy(seed):
    theta, grad = normals(seed, 2, 4, 5)
    F = positive_definite(seed, 4, 5)
    found = fisher.natural_gradient_step(theta, grad, F, 0.3, damping=0.01)
    expected = theta.numpy() - 0.3 * np.linalg.solve(F.numpy() + 0.01 * np.eye(5), grad.numpy()[..., None])[..., 0]
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)
    torch.testing.assert_close(found[2], fisher.natural_gradient_step(theta[2], grad[2], F[2], 0.3, damping=0.01))
    rates = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=D)
    apart = torch.stack([fisher.natural_gradient_step(*one) for one in zip(theta, grad, F, rates)])
    torch.testing.assert_close(fisher.natural_gradient_step(theta, grad, F, rates), apart)


@seeds
@settings(max_examples=25)
def test_a_linear_change_of_coordinates_changes_nothing(seed):
    """theta = A phi: gradient A^T g, information A^T F A; the step arrives at the same distribution."""
    theta, grad = normals(seed, 2, 4)
    F, A = positive_definite(seed, 4), normals(seed + 3, 4, 4) + 3 * torch.eye(4, dtype=D)
    assume(torch.linalg.cond(A) < 1e3)
    phi = torch.linalg.solve(A, theta)
    there = fisher.natural_gradient_step(phi, A.mT @ grad, fisher.pull_back(F, A), 0.3)
    torch.testing.assert_close(A @ there, fisher.natural_gradient_step(theta, grad, F, 0.3), rtol=1e-7, atol=1e-8)


def test_it_reaches_an_exponential_family_where_the_plain_gradient_crawls():
    """Two statistics of very different size: curvature 1e4 apart, a handful of steps."""
    statistics = torch.tensor([[0, 0], [100.0, 0], [0, 1], [100, 1]], dtype=D) / 10
    data = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=D) @ statistics
    theta = torch.zeros(2, dtype=D)
    for _ in range(8):
        p = (statistics @ theta).softmax(0)
        F = fisher.exponential_family_fisher(statistics, p)
        theta = fisher.natural_gradient_step(theta, p @ statistics - data, F, 1.0)
    torch.testing.assert_close((statistics @ theta).softmax(0) @ statistics, data, rtol=1e-12, atol=0)


def test_gradients():
    F, grad = positive_definite(3, 3), normals(4, 3)
    inputs = [x.clone().requires_grad_() for x in (normals(5, 3), grad, F, torch.tensor(0.2, dtype=D))]

    def step(theta, grad, F, damping):
        return fisher.natural_gradient_step(theta, grad, (F + F.mT) / 2, 0.5, damping)

    assert torch.autograd.gradcheck(step, inputs)


def test_the_page_computes_the_same():
    def everything(a, b):
        p = torch.stack([0.3 * a, 0.5 * a, 1 - 0.8 * a])
        statistics = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
        F = fisher.exponential_family_fisher(statistics, p) + b * torch.eye(2, dtype=D)
        out = [
            F,
            fisher.fisher_information(statistics, p),
            fisher.natural_gradient_step([a, b], [1.0, a], F, b, 0.1),
            fisher.pull_back(F, F),
            fisher.log_likelihood_fisher(lambda theta: torch.log_softmax(theta, 0), torch.stack([a, b])),
        ]
        return torch.cat([value.reshape(-1) for value in out])

    settings = ({"a": 0.7, "b": 0.3}, {"a": 0.95, "b": 0.8})
    for found, expected in replays(recorded(everything, {"a": 0.9, "b": 0.4}), everything, settings):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


def test_the_reference_of_scipy():
    """Expected squared score of an event, by scipy's own sum."""
    p = 0.3
    expected = scipy.stats.bernoulli(p).expect(lambda x: (x / p - (1 - x) / (1 - p)) ** 2)
    found = fisher.fisher_information([[-1 / (1 - p)], [1 / p]], [1 - p, p])
    assert float(found) == pytest.approx(float(expected), rel=1e-12)


EYE = np.eye(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fisher.fisher_information([[1.0], [2.0]], [0.5, 0.6]), r"probabilities must sum to 1.*got 1\.1"),
        (lambda: fisher.fisher_information([[1.0], [2.0]], [1.0]), r"probabilities must have shape \(\.\.\., 2\)"),
        (lambda: fisher.fisher_information([1.0, 2.0]), r"scores must have shape \(\.\.\., n, n\)"),
        (lambda: fisher.exponential_family_fisher([[1.0], [2.0]], [1.5, -0.5]), "probabilities must have entries of"),
        (lambda: fisher.log_likelihood_fisher(3, [0.0]), "log_likelihood must be a function"),
        (lambda: fisher.log_likelihood_fisher(lambda t: t, [1.0]), "log_likelihood must give probabilities that sum"),
        (
            lambda: fisher.log_likelihood_fisher(lambda t: t.sum(), [1.0]),
            r"log_likelihood must return a tensor of shape \(outc",
        ),
        (
            lambda: fisher.log_likelihood_fisher(lambda t: torch.cat([t, 1 - t, 0 * t]).log(), [0.3]),
            "log_likelihood must be finite: every outcome needs a probability above 0, got -inf",
        ),
        (lambda: fisher.natural_gradient([1.0, 1.0], [[1.0, 0.5], [0.0, 1.0]]), "fisher must be symmetric"),
        (lambda: fisher.natural_gradient([1.0, 1.0], [[1.0, 1.0], [1.0, 1.0]]), "fisher must be positive definite"),
        (lambda: fisher.natural_gradient([1.0, 1.0], [[1.0, 0.0], [0.0, -1.0]]), "fisher must be positive definite"),
        (lambda: fisher.natural_gradient([1.0], EYE), r"grad must have shape \(\.\.\., 2\), got \(1,\)"),
        (lambda: fisher.natural_gradient([1.0, 1.0], EYE, -0.1), "damping must be at least 0, got -0.1"),
        (lambda: fisher.natural_gradient_step([1.0, 1], [1.0, 1], EYE, 0.0), "lr must be above 0, got 0"),
        (lambda: fisher.natural_gradient_step([1.0], [1.0, 1], EYE, 0.1), "theta must have shape"),
        (lambda: fisher.natural_gradient_step(np.ones((2, 2)), np.ones((3, 2)), EYE, 0.1), "leading dimensions of th"),
        (lambda: fisher.pull_back(EYE, np.ones((3, 2))), r"J must have shape \(\.\.\., 2, n\)"),
        (lambda: fisher.pull_back(np.ones((2, 3)), EYE), "F must be a square matrix"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_damping_repairs_a_singular_matrix():
    found = fisher.natural_gradient([1.0, 1.0], [[1.0, 1.0], [1.0, 1.0]], damping=1.0)
    torch.testing.assert_close(found, torch.tensor([1 / 3, 1 / 3], dtype=D))
