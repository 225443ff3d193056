"""Ising observers: exact mean statistics and Fisher information of spins on a graph.

Spins s_i = +1 or -1 sit on the nodes of a graph, p(s) proportional to exp(sum over edges of theta_e s_i s_j), without
fields. The statistics are T_e = s_i s_j; their covariance is the Fisher information in the couplings. Everything is
exact, by enumeration of the 2^(n-1) states with the last spin up (turning all spins over changes no product), and
batched over leading dimensions of the couplings.

Up to 10 spins the states stand in one small table. Above that, energies and moments are two fast Walsh-Hadamard
transforms: products of spins are characters of the group of states, so that the energy is the transform of the
couplings and every moment <T_e T_f> is one entry of the transform of p.

Source: M. Zhuravlev, arXiv:2603.09067, section 7.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from lib import checks
from lib.fisher import exponential_family_fisher

__all__ = [
    "GALLERY",
    "edge_statistics",
    "ising_fisher",
    "ising_log_partition",
    "ising_mean",
    "observer_graph",
]

LARGEST = 22
TABLE = 10
# Numbers of one block of a batch: 32 MiB of float64.
BLOCK = 2**22

Edges = tuple[tuple[int, int], ...]


def _cycle(n: int) -> Edges:
    return tuple((node, (node + 1) % n) for node in range(n))


def _complete(n: int) -> Edges:
    return tuple((first, second) for first in range(n) for second in range(first + 1, n))


def _grid(side: int) -> Edges:
    across = [(side * row + place, side * row + place + 1) for row in range(side) for place in range(side - 1)]
    down = [(side * row + place, side * (row + 1) + place) for row in range(side - 1) for place in range(side)]
    return tuple(across + down)


def _petersen() -> Edges:
    spokes = tuple((node, node + 5) for node in range(5))
    star = tuple((5 + node, 5 + (node + 2) % 5) for node in range(5))
    return _cycle(5) + spokes + star


# Name -> (edges, number of spins).
GALLERY: dict[str, tuple[Edges, int]] = {
    "path": (tuple((node, node + 1) for node in range(5)), 6),
    "star": (tuple((0, leaf) for leaf in range(1, 6)), 6),
    "binary tree": (tuple(((node - 1) // 2, node) for node in range(1, 7)), 7),
    "cycle": (_cycle(6), 6),
    "C4": (_cycle(4), 4),
    "C5": (_cycle(5), 5),
    "diamond": (_complete(4)[:5], 4),
    "K3": (_complete(3), 3),
    "K4": (_complete(4), 4),
    "K5": (_complete(5), 5),
    "K3,3": (tuple((left, right) for left in range(3) for right in range(3, 6)), 6),
    "grid 3x3": (_grid(3), 9),
    "Petersen": (_petersen(), 10),
}


def observer_graph(name: str) -> tuple[Edges, int]:
    """One of the graphs that the book looks at.

    Parameters
    ----------
    name : str
        A key of ``GALLERY``: path, star, binary tree, cycle (6 nodes), C4, C5, diamond, K3, K4, K5, K3,3, grid 3x3 or
        Petersen.

    Returns
    -------
    edges : tuple of (int, int)
    n : int
        Number of spins.

    Raises
    ------
    ValueError
        If there is no such graph.

    Examples
    --------
    >>> observer_graph("K3")
    (((0, 1), (0, 2), (1, 2)), 3)
    """
    checks.choice("name", name, tuple(GALLERY))
    return GALLERY[name]


def edge_statistics(edges, n: int) -> Tensor:
    """Products of the spins at the ends of every edge, in every state with the last spin up.

    Parameters
    ----------
    edges : sequence of (int, int)
        Pairs of different spins, each pair once.
    n : int
        Number of spins, at most 22. The table takes 2^(n-1) m numbers of 8 bytes: 1 GB for 22 spins and 60 edges.

    Returns
    -------
    Tensor, (2^(n-1), m)
        In state number k, spin i below n - 1 is -1 where bit i of k is set.

    Raises
    ------
    ValueError
        If an edge is a loop, stands twice or leads out of the graph, or n is out of range.

    Examples
    --------
    >>> edge_statistics([(0, 1), (1, 2)], 3).tolist()
    [[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]]
    """
    edges, n = check_graph(edges, n)
    return _statistics(edges, n)


def ising_log_partition(edges, n: int, couplings) -> Tensor:
    """Logarithm of the partition function, ln of the sum of exp(theta . T) over all 2^n states.

    Parameters
    ----------
    edges, n, couplings
        As in :func:`ising_fisher`.

    Returns
    -------
    Tensor, (...)
        Its gradient in the couplings is the mean, its second derivative the Fisher information.

    Raises
    ------
    ValueError
        As :func:`ising_fisher`.

    Examples
    --------
    >>> round(float(ising_log_partition([(0, 1)], 2, [0.0]).exp()), 12)
    4.0
    """
    return _in_blocks(edges, n, couplings, "log_partition")


def ising_mean(edges, n: int, couplings) -> Tensor:
    """Mean of the product of the spins at the ends of every edge.

    Parameters
    ----------
    edges, n, couplings
        As in :func:`ising_fisher`.

    Returns
    -------
    Tensor, (..., m)

    Raises
    ------
    ValueError
        As :func:`ising_fisher`.

    Examples
    --------
    On a tree each edge stands alone, with mean tanh(theta).

    >>> ising_mean([(0, 1), (1, 2)], 3, [0.5, -0.5])
    tensor([ 0.4621, -0.4621], dtype=torch.float64)
    """
    return _in_blocks(edges, n, couplings, "mean")


def ising_fisher(edges, n: int, couplings) -> Tensor:
    """Fisher information of the couplings: the covariance of the edge statistics.

    Parameters
    ----------
    edges : sequence of (int, int)
        Pairs of different spins, each pair once.
    n : int
        Number of spins, from 2 to 22.
    couplings : array_like, (..., m)
        One per edge.

    Returns
    -------
    Tensor, (..., m, m)
        Symmetric and positive semidefinite, to a rounding of about 1e-15 in each entry.

    Raises
    ------
    ValueError
        If n is above 22, an edge is a loop, stands twice or leads out of the graph, there is not one coupling per
        edge, or couplings are so large that their sum is infinite.

    Notes
    -----
    A batch is worked off in blocks of 32 MiB. One system of n > 10 spins needs three arrays of 2^(n-1) numbers: 48 MiB
    for 22 spins in float64, as measured on a CPU.

    Examples
    --------
    >>> ising_fisher([(0, 1), (1, 2), (0, 2)], 3, [0.5, 0.5, 0.5])
    tensor([[0.6218, 0.2368, 0.2368],
            [0.2368, 0.6218, 0.2368],
            [0.2368, 0.2368, 0.6218]], dtype=torch.float64)
    """
    return _in_blocks(edges, n, couplings, "fisher")


def check_graph(edges, n: int) -> tuple[Edges, int]:
    """Read the edges of a graph as pairs in the order given."""
    n = checks.integer("n", n, lowest=2, highest=LARGEST)
    problem = f"edges must be pairs of different spins from 0 to {n - 1}, each pair once"
    if isinstance(edges, (str, dict)) or not isinstance(edges, Sequence) or len(edges) == 0:
        raise ValueError(f"{problem}, got {checks.describe(edges)}")
    seen = set()
    for edge in edges:
        fits = isinstance(edge, Sequence) and len(edge) == 2
        fits = fits and all(isinstance(node, int) and not isinstance(node, bool) and 0 <= node < n for node in edge)
        if not fits or edge[0] == edge[1] or frozenset(edge) in seen:
            raise ValueError(f"{problem}, got {checks.describe(edge)} among them")
        seen.add(frozenset(edge))
    return tuple((first, second) for first, second in edges), n


def check_couplings(name: str, couplings, edges: Edges) -> Tensor:
    (couplings,) = checks.tensors(**{name: couplings})
    checks.shape(name, couplings, len(edges))
    total = couplings.abs().sum(dim=-1)
    checks.require(total.isfinite(), f"{name} must be small enough for the energy of a state, their sum, to be finite")
    return couplings


def moments(edges: Edges, n: int, couplings: Tensor) -> Iterator[Tensor]:
    """Yield log partition function, mean and Fisher information, as far as they are asked for."""
    yield from (_by_table if n <= TABLE else _by_transform)(edges, n, couplings)


def _in_blocks(edges, n: int, couplings, wanted: str) -> Tensor:
    edges, n = check_graph(edges, n)
    couplings = check_couplings("couplings", couplings, edges)
    place = ("log_partition", "mean", "fisher").index(wanted)
    if couplings.dim() == 1:
        blocks = [couplings]
    else:
        per_system = 2 ** (n - 1) * 3 + len(edges) ** 2
        blocks = couplings.reshape(-1, len(edges)).split(max(1, BLOCK // per_system))
    found = []
    for block in blocks:
        steps = moments(edges, n, block)
        for _ in range(place):
            next(steps)
        found.append(next(steps))
    if couplings.dim() == 1:
        return found[0]
    whole = torch.cat(found)
    return whole.reshape(couplings.shape[:-1] + whole.shape[1:])


def _by_table(edges: Edges, n: int, couplings: Tensor) -> Iterator[Tensor]:
    T = _table(edges, n).to(couplings)
    energy = couplings @ T.mT
    highest = energy.amax(dim=-1, keepdim=True)
    weight = (energy - highest).exp()
    total = weight.sum(dim=-1, keepdim=True)
    yield (highest + total.log())[..., 0] + math.log(2)
    p = weight / total
    mean = p @ T
    yield mean
    if p.dim() == 1:
        yield exponential_family_fisher(T, p)
        return
    # For many systems the second moments are one product with the table of T_e T_f, ten times faster than one each.
    products = (T[:, :, None] * T[:, None, :]).flatten(start_dim=1)
    second = (p @ products).unflatten(-1, (T.shape[1], T.shape[1]))
    yield second - mean[..., :, None] * mean[..., None, :]


def _by_transform(edges: Edges, n: int, couplings: Tensor) -> Iterator[Tensor]:
    states = 2 ** (n - 1)
    masks = _masks(edges, n).to(couplings.device)
    energy = walsh_hadamard(couplings.new_zeros(*couplings.shape[:-1], states).index_copy(-1, masks, couplings))
    highest = energy.amax(dim=-1, keepdim=True)
    weight = (energy - highest).exp()
    total = weight.sum(dim=-1, keepdim=True)
    yield (highest + total.log())[..., 0] + math.log(2)
    del energy  # 16 MiB for 22 spins
    spectrum = walsh_hadamard(weight) / total
    mean = spectrum[..., masks]
    yield mean
    yield spectrum[..., masks[:, None] ^ masks] - mean[..., :, None] * mean[..., None, :]


def walsh_hadamard(x: Tensor) -> Tensor:
    """Sum of x over the last dimension with the signs (-1)^(number of common bits), for every index.

    Four bits at a time are one product with a matrix of signs, faster than one bit after the other.
    """
    shape, bits = x.shape, x.shape[-1].bit_length() - 1
    for done in range(0, bits, 4):
        width = min(4, bits - done)
        signs = x.new_ones(1, 1)
        for _ in range(width):
            signs = torch.cat([torch.cat([signs, signs], dim=1), torch.cat([signs, -signs], dim=1)])
        # Rows of a single number are many times slower than one product; expanding the signs saves a copy of x.
        x = x.reshape(-1, 2**width, 2**done)
        x = torch.bmm(signs.expand(len(x), -1, -1), x) if done else x[..., 0] @ signs
    return x.reshape(shape)


def _masks(edges: Edges, n: int) -> Tensor:
    """Bits of the two spins of each edge; the last spin is always up and has none."""
    free = 2 ** (n - 1) - 1
    return torch.tensor([((1 << first) | (1 << second)) & free for first, second in edges])


def _statistics(edges: Edges, n: int) -> Tensor:
    states = torch.arange(2 ** (n - 1))
    T = torch.empty(len(states), len(edges), dtype=torch.float64)
    # Edge by edge: all at once would take four times the room.
    for column, (first, second) in enumerate(edges):
        T[:, column] = 1 - 2 * (((states >> first) ^ (states >> second)) & 1)
    return T


@lru_cache(maxsize=32)
def _table(edges: Edges, n: int) -> Tensor:
    """The statistics of a small system, kept; not to be written to."""
    return _statistics(edges, n)
