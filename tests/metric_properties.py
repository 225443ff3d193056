"""What every distance and every geodesic must satisfy, written once.

Each function takes points with a batch in front, ``(pairs, n)``, and asserts one property; a test draws the points.
"""

import torch


def is_symmetric(distance, p, q):
    """d(p, q) = d(q, p), to the last bit or two."""
    torch.testing.assert_close(distance(p, q), distance(q, p), rtol=1e-14, atol=0)


def separates(distance, p, q):
    """d(p, p) is exactly 0; d(p, q) is above 0 for points that differ."""
    assert distance(p, p).eq(0).all()
    differ = (p != q).any(dim=-1)
    assert (distance(p, q)[differ] > 0).all()


def satisfies_the_triangle_inequality(distance, p, q, r, slack=1e-12):
    """The way by r is not shorter than the direct one."""
    direct, detour = distance(p, q), distance(p, r) + distance(r, q)
    assert (direct <= detour * (1 + slack) + slack).all()


def is_invariant(distance, p, q, change, rtol=1e-12, atol=1e-13):
    """The distance does not see a change that loses nothing: a permutation, a split, a sufficient statistic."""
    torch.testing.assert_close(distance(change(p), change(q)), distance(p, q), rtol=rtol, atol=atol)


def contracts(distance, p, q, change, slack=1e-12):
    """A change that may lose something brings no two points further apart."""
    assert (distance(change(p), change(q)) <= distance(p, q) + slack).all()


def runs_at_constant_speed(distance, geodesic, p, q, pieces=8, rtol=1e-9, atol=1e-9):
    """d(x(s), x(t)) = |t - s| d(p, q) along the geodesic from p to q: it also realises the distance."""
    t = torch.linspace(0, 1, pieces + 1, dtype=p.dtype)
    path = geodesic(p, q, t)
    apart = distance(path[..., :, None, :], path[..., None, :, :])
    expected = (t[:, None] - t).abs() * distance(p, q)[..., None, None]
    torch.testing.assert_close(apart, expected, rtol=rtol, atol=atol)


def joins_the_ends(geodesic, p, q, rtol=1e-12, atol=1e-15):
    """The path starts at p and ends at q, and backwards it is the same path."""
    t = torch.linspace(0, 1, 6, dtype=p.dtype)
    path = geodesic(p, q, t)
    torch.testing.assert_close(path[..., 0, :], p, rtol=rtol, atol=atol)
    torch.testing.assert_close(path[..., -1, :], q, rtol=rtol, atol=atol)
    torch.testing.assert_close(path.flip(-2), geodesic(q, p, t), rtol=1e-9, atol=1e-12)


def measures_small_steps(distance, metric, p, step, rtol):
    """d(p, p + step)^2 = step^T g(p) step for a small step."""
    squared = torch.einsum("...i,...ij,...j->...", step, metric(p + step / 2), step)
    torch.testing.assert_close(distance(p, p + step), squared.sqrt(), rtol=rtol, atol=0)


def does_not_slope_at_equal_points(distance, p):
    """Where the distance has no gradient, at p = q, ours is 0 and not NaN."""
    here, there = p.clone().requires_grad_(), p.clone().requires_grad_()
    gradients = torch.autograd.grad(distance(here, there).sum(), (here, there))
    assert all(gradient.eq(0).all() for gradient in gradients)
