"""The asynchronous Kuramoto lattice site by site, in plain Python and float64: what fast paths are compared with."""

from __future__ import annotations

from itertools import pairwise
from math import cos, hypot, pi, remainder, sin

from lib.site_clocks import key, scramble

__all__ = ["loop_kuramoto", "loop_vortices"]


def loop_kuramoto(theta, omega, coupling, dt, rates, seed, steps, first_tick=0):
    """March a torus of phase oscillators with a clock at every site.

    Parameters
    ----------
    theta, omega, rates : list of list of float
        Phases (rad), natural frequencies (rad per unit of time) and probabilities to update at a tick: rows of sites.
    coupling, dt : float
        K, of which a quarter acts through each neighbour, and the length of a step.
    seed, steps, first_tick : int
        Seed of the clocks, number of ticks, and the tick to start with.

    Returns
    -------
    theta : list of list of float
        Phases in [-pi, pi].
    counts : list of list of int
        How often each site has updated.
    order : float
        ``r = |mean of exp(i theta)|``.

    Examples
    --------
    >>> loop_kuramoto([[0.0, 1.0]], [[0.0, 0.0]], 1.0, 0.1, [[1.0, 1.0]], seed=0, steps=200)[2] > 0.999
    True
    """
    rows, columns = len(theta), len(theta[0])
    counts = [[0] * columns for _ in range(rows)]
    for tick in range(first_tick, first_tick + steps):
        before = [list(row) for row in theta]
        theta = [list(row) for row in theta]
        for i in range(rows):
            for j in range(columns):
                draw = scramble(scramble(i * columns + j) ^ key(seed, tick))
                if (draw + 0.5) / 2**32 >= rates[i][j]:
                    continue
                here = before[i][j]
                pull = sin(before[i - 1][j] - here) + sin(before[(i + 1) % rows][j] - here)
                pull += sin(before[i][j - 1] - here) + sin(before[i][(j + 1) % columns] - here)
                theta[i][j] = remainder(here + dt * (omega[i][j] + coupling / 4 * pull), 2 * pi)
                counts[i][j] += 1
    real = sum(cos(phase) for row in theta for phase in row)
    imaginary = sum(sin(phase) for row in theta for phase in row)
    return theta, counts, hypot(real, imaginary) / (rows * columns)


def loop_vortices(theta):
    """Count plaquettes around which the phase winds to the left and to the right.

    Parameters
    ----------
    theta : list of list of float
        Phases (rad): rows of sites of a torus.

    Returns
    -------
    positive, negative : int
        Counter-clockwise with rows upwards and columns to the right, and clockwise.

    Examples
    --------
    >>> loop_vortices([[0.0, 0.1], [0.2, 0.3]])
    (0, 0)
    """
    rows, columns = len(theta), len(theta[0])
    windings = []
    for i in range(rows):
        for j in range(columns):
            down, right = (i + 1) % rows, (j + 1) % columns
            corners = [theta[i][j], theta[i][right], theta[down][right], theta[down][j], theta[i][j]]
            around = sum(remainder(b - a, 2 * pi) for a, b in pairwise(corners))
            windings.append(round(around / (2 * pi)))
    return sum(w > 0 for w in windings), sum(w < 0 for w in windings)
