"""Compiled rollouts of :mod:`lib.rl.envs.cart_pole`: decisions and steps in one function, float32, one core."""

from numba import njit

from lib.rl._decisions_numba import decide
from lib.rl.envs._cart_pole_numba import OPTIONS, advance, exchange

__all__ = ["collect", "exchange"]


@njit(**OPTIONS)
def collect(t, policy, columns, uniform, states, elapsed, ended, numbers, last):
    """Steps from the t-th on, up to the first in which episodes end: which is next, and how many episodes ended.

    policy is (parameters (members, all), sizes, tangent, room), see :func:`lib.rl._decisions_numba.decide`. The columns
    of the rollout are filled in: observation (T, n, 4), action, logp, reward, terminated, truncated (T, n), with
    members side by side in n. uniform (T, n). States (2, 4, n) and elapsed (2, n) before the t-th step are those of
    place t % 2. What remains is as for :func:`lib.rl.envs._cart_pole_numba.advance`; the number is -1 if an angle is
    too far for this code, before the step that is next.
    """
    parameters, sizes, tangent, room = policy
    observation, action, logp, reward, terminated, truncated = columns
    share = uniform.shape[1] // parameters.shape[0]
    while t < uniform.shape[0]:
        here, there = t % 2, 1 - t % 2
        state, seen = states[here], observation[t]
        for i in range(seen.shape[0]):
            for component in range(4):
                seen[i, component] = state[component, i]
        for member in range(parameters.shape[0]):
            own = slice(member * share, (member + 1) * share)
            rows = seen[own], room, uniform[t, own], action[t, own], logp[t, own]
            decide(parameters[member], sizes, tangent, *rows)
        made = states[there], reward[t], terminated[t], truncated[t], elapsed[there]
        finished = advance(state, action[t], elapsed[here], *made, ended, numbers, last)
        if finished < 0:
            return t, finished
        t += 1
        if finished:
            return t, finished
    return t, 0
