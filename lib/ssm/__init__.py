"""State-space models: sequences read with a memory of fixed size that fades, turns and is written to.

:mod:`lib.ssm.discretize` turns a differential equation into a recurrence, :mod:`lib.ssm.orders` measures how well.
:mod:`lib.ssm.scan` runs the recurrence of Mamba-2 and Mamba-3 token by token, as a masked matrix, or in chunks;
:mod:`lib.ssm.mimo` does so with several inputs and outputs a head, :mod:`lib.ssm.selective` is Mamba-1 and
:mod:`lib.ssm.s4d` the time-invariant ancestor. :mod:`lib.ssm.costs` counts operations and bytes. Blocks of
Mamba-1, -2 and -3 are in :mod:`lib.ssm.layers`, language models of them in :mod:`lib.ssm.language_model` and
:mod:`lib.ssm.language_training`, models that count in :mod:`lib.ssm.state_tracking`. Import the modules one by one:
``from lib.ssm import scan``.
"""
