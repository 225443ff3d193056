"""A figure's computation, recorded at one setting and replayed at others as the page does, beside plain torch."""

import torch

from lib.live.program import pack, record, replay

__all__ = ["recorded", "replays"]


def recorded(figure, setting):
    """The program that the page would run, from a function of live numbers that returns one tensor or several."""
    recorder, inputs, out = record(figure, setting)
    return pack(recorder, inputs, [out] if isinstance(out, torch.Tensor) else list(out))


def replays(program, figure, settings):
    """Pairs of what the program gives and what the function gives, for every output at every setting."""
    for setting in settings:
        wanted = figure(**{name: torch.tensor(value, dtype=torch.float64) for name, value in setting.items()})
        wanted = [wanted] if isinstance(wanted, torch.Tensor) else wanted
        yield from zip(replay(program, setting), wanted, strict=True)
