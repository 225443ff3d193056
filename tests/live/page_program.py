"""Run programs in Chromium and bring the numbers back exactly (infinities, NaN and the sign of zero included)."""

from __future__ import annotations

import json
import math

import numpy as np

from lib.live.program import pack, record, replay

_RUN = """([program, settings]) => live.load(program).run(settings).map(({ shape, data }) => [shape,
  Array.from(data, (v) => Number.isFinite(v) ? (Object.is(v, -0) ? "-0" : v) : String(v))])"""
_WORDS = {"Infinity": math.inf, "-Infinity": -math.inf, "NaN": math.nan, "-0": -0.0}


def run(page, program: dict, settings: dict) -> list[np.ndarray]:
    """The outputs of a program, computed by the runtime in the page."""
    program = json.loads(json.dumps(program))
    out = page.evaluate(_RUN, [program, settings])
    return [np.array([_WORDS.get(v, v) for v in data], dtype=float).reshape(shape) for shape, data in out]


def agree(page, function, settings: dict, others: list[dict], rtol: float = 1e-9, atol: float = 1e-11) -> dict:
    """Record ``function`` at ``settings``; there and elsewhere torch, replay and page must agree."""
    recorder, inputs, out = record(function, settings)
    outs = list(out) if isinstance(out, tuple | list) else [out]
    program = pack(recorder, inputs, outs)
    for setting in [settings, *others]:
        import torch

        want = function(**{k: torch.tensor(float(v), dtype=torch.float64) for k, v in setting.items()})
        wants = [w.detach().to(torch.float64).numpy() for w in (want if isinstance(want, tuple | list) else [want])]
        replayed = [r.to(torch.float64).numpy() for r in replay(program, setting)]
        shown = run(page, program, setting)
        for w, r, s in zip(wants, replayed, shown, strict=True):
            np.testing.assert_allclose(r, w, rtol=rtol, atol=atol, err_msg=f"torch's replay at {setting}")
            np.testing.assert_allclose(s, w, rtol=rtol, atol=atol, err_msg=f"the page at {setting}")
    return program
