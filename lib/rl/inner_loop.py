"""What happens inside one round of PPO, counted: gradient steps, and data collected for each bit of movement.

PPO collects N T transitions with one policy (N environments, T steps each), then takes gradient steps on minibatches of
B transitions, E times through the data, while a clip holds the new policy to the old one.

Source: M. Beukman and others, arXiv:2603.06009, for the ratio of data to divergence.
"""

from __future__ import annotations

from torch import Tensor

from lib import checks

__all__ = ["data_to_divergence", "inner_steps"]


def data_to_divergence(n_envs, steps, kl) -> Tensor:
    """Data collected for each unit by which the policy moved: transitions per nat of Kullback-Leibler divergence.

    Parameters
    ----------
    n_envs, steps : array_like, (...)
        Environments, and steps of each between two updates; above 0.
    kl : array_like, (...)
        Divergence of the new policy from the one that collected the data (nats), above 0.

    Returns
    -------
    Tensor, (...)

    Raises
    ------
    ValueError
        If an argument is not above 0 or the shapes do not broadcast.

    Examples
    --------
    >>> data_to_divergence([16, 1024], 32, 0.02).tolist()
    [25600.0, 1638400.0]
    """
    n_envs, steps, kl = checks.tensors(n_envs=n_envs, steps=steps, kl=kl)
    checks.batch(n_envs=n_envs.shape, steps=steps.shape, kl=kl.shape)
    for name, value in (("n_envs", n_envs), ("steps", steps), ("kl", kl)):
        checks.require(value > 0, f"{name} must be above 0", value)
    return n_envs * steps / kl


def inner_steps(n_envs, steps, minibatch, epochs) -> Tensor:
    """Gradient steps between two renewals of the policy that anchors the clip, K = E N T / B.

    Parameters
    ----------
    n_envs, steps : array_like, (...)
        Environments N, and steps T of each; above 0.
    minibatch : array_like, (...)
        Transitions B in a minibatch, above 0 and at most N T.
    epochs : array_like, (...)
        Passes E over the data, above 0.

    Returns
    -------
    Tensor, (...)

    Raises
    ------
    ValueError
        If an argument is out of range or the shapes do not broadcast.

    Examples
    --------
    >>> inner_steps([16, 1024], steps=32, minibatch=512, epochs=8).tolist()
    [8.0, 512.0]
    """
    n_envs, steps, minibatch, epochs = checks.tensors(n_envs=n_envs, steps=steps, minibatch=minibatch, epochs=epochs)
    checks.batch(n_envs=n_envs.shape, steps=steps.shape, minibatch=minibatch.shape, epochs=epochs.shape)
    for name, value in (("n_envs", n_envs), ("steps", steps), ("minibatch", minibatch), ("epochs", epochs)):
        checks.require(value > 0, f"{name} must be above 0", value)
    checks.require(minibatch <= n_envs * steps, "minibatch must be at most n_envs * steps", minibatch)
    return epochs * n_envs * steps / minibatch
