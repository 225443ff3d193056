"""Reinforcement learning: environments stepped side by side, a readable PPO, and planners for small decision problems.

:mod:`lib.rl.envs` holds the environments: pure dynamics on batches of states, with automatic resets, and truncation
kept apart from termination. :mod:`lib.rl.policies` and :mod:`lib.rl.networks` hold what is learned, :mod:`lib.rl.ppo`
learns it. :mod:`lib.rl.tabular` plans exactly in small Markov decision processes, and :mod:`lib.rl.outer_loop` says
where stochastic ascent stops improving. Random numbers come from :mod:`lib.rl.streams`. Import the modules one by one:
``from lib.rl import ppo``.
"""
