"""``DiagNormal``: independent normals over an event of any shape."""

from __future__ import annotations

import copy
import math

import pytest
import scipy.stats
import torch
from torch import distributions as td

import flowtorch.bijectors as bij
from flowtorch.distributions import DiagNormal, Flow
from flowtorch.errors import ShapeError
from tests.distributions.helpers import close, draw, same_draws


def t(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 3), torch.Size([4]), [2, 2], 5])
def test_a_standard_normal_over_the_event(shape: object) -> None:
    base = DiagNormal(shape)  # type: ignore[arg-type]
    event = (shape,) if isinstance(shape, int) else tuple(shape)  # type: ignore[arg-type]
    assert base.event_shape == event == base.shape and base.batch_shape == ()
    y = draw(4, *event).float()
    close(base.log_prob(y), td.Normal(0.0, 1.0).log_prob(y).reshape(4, -1).sum(-1), 1e-5)  # float32 sums
    assert base.sample((5, 2)).shape == (5, 2, *event) and base.has_rsample


def test_location_and_scale() -> None:
    loc, scale = draw(2, 3), draw(2, 3, seed=1).exp()
    base = DiagNormal((2, 3), loc, scale)
    y = draw(5, 2, 3, seed=2)
    expected = scipy.stats.norm(loc.numpy(), scale.numpy()).logpdf(y.numpy()).sum((1, 2))
    close(base.log_prob(y), torch.from_numpy(expected))
    close(base.loc, loc)
    close(base.scale, scale)
    close(base.mean, loc)
    close(base.entropy(), torch.from_numpy(scipy.stats.norm(0, scale.numpy()).entropy()).sum())


@pytest.mark.parametrize(
    ("loc", "scale"),
    [(0.5, 2.0), (t(1.0, 2.0, 3.0), 2.0), (1, t(0.5)), (t(1.0, 2.0, 3.0), t(3.0)[0]), (draw(2, 1), t(1.0, 2.0, 0.5))],
)
def test_they_broadcast_to_the_shape(loc: torch.Tensor | float, scale: torch.Tensor | float) -> None:
    base = DiagNormal((2, 3), loc, scale)
    dtype = torch.float64 if any(isinstance(v, torch.Tensor) for v in (loc, scale)) else torch.get_default_dtype()
    close(base.loc, torch.as_tensor(loc, dtype=dtype).expand(2, 3))
    close(base.scale, torch.as_tensor(scale, dtype=dtype).expand(2, 3))


def test_the_dtype_is_that_of_the_more_precise() -> None:
    for loc, scale, dtype in (
        (torch.zeros(2), torch.ones(2).double(), torch.float64),
        (t(0.0, 0.0), torch.ones(2), torch.float64),
        (torch.zeros(2).half(), 1.0, torch.float16),
        (torch.tensor([1, 2]), 1.5, torch.float32),
        (torch.tensor([1, 2]), t(0.1), torch.float64),
        (0, 1, torch.float32),
    ):
        base = DiagNormal(2, loc, scale)
        assert base.loc.dtype == base.scale.dtype == dtype
    assert DiagNormal(2, torch.tensor([1, 2]), 1.5).scale.tolist() == [1.5, 1.5]


def test_the_device_is_the_tensors() -> None:
    base = DiagNormal(2, torch.zeros(2, device="meta"), 2.0, validate_args=False)
    assert base.loc.device.type == base.scale.device.type == "meta"


def test_shapes_that_do_not_broadcast_are_refused() -> None:
    for loc, scale, got in (
        (torch.zeros(3), 1.0, r"\(3,\) and \(\)"),
        (0.0, torch.ones(4, 2), r"\(\) and \(4, 2\)"),
        (torch.zeros(2), torch.ones(3), r"\(2,\) and \(3,\)"),
    ):
        with pytest.raises(
            ShapeError, match=rf"DiagNormal: loc and scale that broadcast to \(2,\) are expected; got {got}"
        ):
            DiagNormal(2, loc, scale)
    with pytest.raises(ShapeError, match=r"DiagNormal: a shape is a sequence of integers; got 'two'"):
        DiagNormal("two")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"DiagNormal: a shape has no negative sizes; got \(-1,\)"):
        DiagNormal(-1)


def test_torchs_validation_is_torchs() -> None:
    with pytest.raises(ValueError, match="scale"):
        DiagNormal(2, scale=-1.0)
    assert DiagNormal(2, scale=-1.0, validate_args=False).scale.tolist() == [-1.0, -1.0]
    with pytest.raises(ValueError, match="within the support"):
        DiagNormal(2, validate_args=True).log_prob(torch.full((2,), math.nan))


def test_expand() -> None:
    base = DiagNormal(3, t(1.0, 2.0, 3.0), t(0.5))
    wide = base.expand((4, 2))
    assert wide.batch_shape == (4, 2) and wide.event_shape == (3,) and wide.sample((5,)).shape == (5, 4, 2, 3)
    y = draw(3)
    close(wide.log_prob(y), base.log_prob(y).expand(4, 2))
    assert len(set(wide.sample()[..., 0].reshape(-1).tolist())) == 8
    assert wide.expand((7, 4, 2)).batch_shape == (7, 4, 2) and base.expand(6).batch_shape == (6,)
    with pytest.raises(ShapeError, match=r"DiagNormal.expand: a shape"):
        base.expand("no")  # type: ignore[arg-type]


def test_it_is_what_torchs_independent_normal_is() -> None:
    loc, scale = draw(2, 3), draw(2, 3, seed=1).exp()
    base, of_torch = DiagNormal((2, 3), loc, scale), td.Independent(td.Normal(loc, scale), 2)
    assert isinstance(base, td.Independent) and str(base.support) == str(of_torch.support)
    same_draws(base, of_torch)
    kl = td.kl_divergence(base, td.Independent(td.Normal(0 * loc, 1.0), 2))
    close(kl, td.kl_divergence(of_torch, td.Independent(td.Normal(0 * loc, 1.0), 2)))


def test_a_flow_carries_it_as_itself() -> None:
    flow = Flow(DiagNormal((2, 3), draw(3), t(2.0)), bij.Tanh())
    assert type(flow.base_dist) is DiagNormal and flow.base_dist.shape == (2, 3)
    same_draws(copy.deepcopy(flow), flow)
    scalar = Flow(DiagNormal((), 0.5, 2.0), bij.Exp())
    assert scalar.event_shape == () and scalar.cdf(torch.tensor(1.0)).shape == ()
