"""A language model of state-space blocks: embedding, a residual stack, and text in constant memory per token.

Source: Lahoti et al., "Mamba-3", arXiv:2603.15569, section 4 (blocks that alternate with SwiGLU layers, normalised
before each); N. Shazeer, "GLU variants improve Transformer", arXiv:2002.05202.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from lib import checks
from lib.ssm import _block, _initial
from lib.ssm.mamba3 import Mamba3Block

__all__ = ["LanguageModel", "SwiGLU", "parameter_groups", "sample_tokens"]


class SwiGLU(nn.Module):
    """A gated layer for each token by itself: W_down (SiLU(W_gate u) * W_up u).

    Parameters
    ----------
    d_model, width : int
        Width of the tokens and of what is inside.
    generator : torch.Generator, optional
        Source of the initial weights; seed 0 by default.
    dtype : torch.dtype
        float32 or float64.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind or out of range.

    Examples
    --------
    >>> SwiGLU(4, 8)(torch.zeros(1, 2, 4)).tolist()
    [[[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]]
    """

    def __init__(
        self,
        d_model: int,
        width: int,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        generator = _initial.check_options(generator, dtype, d_model=d_model, width=width)
        self.gate = _initial.linear(d_model, width, generator, dtype)
        self.up = _initial.linear(d_model, width, generator, dtype)
        self.down = _initial.linear(width, d_model, generator, dtype)

    def forward(self, u: Tensor) -> Tensor:
        """Outputs (..., d_model)."""
        return self.down(functional.silu(self.gate(u)) * self.up(u))


class LanguageModel(nn.Module):
    """Tokens to logits: embedding, blocks and SwiGLU layers in turn, each u + layer(norm(u)), norm and a linear map.

    Parameters
    ----------
    vocabulary : int
        Number of tokens.
    d_model : int
        Width of the residual stream.
    layers : int
        Number of blocks.
    block : callable
        ``block(d_model, generator=..., dtype=...)`` makes one block; :class:`lib.ssm.mamba3.Mamba3Block` with its
        defaults if not given. ``functools.partial(Mamba3Block, d_state=16, head_dim=16)`` sets its options.
    mlp_width : int, optional
        Inner width of the SwiGLU layers, 8/3 d_model by default; 0 leaves them out.
    generator : torch.Generator, optional
        Source of the initial weights; seed 0 by default. The model lives on its device.
    dtype : torch.dtype
        float32 or float64.

    Raises
    ------
    ValueError
        If an argument is of the wrong kind or out of range.

    Examples
    --------
    >>> from functools import partial
    >>> model = LanguageModel(5, 8, 2, block=partial(Mamba3Block, d_state=4, head_dim=4))
    >>> model(torch.tensor([[0, 4, 3]])).shape
    torch.Size([1, 3, 5])
    >>> model.generate(torch.tensor([[0, 4, 3]]), 6, generator=torch.Generator().manual_seed(1)).shape
    torch.Size([1, 6])
    """

    def __init__(
        self,
        vocabulary: int,
        d_model: int,
        layers: int,
        block: Callable[..., nn.Module] = Mamba3Block,
        mlp_width: int | None = None,
        generator: torch.Generator | None = None,
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__()
        generator = _initial.check_options(generator, dtype, vocabulary=vocabulary, d_model=d_model, layers=layers)
        if not callable(block):
            raise ValueError(f"block must be callable, got {checks.describe(block)}")
        mlp_width = 8 * d_model // 3 if mlp_width is None else checks.integer("mlp_width", mlp_width, lowest=0)
        self.vocabulary = vocabulary
        options = {"generator": generator, "dtype": dtype}

        def norms(count: int) -> nn.ModuleList:
            factory = {"dtype": dtype, "device": generator.device}
            return nn.ModuleList(_block.RMSNorm(d_model, eps=1e-5, **factory) for _ in range(count))

        self.embedding = _initial.normal_embedding(vocabulary, d_model, generator, dtype)
        self.blocks = nn.ModuleList(block(d_model, **options) for _ in range(layers))
        self.block_norms = norms(layers)
        self.mlps = nn.ModuleList(SwiGLU(d_model, mlp_width, **options) for _ in range(layers if mlp_width else 0))
        self.mlp_norms = norms(len(self.mlps))
        (self.norm,) = norms(1)
        self.head = _initial.linear(d_model, vocabulary, generator, dtype)

    def forward(self, tokens: Tensor, *, initial_state=None, reset=None, lengths=None) -> Tensor:
        """Logits of the next token after every prefix; :meth:`prefill` without the state.

        Parameters
        ----------
        tokens, initial_state, reset, lengths
            As in :meth:`prefill`.

        Returns
        -------
        Tensor, (batch, time, vocabulary)
        """
        return self.prefill(tokens, initial_state=initial_state, reset=reset, lengths=lengths)[0]

    def prefill(self, tokens: Tensor, *, initial_state=None, reset=None, lengths=None) -> tuple[Tensor, list]:
        """Read whole sequences and return what every block remembers.

        Parameters
        ----------
        tokens : Tensor of int, (batch, time)
            From 0 to vocabulary - 1.
        initial_state : list, optional
            The states of the blocks; nothing read before by default.
        reset : Tensor of bool, (batch, time), optional
            True at the first token of each sequence where several are packed into one row.
        lengths : Tensor of int, (batch,), optional
            Number of tokens of each sequence where shorter ones are padded at the end.

        Returns
        -------
        logits : Tensor, (batch, time, vocabulary)
        state : list
            One state per block.

        Raises
        ------
        ValueError
            If tokens are out of range or a shape or type does not fit.
        """
        _block.check_integers("tokens", tokens, "(batch, time)", 2, self.vocabulary)
        _block.check_marks(tokens, reset, lengths)
        return self._through(
            tokens,
            initial_state,
            lambda block, u, state: block.prefill(u, initial_state=state, reset=reset, lengths=lengths),
        )

    def step(self, tokens: Tensor, state: list | None = None) -> tuple[Tensor, list]:
        """Read one token; time and memory do not grow with what was read before.

        Parameters
        ----------
        tokens : Tensor of int, (batch,)
        state : list, optional
            As returned by :meth:`prefill` or the last call; nothing read before by default.

        Returns
        -------
        logits : Tensor, (batch, vocabulary)
        state : list

        Raises
        ------
        ValueError
            If tokens are out of range or a shape or type does not fit.
        """
        _block.check_integers("tokens", tokens, "(batch,)", 1, self.vocabulary)
        return self._next(tokens, state)

    @torch.no_grad()
    def generate(
        self,
        prompt: Tensor,
        length: int,
        *,
        temperature: float = 1.0,
        top_k: int | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Continue a prompt, token by token from the states of the blocks: constant time and memory per token.

        Parameters
        ----------
        prompt : Tensor of int, (batch, time)
        length : int
            Number of new tokens, at least 1.
        temperature, top_k, generator
            As in :func:`sample_tokens`.

        Returns
        -------
        Tensor of int, (batch, length)
            The new tokens.

        Raises
        ------
        ValueError
            If the prompt is empty or out of range, or an option is of the wrong kind.
        """
        checks.integer("length", length, lowest=1)
        _block.check_integers("prompt", prompt, "(batch, time)", 2, self.vocabulary)
        _check_sampling(temperature, top_k, generator)
        logits, state = self.prefill(prompt)
        tokens = sample_tokens(logits[:, -1], temperature=temperature, top_k=top_k, generator=generator)
        drawn = [tokens]
        for _ in range(length - 1):
            logits, state = self._next(tokens, state)
            tokens = sample_tokens(logits, temperature=temperature, top_k=top_k, generator=generator)
            drawn.append(tokens)
        return torch.stack(drawn, dim=1)

    def _next(self, tokens: Tensor, state) -> tuple[Tensor, list]:
        return self._through(tokens, state, lambda block, u, memory: block.step(u, memory))

    def _through(self, tokens: Tensor, state, run: Callable) -> tuple[Tensor, list]:
        if state is None:
            state = [None] * len(self.blocks)
        if not isinstance(state, (list, tuple)) or len(state) != len(self.blocks):
            raise ValueError(
                f"state must hold one entry for each of {len(self.blocks)} blocks, got {checks.describe(state)}"
            )
        u = self.embedding(tokens)
        after = []
        for layer, (block, norm) in enumerate(zip(self.blocks, self.block_norms)):
            change, memory = run(block, norm(u), state[layer])
            u = u + change
            after.append(memory)
            if self.mlps:
                u = u + self.mlps[layer](self.mlp_norms[layer](u))
        return self.head(self.norm(u)), after


def sample_tokens(
    logits: Tensor,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw one token per row from softmax(logits / temperature).

    Parameters
    ----------
    logits : Tensor, (..., vocabulary)
    temperature : float
        At least 0; 0 takes the most likely token.
    top_k : int, optional
        Draw among that many most likely tokens only.
    generator : torch.Generator, optional
        Source of the draws, on the device of the logits; needed for a temperature above 0.

    Returns
    -------
    Tensor of int, (...)

    Raises
    ------
    ValueError
        If an argument is of the wrong kind or out of range.

    Examples
    --------
    >>> sample_tokens(torch.tensor([[0.0, 3.0, 1.0]]), temperature=0.0)
    tensor([1])
    >>> sample_tokens(torch.tensor([[0.0, 3.0, 1.0]]), top_k=1, generator=torch.Generator().manual_seed(0))
    tensor([1])
    """
    (logits,) = checks.tensors(logits=logits)
    checks.shape("logits", logits, None)
    _check_sampling(temperature, top_k, generator)
    if temperature == 0:
        return logits.argmax(dim=-1)
    logits = _block.single(logits) / temperature
    if top_k is not None and top_k < logits.shape[-1]:
        best = logits.topk(top_k, dim=-1)
        chosen = torch.multinomial(_rows(best.values.softmax(dim=-1)), 1, generator=generator)
        return best.indices.gather(-1, chosen.view(*logits.shape[:-1], 1))[..., 0]
    chosen = torch.multinomial(_rows(logits.softmax(dim=-1)), 1, generator=generator)
    return chosen.view(logits.shape[:-1])


def _rows(probabilities: Tensor) -> Tensor:
    return probabilities.reshape(-1, probabilities.shape[-1])


def _check_sampling(temperature: float, top_k: int | None, generator: torch.Generator | None) -> None:
    checks.real_number("temperature", temperature, lowest=0)
    if top_k is not None:
        checks.integer("top_k", top_k, lowest=1)
    if generator is not None or temperature > 0:
        checks.generator("generator", generator)


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Parameters for an optimizer, in two groups: with weight decay, and without.

    Decay pulls towards zero, which means something else for the biases of step lengths, the rates of decay and the
    skips of the blocks: they are named in ``no_weight_decay`` of each block's class and are left alone.

    Parameters
    ----------
    model : nn.Module
    weight_decay : float
        Of the first group, at least 0.

    Returns
    -------
    list of dict
        As ``torch.optim`` takes them.

    Raises
    ------
    ValueError
        If the model is no module or the decay is negative.

    Examples
    --------
    >>> from lib.ssm.mamba3 import Mamba3Block
    >>> decayed, free = parameter_groups(Mamba3Block(4, d_state=6, head_dim=2), 0.01)
    >>> decayed["weight_decay"], free["weight_decay"], len(free["params"])
    (0.01, 0.0, 2)
    """
    if not isinstance(model, nn.Module):
        raise ValueError(f"model must be a torch.nn.Module, got {checks.describe(model)}")
    checks.real_number("weight_decay", weight_decay, lowest=0)
    left_alone = {
        id(getattr(module, name)) for module in model.modules() for name in getattr(module, "no_weight_decay", ())
    }
    decayed = [weight for weight in model.parameters() if id(weight) not in left_alone]
    free = [weight for weight in model.parameters() if id(weight) in left_alone]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
