"""Loops of one's own: the examples do what they say, and every wrapper trains the flow to the same weights."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import flowtorch.bijectors as bij
import flowtorch.distributions as dist

EXAMPLES = Path(__file__).parents[2] / "scripts" / "examples"


def example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


loops = example("plain_loops")


def weights_of(flow: dist.Flow) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in flow.parameters()])


@torch.no_grad()
def loss_of(flow: dist.Flow) -> float:
    return -float(flow.log_prob(loops.make()[1]).mean())


def test_adam_fits() -> None:
    assert loss_of(loops.plain(30)) < loss_of(loops.make()[0]) - 0.2


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_flow_trains_as_the_flow_does(backend: str) -> None:
    torch.testing.assert_close(weights_of(loops.compiled(5, backend)), weights_of(loops.plain(5)), atol=1e-5, rtol=1e-4)


def test_functional_call_has_the_gradients_of_backward() -> None:
    flow, x = loops.make()
    (-flow.log_prob(x).mean()).backward()
    gradients = torch.cat([p.grad.flatten() for p in flow.parameters()])
    moved = (weights_of(flow) - weights_of(loops.functional(1))) / 0.02
    torch.testing.assert_close(moved, gradients, atol=1e-5, rtol=1e-4)
    assert loss_of(loops.functional(10)) < loss_of(flow)


def test_autocast_runs_networks_in_half_the_bits_and_fits_all_the_same() -> None:
    flow, x = loops.make()
    seen = []
    for layer in flow.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        assert flow(x).dtype == torch.float32
    assert set(seen) == {torch.bfloat16}
    assert loss_of(loops.autocast(30)) == pytest.approx(loss_of(loops.plain(30)), abs=0.05)


# Wrapped by torch.distributed, here with a single process; two are in test_distributed.py -----------------------------


@pytest.fixture(scope="module")
def group() -> Iterator[None]:
    if not torch.distributed.is_gloo_available():
        pytest.skip("gloo is not built in")
    with tempfile.TemporaryDirectory() as folder:
        torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=0, world_size=1)
        yield
        torch.distributed.destroy_process_group()


def conditional() -> tuple[dist.Flow, torch.Tensor, torch.Tensor]:
    torch.manual_seed(4)
    plan = bij.Compose([bij.AffineCoupling(), bij.SplineAutoregressive()])
    flow = dist.Flow(dist.DiagNormal(2), plan, context_shape=(1,))
    return flow, torch.randn(20, 2), torch.randn(20, 1)


def trained(flow: dist.Flow, called: torch.nn.Module, x: torch.Tensor, context: torch.Tensor) -> dist.Flow:
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        (-called(x, context).mean()).backward()
        optimizer.step()
    return flow


def test_distributed_data_parallel_trains_the_flow(group: None) -> None:
    flow, x, context = conditional()
    expected = weights_of(trained(flow, flow, x, context))
    flow, x, context = conditional()
    found = weights_of(trained(flow, DistributedDataParallel(flow), x, context))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_fully_shard_trains_the_flow(group: None) -> None:
    flow, x, context = conditional()
    expected = weights_of(trained(flow, flow, x, context))
    flow, x, context = conditional()
    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (1,))
    for part in flow.bijector.parts:
        assert isinstance(part, torch.nn.Module)
    fully_shard(flow, mesh=mesh)
    trained(flow, flow, x, context)
    found = torch.cat([p.full_tensor().detach().flatten() for p in flow.parameters()])
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


def test_the_example_of_several_processes_says_how_to_start_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["distributed.py"])
    monkeypatch.setattr(os, "environ", {k: v for k, v in os.environ.items() if k != "RANK"})
    with pytest.raises(SystemExit):
        example("distributed").main()
    assert "torchrun --standalone" in capsys.readouterr().err
