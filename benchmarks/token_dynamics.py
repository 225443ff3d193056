"""The two refinements of the token-dynamics paper, measured on models that train in seconds; and many systems at once.

    nice python -m benchmarks.token_dynamics --write               # writes results/token-dynamics/refinements-cpu.json
    python -m benchmarks.token_dynamics --part ensemble --write    # writes results/token-dynamics/ensemble-cpu.json

*Signs*: language models of Mamba-1 blocks on the help text of Python, alike but for the maps S_B and S_C: free, or with
a product S_C^T S_B whose eigenvalues are all positive, all negative or half of each. Same seeds, same initial numbers,
same batches. Of the free models the spectrum of the product before and after training is kept.

*Order*: selective copying with the whole sequence known. Four of 32 tokens are marked; after the last token the model
must name their symbols in their order. The tokens are read as they come, or sorted by a learned importance before the
scan, softly or as a permutation with the soft gradient.

*Ensemble*: random systems of five tokens, all followed at once by fixed steps, against scipy's LSODA on some of them.
``--device cuda`` follows them on a GPU.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.report import Record
from lib import token_dynamics
from lib.progress import ProgressBar
from lib.ssm.language_model import LanguageModel
from lib.ssm.language_training import bits_per_token, encode_characters, help_text, train_language_model
from lib.ssm.mamba1 import Mamba1Block

SIGNS = ("free", "positive", "negative", "mixed")
ORDERS = ("as_read", "sorted_softly", "sorted")
STATE = 8
SYMBOLS, MARKED, TOKENS = 8, 4, 32


class DefiniteMaps(nn.Module):
    """Parameters that S_B and S_C of a block share."""

    def __init__(self, cells: int, channels: int, sign: str, generator: torch.Generator):
        super().__init__()
        bound = channels**-0.5
        self.raw = nn.Parameter(bound * (2 * torch.rand(cells, channels, generator=generator) - 1))
        self.diag = nn.Parameter(torch.zeros(cells))
        self.sign = sign

    def matrices(self) -> tuple[Tensor, Tensor]:
        return token_dynamics.definite_output_map(self.raw, self.diag, self.sign)


class OneOf(nn.Module):
    """One of the two maps as a linear layer."""

    def __init__(self, maps: DefiniteMaps, which: int):
        super().__init__()
        self.maps, self.which = maps, which

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.maps.matrices()[self.which])


def block(d_model: int, sign: str, generator: torch.Generator, dtype: torch.dtype) -> Mamba1Block:
    """A block with free maps or maps of one sign."""
    options = {"d_state": STATE, "generator": generator, "dtype": dtype}
    if sign == "free":
        return Mamba1Block(d_model, **options)
    maps = DefiniteMaps(STATE, 2 * d_model, sign, generator)
    return Mamba1Block(d_model, input_map=OneOf(maps, 0), output_map=OneOf(maps, 1), **options)


def spectrum(model: LanguageModel) -> Tensor:
    """Real parts of the eigenvalues of S_C^T S_B of all blocks."""
    found = [part for part in model.modules() if isinstance(part, Mamba1Block)]
    with torch.no_grad():
        return torch.cat([token_dynamics.output_spectrum(part.S_B, part.S_C).real for part in found])


def language(sign: str, seed: int, options) -> dict[str, object]:
    """Train one language model; bits per character of the last tenth of the text."""
    tokens, alphabet = encode_characters(help_text())
    cut = len(tokens) * 9 // 10
    generator = torch.Generator().manual_seed(seed)
    model = LanguageModel(
        len(alphabet), options.width, options.layers, partial(block, sign=sign), mlp_width=0, generator=generator
    )
    before = spectrum(model)
    windows = torch.Generator().manual_seed(1000 + seed)
    shown = ProgressBar(f"{sign} steps")
    losses = train_language_model(
        model, tokens[:cut], windows, steps=options.steps, batch_size=16, length=96, progress=shown
    )
    return {
        "bits": bits_per_token(model, tokens[cut:], length=96),
        "training_bits": float(losses[-20:].mean()) / math.log(2),
        "before": before,
        "after": spectrum(model),
    }


class Copier(nn.Module):
    """One Mamba-1 block that reads a whole sequence, sorted or not, and answers at its end."""

    def __init__(self, order: str, width: int, generator: torch.Generator):
        super().__init__()
        self.order = order

        def drawn(*shape: int) -> nn.Parameter:
            return nn.Parameter(0.5 * torch.randn(*shape, generator=generator))

        self.symbol, self.mark, self.place = drawn(SYMBOLS, width), drawn(2, width), drawn(TOKENS, width)
        self.block = Mamba1Block(width, d_state=STATE, generator=generator)
        self.answer = nn.Linear(width, MARKED * SYMBOLS)
        nn.init.zeros_(self.answer.weight)
        nn.init.zeros_(self.answer.bias)
        self.step_map, self.importance = drawn(width, width), drawn(width)  # drawn last: the rest starts alike

    def forward(self, symbols: Tensor, marks: Tensor) -> Tensor:
        x = self.symbol[symbols] + self.mark[marks] + self.place
        if self.order != "as_read":
            scores = x @ self.step_map.mT @ self.importance
            x = token_dynamics.reorder_tokens(x, scores, temperature=1.0, hard=self.order == "sorted")
        return self.answer(x[:, -1] + self.block(x)[:, -1]).unflatten(-1, (MARKED, SYMBOLS))


def puzzles(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Symbols, marks and the marked symbols in their order."""
    symbols = torch.randint(SYMBOLS, (count, TOKENS), generator=generator)
    places = torch.rand(count, TOKENS, generator=generator).argsort(dim=-1)[:, :MARKED].sort(dim=-1).values
    marks = torch.zeros_like(symbols).scatter_(1, places, 1)
    return symbols, marks, symbols.gather(1, places)


def copying(order: str, seed: int, options) -> float:
    """Train one copier; share of symbols that it names correctly in new sequences."""
    model = Copier(order, options.width, torch.Generator().manual_seed(seed))
    draws = torch.Generator().manual_seed(1000 + seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=options.copy_steps, pct_start=0.1)
    shown = ProgressBar(f"{order} steps")
    for step in range(options.copy_steps):
        symbols, marks, wanted = puzzles(64, draws)
        loss = functional.cross_entropy(model(symbols, marks).flatten(0, 1), wanted.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        shown(step + 1, options.copy_steps)
    with torch.no_grad():
        symbols, marks, wanted = puzzles(2000, torch.Generator().manual_seed(9))
        return float((model(symbols, marks).argmax(dim=-1) == wanted).double().mean())


def refinements(options) -> dict[str, object]:
    """Language models and copiers of all kinds and seeds."""
    values: dict[str, object] = {
        **{name: getattr(options, name) for name in ("width", "layers", "steps", "copy_steps")},
        "state": STATE,
    }
    free = []
    for sign in SIGNS:
        runs = [language(sign, seed, options) for seed in range(options.seeds)]
        values[f"{sign}_bits"] = [run["bits"] for run in runs]
        values[f"{sign}_training_bits"] = [run["training_bits"] for run in runs]
        print(sign, values[f"{sign}_bits"], flush=True)
        free = runs if sign == "free" else free
    for moment in ("before", "after"):
        together = torch.cat([run[moment] for run in free])
        values[f"spectrum_{moment}"] = [round(float(value), 6) for value in together.sort().values]
        values[f"positive_share_{moment}"] = float((together > 0).double().mean())
    for order in ORDERS:
        values[f"copy_{order}"] = [copying(order, seed, options) for seed in range(options.seeds)]
        print(order, values[f"copy_{order}"], flush=True)
    rivals = zip(values["positive_bits"], values["mixed_bits"], strict=True)
    values["negative_is_worst"] = all(
        bits > max(others) for bits, others in zip(values["negative_bits"], rivals, strict=True)
    )
    in_pairs = zip(values["copy_sorted_softly"], values["copy_as_read"], strict=True)
    values["sorting_helps"] = all(with_it > without for with_it, without in in_pairs)
    return values


def ensemble(options) -> dict[str, object]:
    """Seconds for many systems, and how far the paths of some of them are from those of the adaptive integrator."""
    draw = torch.Generator().manual_seed(0)
    mu, s, *starts = 4 * torch.rand(7, options.systems, generator=draw, dtype=torch.float64) - 2
    systems = [part.to(options.device) for part in (torch.stack(starts, dim=-1), mu, s)]

    def follow():
        path = token_dynamics.follow_tokens(*systems, 1.0, steps=100, length=42.0)
        if path.times.is_cuda:
            torch.cuda.synchronize()
        return path

    follow()
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        path = follow()
        taken.append(time.perf_counter() - began)
    times, tokens = path.times.cpu(), path.tokens.cpu()
    started = time.perf_counter()
    blow_ups, paths = [], []
    for place in range(200):
        x0, one_mu, one_s = systems[0][place].cpu(), float(mu[place]), float(s[place])
        if token_dynamics.dynamics_regime(one_mu, one_s, x0) == "fast":
            end = token_dynamics.first_blow_up(x0, one_mu, one_s, 1.0).time
            blow_ups.append(abs(float(times[place, -1]) / end - 1))
        else:
            last = int((times[place] < 1e8).sum()) - 1
            exact = token_dynamics.integrate_tokens(x0, one_mu, one_s, 1.0, times[place, last : last + 1])[0]
            paths.append(float((tokens[place, last] / exact - 1).abs().max()))
    one_by_one = (time.perf_counter() - started) / 200
    return {
        "systems": options.systems,
        "seconds": min(taken),
        "seconds_of_rounds": taken,
        "lsoda_seconds_per_system": one_by_one,
        "ratio_to_lsoda": one_by_one * options.systems / min(taken),
        "blow_up_gap": statistics.median(blow_ups),
        "blow_up_gap_largest": max(blow_ups),
        "path_gap": statistics.median(paths),
        "path_gap_largest": max(paths),
    }


PARTS = {"refinements": refinements, "ensemble": ensemble}
NOTES = {
    "refinements": "bits per character of the last tenth of the text, in windows of 96; share of symbols copied",
    "ensemble": "float64; best of five rounds; gaps to LSODA, relative tolerance 1e-10, on 200 of the systems",
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS, default="refinements")
    parser.add_argument("--width", type=int, default=48)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300, help="training steps of each language model")
    parser.add_argument("--copy-steps", type=int, default=800, help="training steps of each copier")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--systems", type=int, default=10_000, help="of the ensemble")
    parser.add_argument("--device", default="cpu", help="of the ensemble")
    parser.add_argument("--write", action="store_true", help="write results/token-dynamics/<part>-<device>.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    record, busy = Record("token_dynamics", arguments, options.device), time.process_time()
    values = PARTS[options.part](options)
    values["cpu_seconds"] = time.process_time() - busy
    print(json.dumps({name: value for name, value in values.items() if "spectrum" not in name}, indent=2))
    if options.write:
        record.write(
            "token-dynamics",
            f"{options.part}-{record.device.type}",
            values,
            seeds=list(range(options.seeds)) if options.part == "refinements" else [0],
            note=NOTES[options.part],
        )


if __name__ == "__main__":
    main()
