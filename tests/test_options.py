"""The options of plans: their names and defaults, what is accepted at the edges, and the small conversions."""

from __future__ import annotations

import dataclasses
import inspect
import math
from typing import Any

import numpy as np
import pytest
import torch

import flowtorch.bijectors as bij
import flowtorch.parameters as params
from flowtorch import options
from flowtorch.types import as_nested, as_size, flatten, nested_shape, numel

AFFINE = {
    "scale_fn": "softplus",
    "clamp_values": False,
    "log_scale_min_clip": -5.0,
    "log_scale_max_clip": 3.0,
    "sigmoid_bias": 2.0,
}
GATED = {**AFFINE, "gated": False}
SPLINE = {
    "count_bins": 8,
    "bound": 3.0,
    "order": "linear",
    "min_bin_width": 1e-3,
    "min_bin_height": 1e-3,
    "min_derivative": 1e-3,
    "min_lambda": 0.025,
    "tails": "linear",
}
AUTOREGRESSIVE = {"dim": None, "inversion": "sequential"}
COUPLING = {"mask": "half", "split": None, "swap": False, "dim": None, "untouched": None}
NETWORK = {"hidden_dims": (256, 256), "nonlinearity": torch.nn.ReLU, "residual": False}

RESIDUAL = {
    "nonlinearity": "lipswish",
    "lipschitz": 0.9,
    "trace": "auto",
    "terms": 8,
    "tolerance": 1e-10,
    "steps": None,
}
LINEAR = {"params_fn": None, "dim": None, "bias": False}

# The names of FlowTorch 0.8 among them (params_fn, scale_fn, clamp_values, the clips, count_bins, bound, order,
# hidden_dims, nonlinearity, permutation, skip_connections) are what people have written.
DEFAULTS: dict[type, dict[str, Any]] = {
    bij.Affine: {"params_fn": None, **GATED},
    bij.Scale: {"params_fn": None, **AFFINE},
    bij.Shift: {"params_fn": None},
    bij.Spline: {"params_fn": None, **SPLINE},
    bij.Autoregressive: {"params_fn": None, **AUTOREGRESSIVE},
    bij.AffineAutoregressive: {"params_fn": None, **AUTOREGRESSIVE, **GATED},
    bij.SplineAutoregressive: {"params_fn": None, **AUTOREGRESSIVE, **SPLINE},
    bij.Coupling: {"params_fn": None, **COUPLING},
    bij.AffineCoupling: {"params_fn": None, **COUPLING, **GATED},
    bij.SplineCoupling: {"params_fn": None, **COUPLING, **SPLINE},
    bij.AdditiveCoupling: {"params_fn": None, **COUPLING},
    bij.Residual: {"hidden_dims": (128, 128), **RESIDUAL},
    bij.ConvResidual: {"hidden_dims": (64, 64), **RESIDUAL, "kernel_size": 3},
    bij.ActNorm: {"dim": None},
    bij.BatchNorm: {"dim": None, "momentum": 0.1, "eps": 1e-5},
    bij.LU: {**LINEAR, **AFFINE, "permutation": "identity"},
    bij.LowerCholeskyAffine: {**LINEAR, **AFFINE, "bias": True},
    bij.GeneralizedChannelPermute: {**LINEAR, **AFFINE, "dim": 0, "permutation": None, "initial": "rotation"},
    bij.Householder: {**LINEAR, "count_transforms": 1},
    bij.QR: {**LINEAR, **AFFINE, "count_transforms": None},
    bij.SVD: {**LINEAR, **AFFINE, "count_transforms": None},
    bij.Orthogonal: {**LINEAR, "method": "cayley"},
    bij.DiagonalPlusLowRank: {**LINEAR, **AFFINE, "rank": 1},
    bij.DiscreteCosine: {"smooth": 0.0, "dim": -1},
    bij.Haar: {"dim": -1, "flip": False},
    bij.AffineFixed: {"loc": 0.0, "scale": 1.0},
    bij.LeakyReLU: {"slope": 0.01},
    bij.Power: {"exponent": 2.0},
    bij.Permute: {"permutation": None, "dim": None},
    bij.Reverse: {"dim": None},
    params.Tensor: {},
    params.DenseNN: NETWORK,
    params.MADE: {**NETWORK, "permutation": None, "passes": None, "adjacency": None, "skip_connections": False},
}


@pytest.mark.parametrize("plan", DEFAULTS, ids=lambda c: c.__name__)
def test_names_and_defaults(plan: Any) -> None:
    fields = {f.name: f.default for f in dataclasses.fields(plan) if f.default is not dataclasses.MISSING}
    assert fields == DEFAULTS[plan]


@pytest.mark.parametrize("plan", DEFAULTS, ids=lambda c: c.__name__)
def test_options_are_given_by_name(plan: Any) -> None:
    """What a plan is about may be given by position; its options not: their order means nothing."""
    by_position = [
        name
        for name, p in inspect.signature(plan).parameters.items()
        if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    about = {
        "smooth",
        "params_fn",
        "elementwise",
        "loc",
        "scale",
        "slope",
        "exponent",
        "permutation",
        "hidden_dims",
        "_",
    }
    assert set(by_position) <= about and len(by_position) <= 2


def test_infinite_clips_integers_for_floats_and_numpy_numbers_are_accepted() -> None:
    plan = bij.Affine(log_scale_min_clip=-math.inf, log_scale_max_clip=math.inf, sigmoid_bias=np.float64(1.5))
    assert plan.sigmoid_bias == 1.5
    assert bij.Spline(bound=4) == bij.Spline(bound=4.0)
    assert bij.Power(-1).exponent == -1
    assert params.MADE(range(1, 3)).hidden_dims == (1, 2)


def test_bounds_of_numbers_are_open() -> None:
    for value in (1e-300, 0.999):
        options.number("Who", "x", value, above=0.0, below=1.0)
    for value in (0.0, 1.0, -1.0, math.inf, math.nan, 10**400, -(10**400)):
        with pytest.raises(options.OptionError, match=r"Who: x is expected to lie in \(0, 1\); got "):
            options.number("Who", "x", value, above=0.0, below=1.0)


def test_short_is_one_line_of_bounded_length() -> None:
    for value in (torch.zeros(3, 4), torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU()), "x" * 500, int, None):
        text = options.short(value)
        assert "\n" not in text and len(text) < 90
    assert options.short(torch.zeros(3, 4)) == "a tensor of shape (3, 4)"
    assert options.short(int) == "the class int"
    assert options.short("x" * 500).endswith("...")


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (3, (3,)),
        ((), ()),
        ([2, 3], (2, 3)),
        (torch.Size([2]), (2,)),
        (np.array([2, 3]), (2, 3)),
        ((np.int64(2), torch.tensor(3)), (2, 3)),
        (range(2, 4), (2, 3)),
    ],
    ids=str,
)
def test_sizes_come_as_any_sequence_of_integers(shape: Any, expected: tuple[int, ...]) -> None:
    size = as_size(shape, "Who")
    assert type(size) is torch.Size and size == expected
    assert all(type(n) is int for n in size)


def test_nested_numbers() -> None:
    for given in ([[1, 2], [3, 4]], torch.tensor([[1, 2], [3, 4]]), np.array([[1, 2], [3, 4]]), ((1.0, 2), [3, 4.0])):
        value = as_nested(given, "Who")  # type: ignore[arg-type]
        assert value == ((1.0, 2.0), (3.0, 4.0)) and hash(value)
        assert all(type(x) is float for x in flatten(value))
        assert nested_shape(value) == (2, 2) and flatten(value) == (1.0, 2.0, 3.0, 4.0)
    assert as_nested(torch.tensor(0.1, dtype=torch.float64), "Who") == 0.1
    assert as_nested(np.float32(0.5), "Who") == 0.5  # type: ignore[arg-type]
    assert (nested_shape(2.0), flatten(2.0)) == ((), (2.0,))
    assert (numel(()), numel((2, 3)), numel((2, 0))) == (1, 6, 0)
