"""Compiled loops of :mod:`lib.absorption`: float64, C-contiguous (chains, n, n), one core.

A block of chains is worked on together, the chain as the last index, so that every inner loop runs over neighbours in
memory and vectorises. States are eliminated without pivoting and without a subtraction: leaving out state k adds
P_ik P_kj / s_k to P_ij, where s_k, its chance to leave, is the sum of what is left of its row and not 1 - P_kk. Numbers
of one sign are added, multiplied and divided, nothing else: each entry of the solution is right to a number of rounding
errors that depends on the number of states alone, however rarely a chain moves.

Sources: W. K. Grassmann, M. I. Taksar and D. P. Heyman, Operations Research 33 (1985) 1107 (the elimination);
C. A. O'Cinneide, Numerische Mathematik 65 (1993) 109 (its errors, entry by entry); A. S. Alfa, J. Xue and Q. Ye,
Numerische Mathematik 90 (2002) 401 (the same for I - Q, a diagonally dominant M-matrix, and its inverse).
"""

import numpy as np
from numba import njit

__all__ = ["passage", "times"]

# Products may be fused with sums; nothing else about floating point is relaxed. A chain that cannot be solved divides
# by 0, which is left to spread as NaN.
OPTIONS = {"cache": True, "fastmath": {"contract"}, "error_model": "numpy", "nogil": True}
LANES = 32  # chains of a block: long enough for the inner loops, and 16 states stay in the cache


@njit(inline="always")
def _eliminate(work, rate, factor, transient, leaving, right, identity):
    """Solve for the columns from ``right`` on, in place.

    A row of ``work`` holds the chances to go to the transient states, the chances to be absorbed up to column
    ``leaving``, and the right sides; with ``identity`` these are the columns of the identity matrix.
    """
    width, lanes = work.shape[1], work.shape[2]
    for k in range(transient):
        here, total = work[k], rate[k]
        total[:] = 0
        for j in range(k + 1, leaving):
            for lane in range(lanes):
                total[lane] += here[j, lane]
        for lane in range(lanes):
            total[lane] = 1 / total[lane]
        # Elimination fills an identity from the diagonal down.
        end = right + k + 1 if identity else width
        for i in range(k + 1, transient):
            row = work[i]
            for lane in range(lanes):
                factor[lane] = row[k, lane] * total[lane]
            for j in range(k + 1, end):
                for lane in range(lanes):
                    row[j, lane] += factor[lane] * here[j, lane]
    for k in range(transient - 1, -1, -1):
        here, total = work[k], rate[k]
        for j in range(k + 1, transient):
            row = work[j]
            for c in range(right, width):
                for lane in range(lanes):
                    here[c, lane] += here[j, lane] * row[c, lane]
        for c in range(right, width):
            for lane in range(lanes):
                here[c, lane] *= total[lane]


@njit(**OPTIONS)
def passage(P, order, transient, out):
    """Absorption probabilities, (chains, transient, absorbing) in ``out``; NaN for a chain that cannot be solved.

    ``order`` names the transient states, as many as ``transient`` says, and then the absorbing ones.
    """
    chains, n = P.shape[0], P.shape[1]
    lanes = min(LANES, chains)
    work = np.empty((transient, n, lanes))
    rate = np.empty((transient, lanes))
    factor = np.empty(lanes)
    for start in range(0, chains, LANES):
        # The last block reaches back so that it is full.
        first = min(start, chains - lanes)
        block = P[first : first + lanes]
        for i in range(transient):
            for j in range(n):
                for lane in range(lanes):
                    work[i, j, lane] = block[lane, order[i], order[j]]
        _eliminate(work, rate, factor, transient, n, transient, False)
        for lane in range(lanes):
            for i in range(transient):
                for c in range(transient, n):
                    out[first + lane, i, c - transient] = work[i, c, lane]


@njit(inline="always")
def _spread(row, sums, i, spread):
    """Standard deviation from a row of the fundamental matrix and all means: variance (2 N - I) mean - mean^2."""
    lanes = spread.size
    spread[:] = 0
    for c in range(row.shape[0]):
        for lane in range(lanes):
            spread[lane] += row[c, lane] * sums[c, lane]
    for lane in range(lanes):
        variance = 2 * spread[lane] - sums[i, lane] - sums[i, lane] * sums[i, lane]
        # Rounding may leave a little less than 0; NaN passes.
        spread[lane] = 0.0 if variance < 0 else np.sqrt(variance)


@njit(**OPTIONS)
def times(P, order, transient, mean, sd, N):
    """Mean and standard deviation of the time, (chains, transient), and fundamental matrix; arguments as above."""
    chains, n = P.shape[0], P.shape[1]
    lanes, right = min(LANES, chains), transient + 1
    work = np.empty((transient, right + transient, lanes))
    rate = np.empty((transient, lanes))
    sums = np.empty((transient, lanes))
    factor = np.empty(lanes)
    for start in range(0, chains, LANES):
        first = min(start, chains - lanes)
        block = P[first : first + lanes]
        for i in range(transient):
            work[i, transient:] = 0
            work[i, right + i] = 1
            for j in range(transient):
                for lane in range(lanes):
                    work[i, j, lane] = block[lane, order[i], order[j]]
            for j in range(transient, n):
                for lane in range(lanes):
                    work[i, transient, lane] += block[lane, order[i], order[j]]
        _eliminate(work, rate, factor, transient, right, right, True)
        sums[:] = 0
        for i in range(transient):
            for c in range(right, right + transient):
                for lane in range(lanes):
                    sums[i, lane] += work[i, c, lane]
        for i in range(transient):
            _spread(work[i, right:], sums, i, factor)
            for lane in range(lanes):
                mean[first + lane, i] = sums[i, lane]
                sd[first + lane, i] = factor[lane]
        for lane in range(lanes):
            for i in range(transient):
                for c in range(transient):
                    N[first + lane, i, c] = work[i, right + c, lane]
