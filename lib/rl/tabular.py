"""Exact planning in small Markov decision processes: everything in one place to import from.

The parts are :mod:`lib.rl.mdp` (the container, random problems, sampling, counting), :mod:`lib.rl.bellman` (operators,
hard and soft), :mod:`lib.rl.planning` (value and policy iteration), :mod:`lib.rl.linear_program`,
:mod:`lib.rl.policy_evaluation` (values and occupancies with a discount), :mod:`lib.rl.finite_horizon` (episodes of a
fixed length), :mod:`lib.rl.robust` (a worst case around the table) and :mod:`lib.rl.regret` (what learning costs).

Tables are P (..., S, A, S), rows that sum to 1, and R (..., S, A); float64 by default, batched over leading dimensions.
A policy is integers (..., S) or chances (..., S, A).
"""

from lib.rl.bellman import (
    action_values,
    bellman_operator,
    expected_rewards,
    greedy,
    policy_operator,
    soft_bellman_operator,
    soft_policy,
    soft_value,
    value_sweeps,
)
from lib.rl.finite_horizon import FinitePlan, backward_induction, finite_policy_value, occupancy
from lib.rl.linear_program import LinearProgram, linear_program
from lib.rl.mdp import (
    Episodes,
    TabularMDP,
    empirical_model,
    garnet,
    sample_counts,
    sample_episodes,
    visit_counts,
)
from lib.rl.planning import (
    Solution,
    modified_policy_iteration,
    policy_iteration,
    soft_value_iteration,
    value_iteration,
)
from lib.rl.policy_evaluation import discounted_occupancy, occupancy_policy, policy_action_values, policy_value
from lib.rl.regret import Band, confidence_band, cumulative_regret, growth_exponent
from lib.rl.robust import (
    robust_bellman_operator,
    robust_policy_value,
    robust_value_iteration,
    tv_robust_expectation,
    tv_worst_distribution,
    worst_of_tables,
)

__all__ = [
    "Band",
    "Episodes",
    "FinitePlan",
    "LinearProgram",
    "Solution",
    "TabularMDP",
    "action_values",
    "backward_induction",
    "bellman_operator",
    "confidence_band",
    "cumulative_regret",
    "discounted_occupancy",
    "empirical_model",
    "expected_rewards",
    "finite_policy_value",
    "garnet",
    "greedy",
    "growth_exponent",
    "linear_program",
    "modified_policy_iteration",
    "occupancy",
    "occupancy_policy",
    "policy_action_values",
    "policy_iteration",
    "policy_operator",
    "policy_value",
    "robust_bellman_operator",
    "robust_policy_value",
    "robust_value_iteration",
    "sample_counts",
    "sample_episodes",
    "soft_bellman_operator",
    "soft_policy",
    "soft_value",
    "soft_value_iteration",
    "tv_robust_expectation",
    "tv_worst_distribution",
    "value_iteration",
    "value_sweeps",
    "visit_counts",
    "worst_of_tables",
]
