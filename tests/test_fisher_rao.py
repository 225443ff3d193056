"""Fisher-Rao distances and geodesics: acceptance numbers, properties of a metric, independent references."""

import math
from functools import partial

import mpmath
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib import fisher
from tests import metric_properties as properties
from tests.replays import recorded, replays

D = torch.float64
P, Q = [0.2, 0.5, 0.3], [0.25, 0.4, 0.35]


def uniforms(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=D)


def simplex_points(seed, classes, pairs=40, zeros=False):
    """Points of the simplex: some near its middle, some near corners, with ``zeros`` some on its faces."""
    draws = uniforms(seed, 3, pairs, classes)
    weights = (-draws.log()) ** (1 + 6 * draws[..., :1]) + 1e-12
    if zeros:
        weights = weights * (uniforms(seed + 1, 3, pairs, classes) > 0.4)
        weights[..., 0] += 1e-3
    return weights / weights.sum(dim=-1, keepdim=True)


def event_points(seed, pairs=40):
    a = uniforms(seed, 3, pairs, 1)
    a[:, :4] = a[:, :4] ** 30
    return a


def normal_points(seed, pairs=40):
    draws = uniforms(seed, 3, pairs, 2)
    mean = 20 * (draws[..., 0] - 0.5) ** 3
    return torch.stack([mean, (6 * (draws[..., 1] - 0.5)).exp()], dim=-1)


def event_distance(p, q):
    return fisher.bernoulli_distance(p[..., 0], q[..., 0])


def event_geodesic(p, q, t):
    both = fisher.fisher_rao_geodesic(torch.cat([p, 1 - p], -1), torch.cat([q, 1 - q], -1), t)
    return both[..., :1]


def event_metric(p):
    return (1 / (p * (1 - p)))[..., None]


FAMILIES = {
    "two classes": (
        fisher.fisher_rao_distance,
        fisher.fisher_rao_geodesic,
        fisher.categorical_metric,
        partial(simplex_points, classes=2),
    ),
    "three classes": (
        fisher.fisher_rao_distance,
        fisher.fisher_rao_geodesic,
        fisher.categorical_metric,
        partial(simplex_points, classes=3),
    ),
    "seven classes": (
        fisher.fisher_rao_distance,
        fisher.fisher_rao_geodesic,
        fisher.categorical_metric,
        partial(simplex_points, classes=7),
    ),
    "events": (event_distance, event_geodesic, event_metric, event_points),
    "normals": (fisher.normal_distance, fisher.normal_geodesic, fisher.normal_metric, normal_points),
}
family = pytest.mark.parametrize(("distance", "geodesic", "metric", "points"), FAMILIES.values(), ids=FAMILIES)
seeds = given(st.integers(0, 2**31 - 1))


@family
@seeds
@settings(max_examples=20)
def test_a_distance(distance, geodesic, metric, points, seed):
    p, q, r = points(seed)
    properties.is_symmetric(distance, p, q)
    properties.separates(distance, p, q)
    properties.satisfies_the_triangle_inequality(distance, p, q, r)
    properties.does_not_slope_at_equal_points(distance, p)


@family
@seeds
@settings(max_examples=15)
def test_a_geodesic(distance, geodesic, metric, points, seed):
    p, q, _ = points(seed)
    properties.runs_at_constant_speed(distance, geodesic, p, q)
    properties.joins_the_ends(geodesic, p, q)
    again = geodesic(p, p, torch.linspace(0, 1, 4, dtype=D))
    torch.testing.assert_close(again, p[..., None, :].expand_as(again), rtol=1e-14, atol=0)
    # One time without a dimension of its own.
    torch.testing.assert_close(geodesic(p, q, 0.25), geodesic(p, q, [0.25])[..., 0, :], rtol=0, atol=0)


@family
@seeds
@settings(max_examples=15)
def test_a_distance_belongs_to_its_metric(distance, geodesic, metric, points, seed):
    p, q, _ = points(seed)
    step = geodesic(p, q, 1e-5) - p
    # Small: the metric is about the same at both ends (near a face of the simplex no step of this length is).
    here, there = metric(p), metric(p + step)
    small = ((there - here).abs() <= 1e-2 * here.abs()).all(dim=-1).all(dim=-1)
    assert small.sum() > 10
    properties.measures_small_steps(distance, metric, p[small], step[small], rtol=1e-5)


@seeds
@settings(max_examples=15)
def test_no_metric_but_this_one_sees_so_little(seed):
    """Cencov: permutations and Markov embeddings change nothing; merging classes only shortens."""
    p, q, _ = simplex_points(seed, classes=5, zeros=True)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    properties.is_invariant(fisher.fisher_rao_distance, p, q, lambda x: x[..., order])
    # Class i becomes outcomes 2 i and 2 i + 1 with shares s and 1 - s that do not depend on p.
    share = uniforms(seed, 5)

    def split(x):
        return torch.stack([share * x, (1 - share) * x], dim=-1).flatten(-2)

    properties.is_invariant(fisher.fisher_rao_distance, p, q, split)
    merged = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1], [0, 1]], dtype=D)
    properties.contracts(fisher.fisher_rao_distance, p, q, lambda x: x @ merged)
    noisy = simplex_points(seed + 5, classes=4, pairs=5)[0]
    properties.contracts(fisher.fisher_rao_distance, p, q, lambda x: x @ noisy)
    # Two independent copies: the overlaps multiply.
    torch.testing.assert_close(
        fisher.bhattacharyya_coefficient(
            *((x[..., :, None] * x[..., None, :]).flatten(-2) for x in (p, q)),
        ),
        fisher.bhattacharyya_coefficient(p, q) ** 2,
    )


@seeds
@settings(max_examples=15)
def test_an_affine_change_of_unit_moves_no_normal(seed):
    p, q, _ = normal_points(seed)
    scale, shift = uniforms(seed + 1, 2)
    properties.is_invariant(
        fisher.normal_distance,
        p,
        q,
        lambda x: torch.stack([3 * scale * x[..., 0] - 9 * shift, 3 * scale * x[..., 1]], dim=-1),
        atol=1e-11,
    )


def test_brief_1_distances():
    assert float(fisher.fisher_rao_distance([1.0, 0, 0], [0, 1.0, 0])) == pytest.approx(math.pi, abs=1e-15)
    assert float(fisher.fisher_rao_distance(P, Q)) == pytest.approx(0.2029184183, abs=5e-11)
    assert float(fisher.bernoulli_distance(0.3, 0.7)) == pytest.approx(0.8230336921, abs=5e-11)
    assert float(fisher.fisher_rao_distance([0.3, 0.7], [0.7, 0.3])) == pytest.approx(0.8230336921, abs=5e-11)
    assert math.sqrt(2 * float(fisher.kullback_leibler(P, Q))) == pytest.approx(0.20346, abs=5e-6)
    along = fisher.curve_length(lambda t: fisher.fisher_rao_geodesic(P, Q, t), fisher.categorical_metric)
    assert float(along) == pytest.approx(float(fisher.fisher_rao_distance(P, Q)), abs=1e-12)
    p, q = torch.tensor([P, Q], dtype=D)
    chord = fisher.curve_length(lambda t: p + t[:, None] * (q - p), fisher.categorical_metric)
    assert float(chord) == pytest.approx(0.2029239, abs=5e-8)
    assert float(along) == pytest.approx(0.2029184, abs=5e-8)


@given(st.integers(2, 9), st.integers(0, 2**31 - 1))
@settings(max_examples=30)
def test_against_the_textbook_and_scipy(classes, seed):
    p, q, _ = simplex_points(seed, classes, zeros=True)
    overlap = np.sqrt(p.numpy() * q.numpy()).sum(-1)
    np.testing.assert_allclose(fisher.bhattacharyya_coefficient(p, q), overlap, rtol=1e-14)
    expected = 2 * np.arccos(overlap.clip(max=1))
    # The arc cosine is what is uncertain here, by sqrt(2 eps) near 1.
    np.testing.assert_allclose(fisher.fisher_rao_distance(p, q), expected, atol=5e-8)
    apart = expected > 0.1
    np.testing.assert_allclose(fisher.fisher_rao_distance(p, q)[apart], expected[apart], rtol=1e-13)
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(
            fisher.kullback_leibler(p, q), scipy.stats.entropy(p.numpy(), q.numpy(), axis=-1), rtol=1e-9, atol=1e-14
        )
    a, b = p[..., 0].numpy(), q[..., 0].numpy()
    arcs = 2 * np.abs(np.arcsin(np.sqrt(a)) - np.arcsin(np.sqrt(b)))
    np.testing.assert_allclose(fisher.bernoulli_distance(a, b), arcs, rtol=1e-9, atol=1e-9)


def test_every_case_of_infinite_divergence():
    assert fisher.kullback_leibler([[1.0, 0], [0.5, 0.5]], [[0, 1.0], [1.0, 0]]).isinf().all()
    assert float(fisher.kullback_leibler([1.0, 0], [0.5, 0.5])) == pytest.approx(math.log(2))
    assert float(fisher.bhattacharyya_coefficient([1.0, 0], [0, 1.0])) == 0


@pytest.mark.parametrize("step", [1e-3, 1e-6, 1e-9, 1e-12, 1e-15])
def test_tiny_distances_keep_their_digits(step):
    """Fifty digits as the reference: where 2 arccos(sum sqrt(p q)) has none left, ours has fifteen."""
    p = torch.tensor(P, dtype=D)
    q = p + step * torch.tensor([1.0, -2.0, 1.0], dtype=D)
    with mpmath.workdps(50):
        roots = [(mpmath.sqrt(a) - mpmath.sqrt(b)) for a, b in zip(p.tolist(), q.tolist())]
        chord = mpmath.sqrt(sum(root**2 for root in roots))
        expected = float(4 * mpmath.asin(chord / 2))
        events = [mpmath.asin(mpmath.sqrt(x)) for x in (float(p[0]), float(q[0]))]
        expected_events = float(2 * abs(events[0] - events[1]))
        (m, s), (n, t) = p[:2].tolist(), q[:2].tolist()
        inside = 1 + ((mpmath.mpf(m) - n) ** 2 / 2 + (mpmath.mpf(s) - t) ** 2) / (2 * mpmath.mpf(s) * t)
        expected_normals = float(mpmath.sqrt(2) * mpmath.acosh(inside))
    assert float(fisher.fisher_rao_distance(p, q)) == pytest.approx(expected, rel=1e-14)
    assert float(fisher.bernoulli_distance(p[0], q[0])) == pytest.approx(expected_events, rel=1e-14)
    assert float(fisher.normal_distance(p[:2], q[:2])) == pytest.approx(expected_normals, rel=1e-14)
    halfway = fisher.fisher_rao_geodesic(p, q, 0.5)
    torch.testing.assert_close(halfway, (p + q) / 2, rtol=max(step, 1e-15), atol=0)


def test_faces_and_corners():
    corner, other = torch.eye(4, dtype=D)[:2]
    middle = fisher.fisher_rao_geodesic(corner, other, 0.5)
    torch.testing.assert_close(middle, torch.tensor([0.5, 0.5, 0, 0], dtype=D))
    assert middle[2:].tolist() == [0, 0]
    x, y = corner.clone().requires_grad_(), other.clone().requires_grad_()
    for value in (
        fisher.fisher_rao_distance(x, y),
        fisher.fisher_rao_geodesic(x, y, [0.3, 0.6]).square().sum(),
        fisher.bhattacharyya_coefficient(x, y),
        fisher.bernoulli_distance(x, y).sum(),
    ):
        assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(value, (x, y)))
    assert float(fisher.fisher_rao_distance([1.0], [1.0])) == 0


def test_divergence_of_nearly_equal_distributions_is_not_negative():
    p, _, _ = simplex_points(4, 5, pairs=1000)
    q = p * (1 + 1e-9 * (uniforms(5, 1000, 5) - 0.5))
    q = q / q.sum(dim=-1, keepdim=True)
    found = fisher.kullback_leibler(p, q)
    assert found.min() >= 0
    torch.testing.assert_close(found, fisher.fisher_rao_distance(p, q) ** 2 / 2, rtol=0, atol=2e-15)


def test_classes_without_probability_have_finite_gradients():
    """A softmax that underflows must not turn a whole training step into NaN."""
    x, y = (torch.tensor(p, dtype=D, requires_grad=True) for p in ([0.0, 0.4, 0.6], [0.0, 0.5, 0.5]))
    by_p, by_q = torch.autograd.grad(fisher.kullback_leibler(x, y), (x, y))
    # Of the classes present: ln(p / q) + 1 and -p / q.
    torch.testing.assert_close(by_p, torch.tensor([0, math.log(0.8) + 1, math.log(1.2) + 1], dtype=D))
    torch.testing.assert_close(by_q, torch.tensor([0, -0.8, -1.2], dtype=D))


def half_plane_distance(p, q):
    """The arc cosh of geomstats and of the textbooks, in numpy."""
    x, y = p.copy(), q.copy()
    x[..., 0] /= math.sqrt(2)
    y[..., 0] /= math.sqrt(2)
    cosh = 1 + ((x - y) ** 2).sum(-1) / (2 * x[..., 1] * y[..., 1])
    return math.sqrt(2) * np.arccosh(cosh)


def ball_distance(p, q):
    """The way geomstats takes: half-plane to the disk of Poincare, and the distance there."""

    def to_disk(x):
        z = (x[..., 0] / math.sqrt(2) + 1j * x[..., 1]).astype(complex)
        return (z - 1j) / (z + 1j)

    u, v = to_disk(p), to_disk(q)
    cosh = 1 + 2 * np.abs(u - v) ** 2 / ((1 - np.abs(u) ** 2) * (1 - np.abs(v) ** 2))
    return math.sqrt(2) * np.arccosh(cosh)


@seeds
@settings(max_examples=30)
def test_normals_against_the_half_plane_and_the_disk(seed):
    p, q, _ = normal_points(seed)
    ours = fisher.normal_distance(p, q).numpy()
    np.testing.assert_allclose(ours, half_plane_distance(p.numpy(), q.numpy()), rtol=1e-9, atol=1e-7)
    np.testing.assert_allclose(ours, ball_distance(p.numpy(), q.numpy()), rtol=1e-5, atol=1e-5)


def test_normals_in_closed_form():
    s = math.e
    assert float(fisher.normal_distance([5.0, 1.0], [5.0, s])) == pytest.approx(math.sqrt(2), rel=1e-15)
    # Far apart, where a hyperbolic tangent has rounded to 1 long ago.
    far = float(fisher.normal_distance([0.0, 1e-100], [0.0, 1e100]))
    assert far == pytest.approx(math.sqrt(2) * 200 * math.log(10), rel=1e-14)
    path = fisher.normal_geodesic([0.0, 1e-100], [0.0, 1e100], [0.0, 0.25, 0.5, 1.0])
    np.testing.assert_allclose(path[:, 1], [1e-100, 1e-50, 1.0, 1e100], rtol=1e-10)
    # Geodesics are half ellipses mean^2 + 2 sd^2 = constant about a centre on the axis.
    path = fisher.normal_geodesic([-1.0, 1.0], [1.0, 1.0], torch.linspace(0, 1, 9, dtype=D))
    torch.testing.assert_close(path[:, 0] ** 2 + 2 * path[:, 1] ** 2, torch.full((9,), 3.0, dtype=D))


@pytest.mark.parametrize(("dtype", "unit"), [(torch.float32, 1e-30), (torch.float32, 1e30), (D, 1e-200), (D, 1e200)])
def test_the_unit_of_measurement_does_not_matter(dtype, unit):
    """Charges in coulomb or distances in metres to a galaxy: the squares would leave the range of the numbers."""
    p, q = torch.tensor([[0.3, 1.0], [-0.5, 2.0]], dtype=dtype)
    expected = fisher.normal_distance(p, q)
    torch.testing.assert_close(fisher.normal_distance(unit * p, unit * q), expected)
    halfway = fisher.normal_geodesic(p, q, 0.5)
    torch.testing.assert_close(fisher.normal_geodesic(unit * p, unit * q, 0.5) / unit, halfway)


def test_positions_lend_their_type_to_lists():
    t = torch.tensor([0.25, 0.5])
    assert fisher.fisher_rao_geodesic(P, Q, t).dtype == torch.float32
    assert fisher.normal_geodesic([0.0, 1.0], [1.0, 1.0], t).dtype == torch.float32


def test_a_length_in_the_type_of_the_curve():
    p, q = torch.tensor([P, Q], dtype=torch.float32)
    length = fisher.curve_length(lambda t: fisher.fisher_rao_geodesic(p, q, t), fisher.categorical_metric, like=p)
    assert length.dtype == torch.float32
    assert float(length) == pytest.approx(0.2029184, abs=1e-6)


def test_lengths_by_quadrature_of_another_kind():
    """scipy's adaptive quadrature of the speed, with the velocity by finite differences."""

    def length(path, metric):
        def speed(t, h=1e-6):
            here, step = path(t), (path(t + h) - path(t - h)) / (2 * h)
            return math.sqrt(float(step @ metric(here) @ step))

        return scipy.integrate.quad(speed, 2e-6, 1 - 2e-6, epsabs=1e-10)[0] + 4e-6 * speed(0.5)

    p, q = torch.tensor([P, [0.7, 0.1, 0.2]], dtype=D)
    found = length(lambda t: fisher.fisher_rao_geodesic(p, q, t), fisher.categorical_metric)
    assert found == pytest.approx(float(fisher.fisher_rao_distance(p, q)), abs=1e-8)
    a, b = torch.tensor([[-1.0, 0.5], [2.0, 1.5]], dtype=D)
    found = length(lambda t: fisher.normal_geodesic(a, b, t), fisher.normal_metric)
    assert found == pytest.approx(float(fisher.normal_distance(a, b)), abs=1e-7)
    ours = fisher.curve_length(lambda t: fisher.normal_geodesic(a, b, t), fisher.normal_metric)
    assert float(ours) == pytest.approx(float(fisher.normal_distance(a, b)), abs=1e-12)
    # Every other way is longer.
    straight = fisher.curve_length(lambda t: a + t[:, None] * (b - a), fisher.normal_metric)
    assert float(straight) > float(ours)


def test_a_batch_of_curves():
    p, q, _ = simplex_points(3, 4, pairs=5)
    lengths = fisher.curve_length(lambda t: fisher.fisher_rao_geodesic(p, q, t), fisher.categorical_metric)
    torch.testing.assert_close(lengths, fisher.fisher_rao_distance(p, q), rtol=1e-6, atol=0)


def test_gradients():
    u, v = (x.requires_grad_() for x in 4 * uniforms(7, 2, 3, 4))

    def on_the_simplex(u, v):
        p, q = u.softmax(-1), v.softmax(-1)
        return (
            fisher.fisher_rao_distance(p, q),
            fisher.fisher_rao_geodesic(p, q, [0.2, 0.7]),
            fisher.kullback_leibler(p, q),
            fisher.bhattacharyya_coefficient(p, q),
            fisher.bernoulli_distance(p[..., 0], q[..., 0]),
        )

    assert torch.autograd.gradcheck(on_the_simplex, (u, v))
    a, b = (x[:3].clone().requires_grad_() for x in normal_points(8)[:2])
    assert torch.autograd.gradcheck(
        lambda a, b: (fisher.normal_distance(a, b), fisher.normal_geodesic(a, b, [0.2, 0.7])), (a, b), atol=1e-5
    )


def test_batches_and_precision():
    p, q, _ = simplex_points(1, 3, pairs=6)
    every_pair = fisher.fisher_rao_distance(p[:, None], q)
    looped = torch.stack([torch.stack([fisher.fisher_rao_distance(a, b) for b in q]) for a in p])
    torch.testing.assert_close(every_pair, looped, rtol=1e-15, atol=0)
    assert fisher.fisher_rao_geodesic(p[:, None], q, [0.0, 1.0]).shape == (6, 6, 2, 3)
    assert fisher.normal_geodesic(normal_points(1)[0, :, None], normal_points(2)[0], 0.5).shape == (40, 40, 2)
    single = fisher.fisher_rao_distance(p.float(), q.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), fisher.fisher_rao_distance(p, q), rtol=1e-4, atol=1e-6)


def test_the_page_computes_the_same():
    """The functions of a figure, recorded at one setting and replayed at others."""

    def everything(a, b):
        p, q = torch.stack([0.3 * a, 0.5 * a, 1 - 0.8 * a]), [0.25, 0.4, 0.35]
        x = p.clone().requires_grad_()
        out = [
            fisher.fisher_rao_distance(p, q),
            fisher.fisher_rao_geodesic(p, q, torch.linspace(0, 1, 5, dtype=D)),
            fisher.fisher_rao_geodesic(p, q, b),
            fisher.fisher_rao_distance(p, p),
            fisher.kullback_leibler(p, q),
            fisher.bhattacharyya_coefficient(p, q),
            fisher.bernoulli_distance(a, b),
            fisher.normal_distance([a, b], [0.0, 1.0]),
            fisher.normal_geodesic([a, b], [0.0, 1.0], torch.linspace(0, 1, 5, dtype=D)),
            fisher.normal_metric([a, b]),
            fisher.categorical_metric(p),
            torch.autograd.grad(fisher.fisher_rao_distance(x, q), x)[0],
            torch.autograd.grad(fisher.fisher_rao_distance(x, p), x)[0],
        ]
        return torch.cat([value.reshape(-1) for value in out])

    settings = ({"a": 0.7, "b": 0.3}, {"a": 0.95, "b": 0.8})
    for found, expected in replays(recorded(everything, {"a": 0.9, "b": 0.4}), everything, settings):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fisher.fisher_rao_distance([0.5, 0.6], [0.5, 0.5]), r"p must sum to 1 over its last dim.*got 1\.1"),
        (lambda: fisher.fisher_rao_distance([0.5, 0.5], [-0.5, 1.5]), "q must have entries of at least 0, got -0.5"),
        (lambda: fisher.fisher_rao_distance([0.5, 0.5], [1.0]), r"q must have shape \(\.\.\., 2\) like p, got \(1,\)"),
        (lambda: fisher.fisher_rao_distance(1.0, 1.0), r"p must have shape \(\.\.\., n\), got \(\)"),
        (lambda: fisher.kullback_leibler([[1.0, 0]] * 2, [[1.0, 0]] * 3), "leading dimensions of p and q"),
        (lambda: fisher.fisher_rao_geodesic(P, Q, 1.5), r"t must lie in \[0, 1\], got 1.5"),
        (lambda: fisher.fisher_rao_geodesic(P, Q, [[0.5]]), r"t must be a number or have shape \(times,\)"),
        (lambda: fisher.normal_geodesic([0.0, 1.0], [0.0, 1.0], []), "t must be a number"),
        (lambda: fisher.normal_distance([0.0, 0.0], [0.0, 1.0]), "p must have a standard deviation above 0, got 0"),
        (lambda: fisher.normal_distance([0.0, 1.0, 2.0], [0.0, 1.0]), r"p must have shape \(\.\.\., 2\)"),
        (lambda: fisher.bernoulli_distance(0.5, 1.2), r"b must lie in \[0, 1\], got 1.2"),
        (lambda: fisher.categorical_metric([1.0, 0.0]), "p must be above 0 everywhere, got 0"),
        (lambda: fisher.curve_length(3, fisher.normal_metric), "curve must be a function, got 3"),
        (lambda: fisher.curve_length(lambda t: t, fisher.normal_metric), "curve must return points of shape"),
        (lambda: fisher.curve_length(lambda t: t[:, None], lambda p: p), "metric must return shape"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
