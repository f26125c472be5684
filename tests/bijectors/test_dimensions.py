"""Compositions through which events change how many dimensions they have."""

from __future__ import annotations

import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch.errors import ShapeError

UP = bij.Compose([bij.Reshape(-1, (2, 3, -1)), bij.ConvResidual((4,), lipschitz=0.5)])


def test_a_layer_of_images_stands_between_layers_of_vectors() -> None:
    down = [bij.Transpose((1, 2, 0)), bij.Flatten(), bij.AffineCoupling(params.DenseNN((8,)))]
    plan = bij.Compose([UP, *down])
    flow = dist.Flow(dist.DiagNormal(12), plan)
    y = flow.sample((5,))
    assert y.shape == (5, 12) and bool(flow.log_prob(y).isfinite().all())
    with pytest.raises(ShapeError, match=r"Compose part 0 .* can be made"):
        plan.bind((7,))


def test_what_a_composition_needs_follows_from_what_its_parts_make() -> None:
    assert (UP.min_event_dim, UP.dims_after(1), UP.dims_before(3)) == (1, 3, 1)
    inverted = bij.Invert(UP)
    assert (inverted.min_event_dim, inverted.dims_after(3), inverted.dims_before(1)) == (3, 1, 3)
    assert (UP.domain.event_dim, UP.codomain.event_dim) == (1, 3)
    assert dist.Flow(dist.DiagNormal(12), UP).event_shape == (2, 3, 2)
    matrices = bij.Stack([bij.Reshape(-1, (2, -1))] * 2)
    assert (matrices.min_event_dim, matrices.dims_after(2), matrices.dims_before(3)) == (2, 3, 2)
    assert dist.Flow(dist.DiagNormal((2, 4)), matrices).event_shape == (2, 2, 2)
    with pytest.raises(ShapeError, match="at least 3 dimension"):
        inverted.bind((12,))


def test_a_flattening_is_undone_where_its_shape_is_said() -> None:
    assert bij.Compose([bij.Flatten(), bij.Affine()]).min_event_dim == 1
    x = torch.randn(4, 6)
    assert torch.equal(bij.Invert(bij.Flatten((2, 3))).bind((6,)).forward(x), x.reshape(4, 2, 3))
    with pytest.raises(ShapeError, match=r"as in Flatten\(\(2, 3\)\)"):
        bij.Invert(bij.Flatten()).bind((6,))
