"""The dense network of two inputs: against the same network as a ``torch.nn.Sequential`` of the joined input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from flowtorch._native import loader
from flowtorch.errors import ContextError
from flowtorch.nn import Dense
from flowtorch.testing import perturb

# in_features, context_features, hidden_dims
SIZES = [(2, 3, (7, 5)), (2, 0, (7,)), (0, 3, (7, 5)), (2, 3, ()), (1, 0, ()), (0, 2, ()), (4, 1, (6, 6, 6))]
every_size = pytest.mark.parametrize(("n", "m", "hidden"), SIZES, ids=str)


def dense(n: int, m: int, hidden: tuple[int, ...], residual: bool = False) -> Dense:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Dense(n, m, hidden, 4, nonlinearity=torch.nn.Tanh, residual=residual).double()
    perturb(net, torch.Generator().manual_seed(0), scale=1.0)
    return net


def inputs(n: int, m: int, batch: tuple[int, ...]) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    generator = torch.Generator().manual_seed(1)
    x, c = (torch.randn(*batch, k, dtype=torch.float64, generator=generator) for k in (n, m))
    return x if n else None, c if m else None


def joined(x: torch.Tensor | None, c: torch.Tensor | None) -> torch.Tensor:
    given = [t for t in (x, c) if t is not None]
    batch = torch.broadcast_shapes(*(t.shape[:-1] for t in given))
    return torch.cat([t.expand(*batch, t.shape[-1]) for t in given], -1)


@every_size
@pytest.mark.parametrize("batch", [(), (5,), (2, 3)], ids=str)
def test_it_is_a_multilayer_perceptron_of_the_joined_input(
    n: int, m: int, hidden: tuple[int, ...], batch: tuple[int, ...]
) -> None:
    net = dense(n, m, hidden)
    layers: list[torch.nn.Module] = []
    for i, layer in enumerate(net.layers):
        layers += [torch.nn.Tanh()] * (i > 0) + [layer]
    assert [tuple(layer.weight.shape) for layer in net.layers] == [
        (b, a) for a, b in zip((n + m, *hidden), (*hidden, 4), strict=True)
    ]
    x, c = inputs(n, m, batch)
    expected = torch.nn.Sequential(*layers)(joined(x, c))
    torch.testing.assert_close(net(x, c), expected, rtol=1e-12, atol=1e-12)


@every_size
def test_residual_adds_the_input_of_all_hidden_layers_but_the_first(n: int, m: int, hidden: tuple[int, ...]) -> None:
    hidden = (6,) * len(hidden)
    net = dense(n, m, hidden, residual=True)
    x, c = inputs(n, m, (5,))
    h = joined(x, c).numpy()
    for i, layer in enumerate(net.layers):
        a = h @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        h = a if i == len(hidden) else np.tanh(a) + (h if i else 0.0)
    np.testing.assert_allclose(net(x, c).detach().numpy(), h, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("of_x", "of_context", "together"),
    [((5,), (), (5,)), ((), (5,), (5,)), ((2, 1), (3,), (2, 3)), ((1, 4), (2, 1), (2, 4)), ((3,), (2, 1), (2, 3))],
    ids=str,
)
def test_batches_of_the_two_inputs_broadcast(
    of_x: tuple[int, ...], of_context: tuple[int, ...], together: tuple[int, ...]
) -> None:
    net = dense(2, 3, (7, 5))
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(*of_x, 2, dtype=torch.float64, generator=generator)
    c = torch.randn(*of_context, 3, dtype=torch.float64, generator=generator)
    got = net(x, c)
    assert got.shape == (*together, 4)
    expected = net(x.expand(*together, 2), c.expand(*together, 3))
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def test_a_context_shared_by_a_batch_is_worked_on_once(monkeypatch: pytest.MonkeyPatch) -> None:
    net, rows = dense(2, 3, (7,)), []
    plain = torch.nn.functional.linear

    def counting(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
        rows.append((x.numel() // x.shape[-1], w.shape[1]))
        return plain(x, w, b)

    monkeypatch.setattr(torch.nn.functional, "linear", counting)
    monkeypatch.setattr(loader, "capability", None)  # the operator's products are not counted
    net(torch.zeros(50, 2, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    assert sorted(rows) == [(1, 3), (50, 2), (50, 7)]


@every_size
def test_a_fresh_network_gives_zero(n: int, m: int, hidden: tuple[int, ...]) -> None:
    with torch.random.fork_rng(devices=[]):
        net = Dense(n, m, hidden, 4).double()
    x, c = inputs(n, m, (3,))
    assert not net(x, c).any()


def test_gradients_reach_both_inputs_and_all_parameters() -> None:
    net = dense(2, 3, (7, 5))
    x, c = (t.requires_grad_() for t in inputs(2, 3, (4,)) if t is not None)
    net(x, c).sin().sum().backward()
    for t in (x, c, *net.parameters()):
        assert t.grad is not None and (t.grad != 0).any()


def test_nothing_to_look_at_is_refused() -> None:
    with pytest.raises(ContextError, match="x or a context is expected; got neither"):
        dense(2, 3, (4,))(None, None)
