"""Networks with members: against torch.nn.Sequential, against finite differences, and in strips of any length."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from lib.rl._strips import STRIPS_OF_A_TILE
from lib.rl.networks import MLP, member_seeds
from lib.rl.streams import derived_seed

ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU}


def sequential(network: MLP, member: int | None = None) -> nn.Sequential:
    """The same network, or one of its members, as torch builds it."""
    layers = []
    for weight, bias in zip(network.weights, network.biases):
        layer = nn.Linear(weight.shape[-1], weight.shape[-2], dtype=weight.dtype)
        with torch.no_grad():
            layer.weight.copy_(weight if member is None else weight[member])
            layer.bias.copy_(bias if member is None else bias[member])
        layers += [layer, ACTIVATIONS[network.activation]()]
    return nn.Sequential(*layers[:-1])


def shaken(network: MLP, seed: int = 0) -> MLP:
    """Move all parameters, so that no bias is zero and no gradient vanishes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
    return network


def normal(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def gradients(module: nn.Module, x: torch.Tensor, arrived: torch.Tensor) -> list[torch.Tensor]:
    """Gradients of the input and of all weights and biases, layer by layer, for a gradient that arrives."""
    x = x.detach().requires_grad_()
    parameters = [p for pair in zip(module.weights, module.biases) for p in pair] if isinstance(module, MLP) else None
    parameters = parameters or list(module.parameters())
    return list(torch.autograd.grad(module(x), [x, *parameters], arrived))


def close(found, expected, tolerance: float = 1e-12) -> None:
    for mine, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, wanted, rtol=tolerance, atol=tolerance)


# 5 rows are less than half a strip, 17 less than a strip, 70 are four strips at most, and 200 are more.
@pytest.mark.parametrize("rows", [0, 1, 5, 17, 70, 200])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_output_and_gradient_are_those_of_torch(rows, activation):
    network = shaken(MLP((3, 8, 5, 2), activation=activation, strip=20, dtype=torch.float64))
    reference = sequential(network)
    x, arrived = normal(rows, 3), normal(rows, 2, seed=2)
    close([network(x)], [reference(x)])
    with torch.no_grad():
        close([network(x)], [reference(x)])
    close(gradients(network, x, arrived), gradients(reference, x, arrived))


@pytest.mark.parametrize("rows", [4, 23, 300])
def test_each_member_is_a_network_of_its_own(rows):
    network = shaken(MLP((3, 6, 6, 1), seed=(4, 9, 2), strip=60, dtype=torch.float64))
    x, arrived = normal(3, rows, 3), normal(3, rows, 1, seed=2)
    found = gradients(network, x, arrived)
    for member in range(3):
        reference = sequential(network, member)
        close([network(x)[member]], [reference(x[member])])
        close([part[member] for part in found], gradients(reference, x[member], arrived[member]))


def test_a_member_starts_as_its_seed_alone():
    together = MLP((4, 16, 2), seed=(11, 3), role="policy")
    assert together.members == 2
    for member, seed in enumerate((11, 3)):
        alone = MLP((4, 16, 2), seed=seed, role="policy")
        for joint, own in zip(together.parameters(), alone.parameters()):
            torch.testing.assert_close(joint[member], own, rtol=0, atol=0)


def test_one_seed_serves_members_that_follow_each_other():
    joint, listed = MLP((4, 8, 2), members=3, seed=5), MLP((4, 8, 2), seed=[5, 6, 7])
    close(joint.parameters(), listed.parameters(), tolerance=0)
    assert member_seeds([5, 6, 7], members=3) == ([5, 6, 7], 3)


def test_roles_and_seeds_start_apart():
    starts = [MLP((4, 8, 2), seed=seed, role=role).weights[0] for seed in (0, 1) for role in ("policy", "value")]
    for k, start in enumerate(starts):
        assert all((start - other).abs().max() > 0.1 for other in starts[:k])


def test_weights_start_orthogonal_times_their_gain():
    # As torch.nn.init does it, with a generator of the seed and the role.
    network = MLP((6, 12, 12, 3), gains=(2.0, 1.5, 0.01), seed=8, role="policy", dtype=torch.float64)
    generator = torch.Generator().manual_seed(derived_seed(8, "policy"))
    for weight, bias, gain in zip(network.weights, network.biases, (2.0, 1.5, 0.01)):
        wanted = nn.init.orthogonal_(torch.empty_like(weight), gain, generator=generator)
        torch.testing.assert_close(weight.detach(), wanted, rtol=0, atol=0)
        gram = weight.T @ weight if weight.shape[0] >= weight.shape[1] else weight @ weight.T
        torch.testing.assert_close(gram.detach(), gain**2 * torch.eye(len(gram), dtype=torch.float64))
        assert not bias.any()


def test_single_precision_starts_at_the_rounded_double():
    single, double = MLP((4, 8, 2), seed=3), MLP((4, 8, 2), seed=3, dtype=torch.float64)
    for mine, exact in zip(single.parameters(), double.parameters()):
        torch.testing.assert_close(mine, exact.float(), rtol=0, atol=0)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize(("strip", "rows"), [(8, 3), (6, 7), (2, 7), (2, 11)])
def test_gradient_is_that_of_finite_differences(activation, strip, rows):
    network = shaken(MLP((2, 3, 2), members=2, activation=activation, strip=2 * strip, dtype=torch.float64), seed=4)
    names = [name for name, _ in network.named_parameters()]

    def output(x, *parameters):
        # The values go into the parameters: what is differentiated is the written gradient itself.
        return torch.func.functional_call(network, dict(zip(names, parameters)), (x,))

    inputs = [normal(2, rows, 2).requires_grad_(), *(p.detach().clone().requires_grad_() for p in network.parameters())]
    assert torch.autograd.gradcheck(output, inputs)


def test_linear_network_of_one_layer():
    network = shaken(MLP((3, 2), strip=4, dtype=torch.float64))
    x, arrived = normal(50, 3), normal(50, 2, seed=2)
    close(gradients(network, x, arrived), gradients(sequential(network), x, arrived))


@settings(max_examples=25)
@given(
    rows=st.integers(1, 60),
    strip=st.integers(1, 70),
    widths=st.lists(st.integers(1, 7), min_size=2, max_size=5),
    members=st.none() | st.integers(1, 3),
)
def test_strips_of_any_length_give_the_same(rows, strip, widths, members):
    lead = () if members is None else (members,)
    whole = shaken(MLP(widths, members=members, strip=10_000, dtype=torch.float64))
    cut = copy.deepcopy(whole)
    cut.strip = strip
    x, arrived = normal(*lead, rows, widths[0]), normal(*lead, rows, widths[-1], seed=2)
    close([cut(x)], [whole(x)])
    close(gradients(cut, x, arrived), gradients(whole, x, arrived))


@settings(max_examples=20)
@given(
    lead=st.lists(st.integers(1, 4), max_size=2),
    members=st.none() | st.integers(1, 3),
    n=st.integers(1, 6),
    strip=st.integers(1, 9),
)
def test_a_batch_is_its_rows_one_by_one(lead, members, n, strip):
    network = shaken(MLP((3, 5, 2), members=members, strip=strip, dtype=torch.float64))
    shape = (*lead, n) if members is None else (*lead, members, n)
    x = normal(*shape, 3)
    y = network(x).detach()
    assert y.shape == (*shape, 2)
    for index in torch.cartesian_prod(*(torch.arange(extent) for extent in shape)).view(-1, len(shape)).tolist():
        member = None if members is None else index[-2]
        close([y[tuple(index)]], [sequential(network, member)(x[tuple(index)]).detach()])


def test_a_single_row_needs_no_batch():
    network = MLP((3, 5, 2), seed=1)
    assert network(torch.ones(3)).shape == (2,)
    torch.testing.assert_close(network(torch.ones(3)), network(torch.ones(1, 3))[0])


def test_columns_next_to_each_other_in_memory_are_rows_all_the_same():
    network = MLP((4, 8, 2), strip=30)
    x = normal(4, 100, dtype=torch.float32).T
    torch.testing.assert_close(network(x), network(x.contiguous()))


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64])
@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("rows", [3, 40, 400])
def test_pictures_are_flattened_and_cast(dtype, members, rows):
    network = shaken(MLP((24, 6, 3), members=members, strip=64, dtype=torch.float64))
    lead = (rows,) if members is None else (members, rows)
    picture = torch.randint(0, 2, (*lead, 3, 4, 2), generator=torch.Generator().manual_seed(0)).to(dtype)
    arrived = normal(*lead, 3)
    close([network(picture)], [network(picture.double().flatten(-3))])
    parameters = list(network.parameters())
    found = torch.autograd.grad(network(picture), parameters, arrived)
    close(found, torch.autograd.grad(network(picture.double().flatten(-3)), parameters, arrived))


def test_only_short_batches_keep_their_activations():
    """What the backward pass holds on to: the input and the parameters, and activations of one tile at most."""
    network = MLP((24, 32, 32, 2), strip=16)
    parameters = sum(p.numel() * p.element_size() for p in network.parameters())

    def held(rows: int) -> int:
        picture = torch.zeros(rows, 24, dtype=torch.uint8)
        seen = {}

        def pack(tensor):
            seen[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
            return tensor

        with saved_tensors_hooks(pack, lambda tensor: tensor):
            network(picture)
        return sum(seen.values()) - parameters - picture.numel()

    assert network.rows_per_strip == 16 and network.rows_per_tile == 16 * STRIPS_OF_A_TILE
    assert held(network.rows_per_tile) == network.rows_per_tile * (32 + 32) * 4
    assert held(network.rows_per_tile + 1) == 0
    assert held(100 * network.rows_per_tile) == 0


def test_a_strip_fits_the_cache_with_all_members():
    assert MLP((4, 64, 64, 2)).rows_per_strip == 2048
    assert MLP((4, 64, 64, 2), members=4).rows_per_strip == 512
    assert MLP((400, 64, 2), dtype=torch.float64).rows_per_strip == 2**19 // (400 * 8)
    assert MLP((4, 64, 2), members=500).rows_per_strip == 32


def test_nothing_is_kept_without_a_gradient():
    network = MLP((4, 8, 2), strip=4)
    with torch.no_grad():
        assert not network(torch.ones(100, 4)).requires_grad
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    assert not network(torch.ones(100, 4)).requires_grad
    with torch.inference_mode():
        assert network(torch.ones(100, 4)).is_inference()


def test_the_second_derivative_of_a_long_batch_is_refused():
    network = shaken(MLP((2, 3, 1), strip=4, dtype=torch.float64))
    x = normal(50, 2).requires_grad_()
    with pytest.raises(RuntimeError, match="can be taken once"):
        torch.autograd.grad(network(x).sum(), x, create_graph=True)
    # A short one has it, and so has torch.func.
    assert torch.autograd.gradgradcheck(lambda row: network(row), normal(2, 2).requires_grad_())
    reference = sequential(network)
    found = torch.func.hessian(lambda rows: network(rows).square().sum())(x.detach())
    close([found], [torch.func.hessian(lambda rows: reference(rows).square().sum())(x.detach())])


def test_torch_func_and_forward_derivatives_see_the_same_network():
    network = shaken(MLP((2, 4, 3), strip=4, dtype=torch.float64))
    reference = sequential(network)
    x, tangent = normal(30, 2), normal(30, 2, seed=3)
    close(torch.func.jvp(network, (x,), (tangent,)), torch.func.jvp(reference, (x,), (tangent,)))
    close([torch.func.vmap(network)(x)], [torch.func.vmap(reference)(x)])


def test_weights_that_changed_before_the_backward_pass_are_noticed():
    network = MLP((2, 3, 1), strip=4)
    loss = network(torch.ones(50, 2)).sum()
    with torch.no_grad():
        network.weights[1].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("rows", [10, 500])
@pytest.mark.parametrize("members", [None, 2])
def test_under_autocast_products_are_in_bfloat16(rows, members):
    network = MLP((4, 16, 2), members=members, strip=64)
    lead = (rows,) if members is None else (members, rows)
    x = normal(*lead, 4, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        halved = network(x)
        assert halved.dtype == torch.bfloat16
    torch.testing.assert_close(halved.float(), network(x), rtol=0.05, atol=0.05)
    halved.float().sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in network.parameters())


def test_the_written_gradient_keeps_its_types_in_a_region_of_autocast():
    network = MLP((4, 16, 2), strip=64)
    parameters = list(network.parameters())
    outside, inside = (network(normal(500, 4, dtype=torch.float32)).sum() for _ in range(2))
    expected = torch.autograd.grad(outside, parameters)
    with torch.autocast("cpu", torch.bfloat16):
        found = torch.autograd.grad(inside, parameters)
    close(found, expected, tolerance=0)


def test_a_copy_and_a_state_dict_are_networks_of_their_own():
    network = MLP((4, 8, 2), seed=1)
    twin, other = copy.deepcopy(network), MLP((4, 8, 2), seed=2)
    other.load_state_dict(network.state_dict())
    with torch.no_grad():
        network.weights[0].zero_()
    x = torch.ones(5, 4)
    torch.testing.assert_close(twin(x), other(x))
    assert not torch.equal(network(x), twin(x))
    assert twin.double()(x.double()).dtype == torch.float64


@pytest.mark.parametrize(
    ("members", "x", "message"),
    [
        (None, [1.0], "obs must be a tensor"),
        (None, torch.zeros(5, 3), r"obs must have shape \(\.\.\., 4\), got a torch.float32 tensor of shape \(5, 3\)"),
        (None, torch.zeros(5, 3, 3), r"obs must have shape \(\.\.\., 4\)"),
        (None, torch.tensor(1.0), r"obs must have shape \(\.\.\., 4\)"),
        (None, torch.zeros(5, 0), r"obs must have shape \(\.\.\., 4\)"),
        (None, torch.zeros(5, 4, dtype=torch.float64), "obs must be torch.float32"),
        (None, torch.zeros(5, 4, dtype=torch.complex64), "obs must be torch.float32"),
        (2, torch.zeros(5, 4), r"obs must have shape \(\.\.\., 2, n, 4\)"),
        (2, torch.zeros(3, 5, 4), r"obs must have shape \(\.\.\., 2, n, 4\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(members, x, message):
    with pytest.raises(ValueError, match=message):
        MLP((4, 8, 2), members=members)(x)
