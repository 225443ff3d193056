"""Passes of tiles without autograd, and the memory that they use again and again."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.rl._strips import Room
from lib.rl._tile_pass import TilePass, is_its_network
from lib.rl.networks import MLP
from lib.rl.policies import CategoricalPolicy
from tests.rl.test_policies import shaken
from tests.rl.training import DOUBLE

LIKE = torch.zeros((), dtype=DOUBLE)


def distinct(parts):
    """Whether no two of these tensors share a number."""
    for number, part in enumerate(parts):
        part.fill_(number)
    return all(bool((part == number).all()) for number, part in enumerate(parts))


def addresses(parts):
    return [part.data_ptr() for part in parts]


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 30), st.sampled_from([None, 1, 3])), min_size=1, max_size=12)
)
def test_whatever_is_asked_for_has_its_shape_and_its_own_memory(asked):
    """In any order of lengths, places and members: layers and places never share memory, and neither does the rest."""
    room = Room((4, 2, 7), LIKE)
    for _, rows, members in asked:
        lead = (rows,) if members is None else (members, rows)
        places = [room.activations(place, lead) for place in {place for place, *_ in asked}]
        behind = room.behind(lead)
        for parts in (*places, behind):
            assert [tuple(part.shape) for part in parts] == [(*lead, width) for width in (4, 2, 7)]
            assert all(part.is_contiguous() and part.dtype == DOUBLE for part in parts)
        layers = [part for parts in places for part in parts]
        assert all(distinct([*layers, one]) for one in behind)


def test_memory_grows_and_is_kept():
    room = Room((4, 2), LIKE)
    small = room.activations(0, (5,))
    assert room.activations(0, (5,)) is small
    large = room.activations(0, (9,))
    assert addresses(large) != addresses(small)
    # From now on shorter strips, and the same numbers in another shape, lie in the larger memory.
    for lead in ((5,), (9,), (3, 3), (1, 2)):
        assert addresses(room.activations(0, lead)) == addresses(large)
    assert room.activations(0, (5,)) is not small
    grown = room.behind((20,))
    assert addresses(room.behind((4,))) == addresses(grown) and grown[0].data_ptr() == grown[1].data_ptr()


def test_memory_does_not_add_up():
    room = Room((4, 2), LIKE)
    for rows in (*range(1, 40), *range(40, 0, -1)):
        for place in range(2):
            room.activations(place, (rows,))
        room.behind((rows,))
    assert sum(part.numel() for part in room._memory.values()) == 2 * 40 * (4 + 2) + 40 * 4


def gradient(tile_pass, rows, slope):
    """Gradients of all parameters."""
    places = [torch.zeros_like(parameter) for parameter in tile_pass.parameters]
    output = tile_pass.forward(rows).clone()
    tile_pass.pull(slope.clone(), rows, places)
    return output, places


def by_autograd(network, rows, slope):
    output = network(rows).mT
    return output.detach(), torch.autograd.grad(output, [*network.parameters()], slope)


def alike(found, expected):
    torch.testing.assert_close(found[0], expected[0], rtol=1e-12, atol=1e-13)
    for mine, theirs in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-11, atol=1e-12)


def drawn(network, rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    lead = () if network.members is None else (network.members,)
    x = torch.randn(*lead, rows, network.sizes[0], generator=generator, dtype=DOUBLE)
    return x, torch.randn(*lead, network.sizes[-1], rows, generator=generator, dtype=DOUBLE)


@pytest.mark.parametrize("members", [None, 2])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("hidden", [(), (5,), (20, 6)])
def test_two_networks_take_turns_in_one_room(members, activation, hidden):
    """Tiles of all lengths, in strips and as a whole, one network after the other."""
    seed = 0 if members is None else range(members)
    options = {"seed": seed, "activation": activation, "dtype": DOUBLE, "strip": 8 * (members or 1)}
    one, two = (shaken(MLP((3, *hidden, out), **options), out) for out in (4, 1))
    first = TilePass(one)
    second = TilePass(two, first)
    assert second.room is first.room
    for rows in (5, 32, 8, 1, 17, 32):
        for tile_pass in (first, second):
            x, slope = drawn(tile_pass.network, rows, rows)
            assert tile_pass.serves(x)
            alike(gradient(tile_pass, x, slope), by_autograd(tile_pass.network, x, slope))
    assert not first.serves(drawn(one, 33)[0])


def test_networks_of_other_widths_have_rooms_of_their_own():
    one, two = MLP((3, 5, 6, 1)), MLP((3, 6, 5, 1))
    first = TilePass(one)
    assert TilePass(two, first).room is not first.room


def test_parameters_that_change_in_place_count():
    network = MLP((3, 5, 2), dtype=DOUBLE)
    tile_pass = TilePass(network)
    x, slope = drawn(network, 9)
    changes = (
        lambda: shaken(network),
        lambda: network.load_state_dict(shaken(copy.deepcopy(network), 5).state_dict()),
        lambda: [parameter.data.mul_(0.5) for parameter in network.parameters()],
    )
    for change in changes:
        change()
        alike(gradient(tile_pass, x, slope), by_autograd(network, x, slope))


def test_whole_numbers_are_read_as_numbers():
    network = MLP((3, 5, 2), dtype=DOUBLE)
    _, slope = drawn(network, 9)
    for x in (torch.arange(27).view(9, 3), torch.arange(27).view(9, 3) % 2 == 0):
        alike(gradient(TilePass(network), x, slope), by_autograd(network, x, slope))


def test_what_is_a_network_and_nothing_else():
    assert is_its_network(CategoricalPolicy(3, 2))
    assert not is_its_network(torch.nn.Linear(3, 2))
    beside = CategoricalPolicy(3, 2)
    beside.scale = torch.nn.Parameter(torch.ones(1))
    assert not is_its_network(beside)
    patched = CategoricalPolicy(3, 2)
    patched.logits = lambda obs: torch.zeros(len(obs), 2)
    assert not is_its_network(patched)
