"""What follows from a buffer is computed again when the buffer has changed, and only then."""

from __future__ import annotations

import copy
import io

import torch

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch.nn import MaskedLinear
from flowtorch.nn.derived import Derived

CALLS: list[torch.Tensor] = []


def doubled(buffer: torch.Tensor) -> torch.Tensor:
    CALLS.append(buffer)
    return buffer * 2


def test_it_is_computed_once() -> None:
    CALLS.clear()
    derived, buffer = Derived(doubled), torch.arange(3)
    assert derived(buffer) is derived(buffer)
    assert len(CALLS) == 1


def test_it_is_computed_again_for_another_buffer_and_for_a_changed_one() -> None:
    derived, buffer = Derived(doubled), torch.arange(3)
    assert derived(buffer).tolist() == [0, 2, 4]
    buffer += 1
    assert derived(buffer).tolist() == [2, 4, 6]
    assert derived(torch.tensor([5])).tolist() == [10]


def test_nothing_is_kept_where_changes_are_not_counted() -> None:
    derived = Derived(doubled)
    with torch.inference_mode():
        buffer = torch.arange(3)
        assert derived(buffer).tolist() == [0, 2, 4]
        buffer += 1
        assert derived(buffer).tolist() == [2, 4, 6]


def test_copies_and_pickles_start_anew() -> None:
    derived, buffer = Derived(doubled), torch.arange(3)
    buffer += 1
    derived(buffer)
    stream = io.BytesIO()
    torch.save(derived, stream)
    stream.seek(0)
    for other in (copy.copy(derived), copy.deepcopy(derived), torch.load(stream, weights_only=False)):
        changed = torch.zeros(3, dtype=torch.long)
        changed += 1  # as many changes as the buffer of the first has had
        assert other(changed).tolist() == [2, 2, 2]


def test_a_copy_that_loads_another_order_follows_it() -> None:
    def bound(order: tuple[int, ...]) -> bij.BoundBijector[bij.Bijector]:
        return bij.AffineAutoregressive(params.MADE(hidden_dims=(8,), permutation=order)).bind((4,))

    first, other = bound((2, 0, 3, 1)), bound((3, 2, 0, 1))
    x = torch.randn(5, 4)
    first.load_state_dict(first.state_dict())  # its buffers are changed once, and what follows from them is kept
    first.forward(x)
    twin = copy.deepcopy(first)
    twin.load_state_dict(other.state_dict())
    torch.testing.assert_close(twin.forward(x), other.forward(x))


def test_a_mask_that_leaves_all_an_output_may_reach_is_not_needed() -> None:
    triangle = MaskedLinear(torch.ones(3, 4).tril().bool())
    reach, mask = triangle.reach()
    assert reach.tolist() == [1, 2, 3]
    assert mask.numel() == 0
    holes = MaskedLinear(torch.tensor([[True, False, True], [False, False, False]]))
    reach, mask = holes.reach()
    assert reach.tolist() == [3, 0]
    assert mask is holes.mask
