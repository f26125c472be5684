"""Dense layers as one operator: the numbers and derivatives of torch's layers, which do what it does not."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator

import pytest
import torch

from flowtorch._native import loader
from flowtorch.nn import Dense, Dependence, MaskedDense, MaskedLinear
from flowtorch.nn.fused_dense import FEWEST_POINTS, dense_layers
from flowtorch.testing import perturb
from tests.ops.fused_cases import needs_kernels, reference_forms

# The warning is torch's own, raised once in a process, when forward-mode differentiation is used first.
pytestmark = [needs_kernels, pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")]
ACTIVATIONS = {
    "ReLU": torch.nn.ReLU,
    "leaky": lambda: torch.nn.LeakyReLU(0.1),
    "Tanh": torch.nn.Tanh,
    "ELU": lambda: torch.nn.ELU(0.7),
    "none": torch.nn.Identity,
}
# Below and above the widths of vectors, panels and tiles; more points than are summed at once; more columns than rows.
SIZES = [
    (16, (3, 5)),
    (40, (7, 33, 19)),
    (37, (16, 64, 32)),
    (600, (5, 12, 70)),
    (16, (1, 1, 1)),
    (100, (130, 9)),
    (70, (40, 100)),
]


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def layers(widths: tuple[int, ...], masked: str, seed: int = 1) -> list[torch.nn.Linear]:
    """Layers whose masks are none, triangular, that with rows in another order, with holes, or leave nothing."""
    made: list[torch.nn.Linear] = []
    for n, m in itertools.pairwise(widths):
        if masked == "no":
            layer = torch.nn.Linear(n, m)
        else:
            rows, columns = torch.arange(m).unsqueeze(1) * 8 // m, torch.arange(n) * 8 // n
            scattered = columns <= rows[torch.arange(m) * 7 % m]
            mask = {
                "prefix": columns <= rows,
                "scattered": scattered,
                "holes": draw(m, n) > 0.8,
                "empty": torch.zeros(m, n) > 0,
            }[masked]
            layer = MaskedLinear(mask)
        made.append(layer.double())
        for index, p in enumerate(layer.parameters()):
            p.data = draw(*p.shape, seed=seed + index) * n**-0.5
    return made


def together(
    of: list[torch.nn.Linear], activations: list[torch.nn.Module], x: torch.Tensor, add: torch.Tensor | None
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The output, and gradients of a weighted sum of it."""
    leaves = [x.clone().requires_grad_(), *(() if add is None else [add.clone().requires_grad_()])]
    y = dense_layers(of, activations, leaves[0], add=None if add is None else leaves[1])
    return y, list(torch.autograd.grad(y, [*leaves, *(p for layer in of for p in layer.parameters())], torch.sin(y)))


class Spy:
    """Counts the calls of an operator."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self.operator = torch.ops.flowtorch.dense_forward
        patch.setattr(torch.ops.flowtorch, "dense_forward", self)

    def __call__(self, *args: object) -> list[torch.Tensor]:
        self.calls += 1
        found: list[torch.Tensor] = self.operator(*args)
        return found


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Spy]:
    yield Spy(monkeypatch)


@pytest.mark.parametrize("added", [False, True], ids=["alone", "added"])
@pytest.mark.parametrize("masked", ["no", "prefix", "scattered", "holes", "empty"])
@pytest.mark.parametrize(("points", "widths"), SIZES, ids=str)
def test_values_and_gradients_are_those_of_torch(
    points: int, widths: tuple[int, ...], masked: str, added: bool, spy: Spy
) -> None:
    of, x = layers(widths, masked), draw(points, widths[0], seed=3)
    add = draw(points, widths[1], seed=4) if added else None
    for make in ACTIVATIONS.values():
        for count in (len(of), len(of) - 1):
            activations = [make() for _ in range(count)]
            spy.calls = 0
            y, gradients = together(of, activations, x, add)
            assert spy.calls == 1
            with reference_forms():
                expected, expected_gradients = together(of, activations, x, add)
            torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(gradients, expected_gradients, rtol=1e-11, atol=1e-11)


def test_single_precision_is_as_exact_as_torchs(spy: Spy) -> None:
    of, x = layers((64, 128, 300), "prefix"), draw(500, 64, seed=3)
    activations = [torch.nn.ReLU()]
    exact, exact_gradients = together(of, activations, x, None)
    single = [copy.deepcopy(layer).float() for layer in of]
    y, gradients = together(single, activations, x.float(), None)
    with reference_forms():
        plain, plain_gradients = together(single, activations, x.float(), None)
    for found, theirs, right in zip((y, *gradients), (plain, *plain_gradients), (exact, *exact_gradients), strict=True):
        scale = right.abs().max()
        assert (found - right).abs().max() <= 2.0 * (theirs - right).abs().max() + 1e-7 * scale


@pytest.mark.parametrize("shape", [(2, 3, 10), (40,), (20, 1)], ids=str)
def test_batches_of_any_shape_and_strides(shape: tuple[int, ...], spy: Spy) -> None:
    of, activations = layers((6, 20, 4), "prefix"), [torch.nn.ReLU()]
    wide = draw(*shape, 13, seed=3)
    strided = draw(6, *shape, seed=5).movedim(0, -1)
    for x in (wide[..., :6], wide, strided, draw(6, seed=6).expand(*shape, 6)):
        y, gradients = together(of, activations, x, None)
        with reference_forms():
            expected, expected_gradients = together(of, activations, x, None)
        torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(gradients, expected_gradients, rtol=1e-11, atol=1e-11)
    assert spy.calls == 4


def test_gradients_with_stride_zero_and_without(spy: Spy) -> None:
    of, x = layers((6, 20, 4), "prefix"), draw(50, 6).requires_grad_()
    found = torch.autograd.grad(dense_layers(of, [torch.nn.ReLU()], x).sum(), x)[0]
    with reference_forms():
        expected = torch.autograd.grad(dense_layers(of, [torch.nn.ReLU()], x).sum(), x)[0]
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    frozen = [layer.requires_grad_(False) for layer in of]
    y = dense_layers(frozen, [torch.nn.ReLU()], x.detach())
    assert spy.calls == 2 and not y.requires_grad


def test_threads_share_the_work_and_change_nothing(spy: Spy) -> None:
    of, x = layers((30, 100, 90), "prefix"), draw(1000, 30)
    alone, gradients = together(of, [torch.nn.Tanh()], x, None)
    torch.set_num_threads(2)
    try:
        shared, shared_gradients = together(of, [torch.nn.Tanh()], x, None)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(alone, shared) and all(map(torch.equal, gradients, shared_gradients))
    assert spy.calls == 2


def test_second_derivatives_and_batched_gradients(spy: Spy) -> None:
    of, x = layers((3, 6, 2), "prefix"), draw(FEWEST_POINTS, 3).requires_grad_()
    add = draw(FEWEST_POINTS, 6, seed=7).requires_grad_()
    inputs = (x, add, of[0].weight)
    f = lambda x, add, _: dense_layers(of, [torch.nn.Tanh()], x, add=add)  # noqa: E731
    assert torch.autograd.gradcheck(f, inputs) and torch.autograd.gradgradcheck(f, inputs)
    y = f(*inputs)
    rows = torch.eye(y.numel(), dtype=y.dtype).reshape(-1, *y.shape)
    batched = torch.autograd.grad(y, x, rows, is_grads_batched=True, retain_graph=True)[0]
    torch.testing.assert_close(batched, torch.stack([torch.autograd.grad(y, x, r, retain_graph=True)[0] for r in rows]))
    assert spy.calls > 0


def test_transforms_and_programs_get_torchs_layers(spy: Spy) -> None:
    net = Dense(3, 0, (8,), 2).double()
    perturb(net, torch.Generator().manual_seed(0))
    x, f = draw(20, 3), lambda x: net(x, None)
    expected = torch.autograd.functional.jacobian(lambda x: f(x).sum(0), x).movedim(1, 0)
    spy.calls = 0
    torch.testing.assert_close(torch.func.vmap(torch.func.jacrev(f))(x), expected)
    tangent = torch.func.jvp(f, (x,), (torch.ones_like(x),))[1]
    torch.testing.assert_close(tangent, expected.sum(-1))
    compiled = torch.compile(f, fullgraph=True, backend="eager")(x)
    exported = torch.export.export(net, (x, None)).module()(x, None)
    assert spy.calls == 0
    torch.testing.assert_close(compiled, f(x))
    torch.testing.assert_close(exported, f(x))
    assert spy.calls == 2


def _hook(net: MaskedDense) -> None:
    net.hidden[0].register_forward_hook(lambda *_: None)


def _parametrize(net: MaskedDense) -> None:
    torch.nn.utils.parametrizations.weight_norm(net.hidden[0])  # type: ignore[arg-type]


def _replace(net: MaskedDense) -> None:
    net.activations[0] = torch.nn.GELU()  # type: ignore[index]


@pytest.mark.parametrize("change", [_hook, _parametrize, _replace, MaskedDense.bfloat16])
def test_what_the_operator_does_not_know_is_done_by_torch(change: Callable[[MaskedDense], object], spy: Spy) -> None:
    net = MaskedDense(Dependence([0, 1, 3], [1, 1, 1], 1, 0), (8,), 2)
    x = torch.zeros(20, 3)
    net(x, None)
    assert spy.calls == 1
    change(net)
    net(x.to(net.last[0].weight.dtype), None)
    # The hidden layer is torch's; the last one may still be ours.
    assert spy.calls <= 2 and net(x.to(net.last[0].weight.dtype), None).shape == (20, 2, 3)


def test_a_hook_is_called_and_autocast_obeyed(spy: Spy) -> None:
    net, seen = MaskedDense(Dependence([0, 1, 3], [1, 1, 1], 1, 0), (8,), 2), []
    net.hidden[0].register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
    net(torch.zeros(20, 3), None)
    assert seen == [(20, 8)]
    with torch.autocast("cpu", torch.bfloat16):
        assert Dense(3, 0, (8,), 2)(torch.zeros(20, 3), None).dtype == torch.bfloat16
    assert spy.calls == 0


def test_few_points_are_left_to_torch(spy: Spy) -> None:
    net = Dense(3, 0, (8,), 2)
    for points, calls in ((0, 0), (1, 0), (FEWEST_POINTS - 1, 0), (FEWEST_POINTS, 1)):
        net(torch.zeros(points, 3), None)
        assert spy.calls == calls


def test_a_step_of_training_of_a_flow_is_that_of_the_reference() -> None:
    import flowtorch.bijectors as bij
    import flowtorch.distributions as dist

    plan = bij.Compose([bij.SplineAutoregressive(), bij.Invert(bij.AffineAutoregressive()), bij.SplineCoupling()])
    flow = dist.Flow(dist.DiagNormal(5), plan, context_shape=(2,)).double()
    perturb(flow, torch.Generator().manual_seed(0), 0.2)
    x, context = draw(64, 5), draw(64, 2, seed=2)
    found = []
    for forms in (pytest.MonkeyPatch.context, reference_forms):
        with forms():
            found.append(torch.autograd.grad(flow.log_prob(x, context).mean(), [*flow.parameters()], allow_unused=True))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-8, atol=1e-10)


def test_operators_refuse_what_does_not_fit() -> None:
    assert loader.capability is not None
    forward, x, w, b = torch.ops.flowtorch.dense_forward, draw(20, 3), draw(4, 3), draw(4)
    reach, nothing = torch.tensor([1, 2, 3, 0]), draw(0)
    wrong: list[tuple[object, ...]] = [
        (x.float(), None, [w], [], [], [b]),
        (x, None, [], [], [], []),
        (x, None, [draw(4, 5)], [], [], [b]),
        (x, None, [w], [draw(4, 2)], [reach], [b]),
        (x, None, [w], [nothing], [], [b]),
        (x, None, [w], [nothing], [reach[:3]], [b]),
        (x, None, [w], [nothing], [reach.int()], [b]),
        (x, None, [w], [nothing], [reach + 1], [b]),
        (x, None, [w], [], [], [draw(3)]),
        (x, None, [w], [], [], []),
        (x, draw(20, 3), [w], [], [], [b]),
        (draw(3), None, [w], [], [], [b]),
    ]
    for arguments in wrong:
        with pytest.raises(RuntimeError, match="flowtorch: .* (is|are) expected"):
            forward(*arguments, 1, 0.0, False)
    outputs = forward(x, None, [w], [], [], [b], 1, 0.0, True)
    for gradient, given in ((draw(20, 3), outputs), (draw(20, 4), []), (draw(19, 4), outputs)):
        with pytest.raises(RuntimeError, match="flowtorch: .* (is|are) expected"):
            torch.ops.flowtorch.dense_backward(gradient, x, given, [w], [], [], 1, 0.0, True, True)
