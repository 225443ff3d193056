"""Compiled generalized advantage estimation; see :func:`lib.rl.ppo.gae`. One core, C-contiguous."""

from numba import njit

__all__ = ["accumulate"]


@njit(cache=True, error_model="numpy", nogil=True)
def accumulate(adv, terminated, truncated, decay):
    """Turn differences (T, n) into advantages, backwards in time: one adds ``decay`` times the next in its episode."""
    for t in range(adv.shape[0] - 2, -1, -1):
        here, after, fell, late = adv[t], adv[t + 1], terminated[t], truncated[t]
        for i in range(here.size):
            follows = here[i] + decay * after[i]
            here[i] = here[i] if fell[i] | late[i] else follows
