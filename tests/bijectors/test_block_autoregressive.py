"""Block autoregressive maps: conformance in every form, what they compute, extremes, options."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest
import torch

from flowtorch.bijectors.base import plan_from_dict
from flowtorch.bijectors.block_autoregressive import BlockAutoregressive
from flowtorch.errors import OptionError, OptionTypeError, ShapeError
from flowtorch.ops.block import ACTIVATIONS, ActivationName
from flowtorch.testing import autodiff_jacobian, check_bijector

from .block_autoregressive import FORMS, RESIDUALS, Context, bind, every_form, points

# Conformance ---------------------------------------------------------------------------------------------------------


@every_form
def test_conforms_in_every_form(activation: ActivationName, residual: Any) -> None:
    plan = BlockAutoregressive((3, 2), activation=activation, residual=residual)
    check_bijector(plan, (3,), (2,), skip=["compile"])  # compiled in tests/cases.py, with fewer steps


@pytest.mark.parametrize("residual", RESIDUALS)
@pytest.mark.parametrize(("shape", "context_shape"), [((1,), None), ((1,), (2, 1)), ((2, 3), None)])
def test_conforms_on_events_of_any_shape(residual: Any, shape: tuple[int, ...], context_shape: Context) -> None:
    check_bijector(BlockAutoregressive((3, 2), residual=residual), shape, context_shape, skip=["compile"])


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("context_shape", [None, (2,)], ids=["free", "context"])
def test_conforms_along_an_axis(dim: int, context_shape: Context) -> None:
    check_bijector(BlockAutoregressive((4,), dim=dim), (2, 3, 1), context_shape, skip=["compile"])


@pytest.mark.parametrize(
    ("activation", "residual"), [(a, r) for a, r in FORMS if (a == "tanh") is (r != "gated") or a == "leaky_relu"]
)
def test_derivatives_of_the_inverse_are_right_up_to_the_second(activation: ActivationName, residual: Any) -> None:
    bound = bind(BlockAutoregressive((2,), activation=activation, residual=residual), (2,), (1,))
    names, weights = zip(*bound.named_parameters(), strict=True)

    class Inverse(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bound = bound

        def forward(self, y: torch.Tensor, context: torch.Tensor) -> Any:
            return self.bound.inverse_and_log_det(y, context)

    inverse = Inverse()

    def function(y: torch.Tensor, context: torch.Tensor, *given: torch.Tensor) -> Any:
        named = {f"bound.{name}": value for name, value in zip(names, given, strict=True)}
        return torch.func.functional_call(inverse, named, (y, context))

    context = points(2, 1, seed=3).requires_grad_()
    y = bound.forward(points(2, 2), context).detach().requires_grad_()
    inputs = (y, context, *(w.detach().requires_grad_() for w in weights))
    with torch.random.fork_rng(devices=[]):  # the fast mode compares in directions that it draws
        torch.manual_seed(0)
        assert torch.autograd.gradcheck(function, inputs, fast_mode=True)
        if activation != "leaky_relu":  # whose second derivatives are zero but in points
            assert torch.autograd.gradgradcheck(function, inputs, atol=1e-4, fast_mode=True)


# What it computes ----------------------------------------------------------------------------------------------------


@every_form
def test_residual_forms_are_those_of_the_network_alone(activation: ActivationName, residual: Any) -> None:
    bound = bind(BlockAutoregressive((3, 2), activation=activation, residual=residual))
    x = points(5, 3)
    value, _ = bound.net(x, None)
    assert bound.net.activation is ACTIVATIONS[activation]  # tests/nn/test_block.py has the network
    share = None if bound.gate is None else 0.01 + 0.99 * torch.sigmoid(bound.gate)
    expected = (
        value if residual is None else x + value if residual == "normal" else share * x + (1.0 - share) * value  # type: ignore[operator]
    )
    torch.testing.assert_close(bound.forward(x), expected)


def test_coordinates_depend_on_those_before_and_on_the_context() -> None:
    bound = bind(BlockAutoregressive((3, 2)), (2, 2), (3,))
    context = points(5, 3, seed=3)
    jacobian = autodiff_jacobian(lambda x: bound.forward(x, context), points(5, 2, 2), torch.Size((2, 2)))
    assert bool((jacobian.triu(1) == 0.0).all()) and bool((jacobian.tril() != 0.0).eq(torch.ones(4, 4).tril()).all())
    by_context = autodiff_jacobian(lambda c: bound.forward(points(5, 2, 2), c), context, torch.Size((3,)))
    assert bool((by_context != 0.0).all())


def test_the_context_is_added_to_the_first_layer() -> None:
    bound = bind(BlockAutoregressive((3, 2)), (3,), (2,))
    context, x = points(2, seed=3), points(4, 3)
    expected = bound.forward_and_log_det(x, context)
    layers, from_context = bound.net.layers, cast(torch.nn.Linear, bound.net.context)
    with torch.no_grad():
        layers[0].bias.add_((from_context.weight @ context).reshape(3, 3))
    for got, given in zip(bound.forward_and_log_det(x, torch.zeros_like(context)), expected, strict=True):
        torch.testing.assert_close(got, given)


def test_along_an_axis_all_vectors_move_alike() -> None:
    plan = BlockAutoregressive((3, 2))
    alone = bind(plan, (3,), (2,))
    x, context = points(5, 2, 3), points(5, 2, seed=3)
    expected = [alone.forward_and_log_det(x[:, i], context) for i in (0, 1)]
    for dim, move in ((-1, lambda t: t), (0, lambda t: t.transpose(-1, -2))):
        bound = BlockAutoregressive((3, 2), dim=dim).bind((2, 3) if dim == -1 else (3, 2), (2,)).double()
        bound.load_state_dict(alone.state_dict())
        y, log_det = bound.forward_and_log_det(move(x), context)
        torch.testing.assert_close(move(y), torch.stack([y for y, _ in expected], 1))
        torch.testing.assert_close(log_det, expected[0][1] + expected[1][1])


def test_hidden_factors_are_units_per_coordinate() -> None:
    def count(*factors: int, residual: Any = "normal") -> int:
        return BlockAutoregressive(factors, residual=residual).check((4,)).parameters

    # For each layer the blocks below the diagonal (all are kept, half of them are in force) and on it, scales, biases.
    assert count(3) == (3 * 16 + 3 * 4 + 2 * 12) + (3 * 16 + 3 * 4 + 2 * 4)
    assert count(3, 5) == (3 * 16 + 3 * 4 + 2 * 12) + (15 * 16 + 15 * 4 + 2 * 20) + (5 * 16 + 5 * 4 + 2 * 4)
    assert count(3, residual="gated") == count(3) + 1 and count(3, residual=None) == count(3)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_fresh_residual_map_is_near_the_identity(activation: ActivationName) -> None:
    torch.manual_seed(0)
    x = torch.linspace(-3.0, 3.0, 13)[:, None].expand(13, 4)
    for residual in ("gated", "normal"):
        bound = BlockAutoregressive(activation=activation, residual=cast(Any, residual)).bind((4,))
        y, log_det = (t.detach() for t in bound.forward_and_log_det(x))
        assert float((y - x).abs().max()) < 1.0 and float(log_det.abs().max()) < 0.8
    alone = BlockAutoregressive(activation=activation, residual=None).bind((4,))
    assert float(alone.forward_and_log_det(x[4:9])[1].detach().abs().max()) < 6.0  # within (-1, 1)


# Extremes ------------------------------------------------------------------------------------------------------------


@every_form
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 50.0])
def test_extreme_points_and_weights(
    activation: ActivationName, residual: Any, dtype: torch.dtype, scale: float
) -> None:
    bound = bind(BlockAutoregressive(activation=activation, residual=residual), dtype=dtype, scale=0.0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in bound.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator).sign().to(dtype))
    far = [[s * v for s in signs] for v in (1e-8, 1.0, 30.0, 1e3, 1e6) for signs in ((1, 1, 1), (-1, 1, -1))]
    for direction in (bound.forward_and_log_det, bound.inverse_and_log_det):
        value = torch.tensor([[0.0, 0.0, 0.0], *far], dtype=dtype).requires_grad_()
        out, log_det = direction(value)
        assert bool(out.isfinite().all())
        outside = torch.isneginf(log_det)
        assert not outside.any() or (residual is None and direction == bound.inverse_and_log_det)
        log_det = torch.where(outside, 0.0, log_det)
        assert bool(log_det.isfinite().all())
        gradients = torch.autograd.grad(out.sum() + log_det.sum(), [value, *bound.parameters()])
        assert all(bool(g.isfinite().all()) for g in gradients)


@pytest.mark.parametrize("residual", RESIDUALS)
def test_nan_stays_nan_in_its_own_row(residual: Any) -> None:
    bound = bind(BlockAutoregressive(residual=residual))
    value = 0.1 * points(4, 3)
    value[1, 0], value[2, 2] = math.nan, math.nan
    for direction in (bound.forward_and_log_det, bound.inverse_and_log_det):
        out, log_det = direction(value)
        assert (out.isnan().any(-1) | log_det.isnan()).tolist() == [False, True, True, False]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    bound = bind(BlockAutoregressive(), (3,), (2,), dtype=dtype)
    x, context = points(5, 3).to(dtype), points(5, 2, seed=3).to(dtype)
    y, log_det = bound.forward_and_log_det(x, context)
    back, inverse_log_det = bound.inverse_and_log_det(y, context)
    assert {t.dtype for t in (y, log_det, back, inverse_log_det)} == {dtype}
    single = bound.float()
    expected = single.forward_and_log_det(x.float(), context.float())
    for got, exact in zip((y, log_det), expected, strict=True):  # rounded once
        assert torch.equal(got, exact.to(dtype))


def test_a_wider_input_is_computed_as_it_is() -> None:
    bound = bind(BlockAutoregressive(), (3,), dtype=torch.float32)
    x = points(5, 3)
    y = bound.forward(x)
    assert y.dtype == torch.float64
    torch.testing.assert_close(bound.inverse(y), x, rtol=1e-12, atol=1e-12)


def test_autocast_leaves_the_map_alone() -> None:
    bound = bind(BlockAutoregressive(), (3,), (2,), dtype=torch.float32)
    x, context = points(5, 3).float(), points(5, 2, seed=3).float()
    y, log_det = bound.forward_and_log_det(x, context)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for got, expected in zip(bound.forward_and_log_det(x, context.bfloat16()), (y, log_det), strict=True):
            assert got.dtype == torch.float32
            torch.testing.assert_close(got, expected, rtol=1e-2, atol=1e-2)
        assert torch.equal(bound.forward(x, context), y)
        torch.testing.assert_close(bound.inverse(y, context), x)


# The plan ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        (
            {"hidden_factors": 8},
            OptionTypeError,
            r"hidden_factors is expected to be a sequence such as \(8, 8\); got 8",
        ),
        ({"hidden_factors": "88"}, OptionTypeError, "hidden_factors is expected to be a sequence .*; got '88'"),
        ({"hidden_factors": ()}, OptionError, r"hidden_factors is expected to name at least one layer; got \(\)"),
        ({"hidden_factors": (8, 0)}, OptionError, "each of hidden_factors is expected to be at least 1; got 0"),
        ({"hidden_factors": (8.0,)}, OptionTypeError, "each of hidden_factors is expected to be an integer; got 8.0"),
        ({"activation": "relu"}, OptionError, "activation is expected to be one of 'tanh', .*; got 'relu'"),
        ({"residual": "None"}, OptionError, "residual is expected to be one of None, 'normal', 'gated'; got 'None'"),
        ({"dim": 0.5}, OptionTypeError, "dim is expected to be an integer; got 0.5"),
        ({"tolerance": 0.0}, OptionError, "tolerance"),
        ({"steps": 0}, OptionError, "steps"),
    ],
)
def test_options_are_checked(bad: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"BlockAutoregressive: .*{words}"):
        BlockAutoregressive(**bad)


def test_shapes_are_checked() -> None:
    with pytest.raises(ShapeError, match=r"BlockAutoregressive: an event of at least 1 dimension"):
        BlockAutoregressive().bind(())
    with pytest.raises(ShapeError, match=r"BlockAutoregressive: an event with an axis dim=2 is expected"):
        BlockAutoregressive(dim=2).bind((2, 3))


def test_the_plan_says_what_it_is() -> None:
    plan = BlockAutoregressive([4, 4], dim=-1, activation="elu", residual="normal")
    assert plan.hidden_factors == (4, 4) and plan == plan_from_dict(plan.to_dict())
    assert plan.exactness == "numerical" and plan.cheap == "forward" and plan.bind((2, 3)).sign == 1
    text = plan.explain()
    for words in ("x + f(x)", "elu", "(4, 4)", "along axis -1", "real to real", "numerical", "context"):
        assert words in text
    alone = BlockAutoregressive(residual=None).explain()
    assert "y = f(x)" in alone and "a part of real" in alone and "flattened event" in alone
    assert "g x + (1 - g) f(x)" in BlockAutoregressive().describe()
