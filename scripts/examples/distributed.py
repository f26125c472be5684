"""One flow, several processes: ``fit``, DistributedDataParallel and FSDP, on the CPU with gloo or on GPUs with NCCL.

    torchrun --standalone --nproc-per-node 2 scripts/examples/distributed.py

Each part fits the same conditional flow and says whether all processes have come to the same weights. A process that
dies ends the job: torchrun stops the others. Against one that hangs there is the timeout of the process group, 30
minutes if nothing is said; here it is one minute. With ``fit`` that is
``trainer={"strategy": DDPStrategy(timeout=timedelta(minutes=1))}``.
"""

from __future__ import annotations

import argparse
import datetime
import os

import torch
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

import flowtorch.bijectors as bij
import flowtorch.distributions as dist

MINUTE = datetime.timedelta(minutes=1)
BATCH = 256


def make() -> tuple[dist.Flow, torch.Tensor, torch.Tensor]:
    """The same flow and data in each process."""
    torch.manual_seed(0)
    context = torch.randn(4_000, 1)
    x = torch.cat([torch.sin(2 * context), context**2], -1) + 0.1 * torch.randn(4_000, 2)
    plan = bij.Compose([bij.SplineCoupling(), bij.AffineCoupling()])
    return dist.Flow(dist.DiagNormal(2), plan, context_shape=(1,)), x, context


def with_fit(steps: int) -> dist.Flow:
    """All in one line: ``fit`` shares the rows of each step out over the processes that torchrun has started."""
    from lightning.pytorch.strategies import DDPStrategy

    from flowtorch.train import fit

    flow, x, context = make()
    strategy = DDPStrategy(timeout=MINUTE)
    fit(flow, x, context, max_steps=steps, batch_size=BATCH, progress=False, trainer={"strategy": strategy})
    return flow


def mine(step: int, x: torch.Tensor, context: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """This process's rows of a step: every so many-th of them."""
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(step))[:BATCH]
    share = order[torch.distributed.get_rank() :: torch.distributed.get_world_size()]
    return x[share], context[share]


def with_ddp(steps: int) -> dist.Flow:
    """A loop of one's own. The wrapped flow has to be called: ``ddp.module.log_prob`` would not average gradients."""
    flow, x, context = make()
    ddp = DistributedDataParallel(flow)
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3, fused=True)
    for step in range(steps):
        optimizer.zero_grad()
        loss = -ddp(*mine(step, x, context)).mean()
        loss.backward()
        optimizer.step()
    return flow


def with_fsdp(steps: int) -> dist.Flow:
    """Each process holds a part of the parameters, of the gradients and of the optimiser's state."""
    flow, x, context = make()
    # By layer, so that no process ever holds more than one of them whole.
    mesh = torch.distributed.device_mesh.init_device_mesh("cpu", (torch.distributed.get_world_size(),))
    fully_shard(flow, mesh=mesh)
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3)  # of the parts
    for step in range(steps):
        optimizer.zero_grad()
        loss = -flow(*mine(step, x, context)).mean()
        loss.backward()
        optimizer.step()
    whole, _, _ = make()
    parts = flow.state_dict()
    whole.load_state_dict({k: v.full_tensor() if hasattr(v, "full_tensor") else v for k, v in parts.items()})
    return whole


def main() -> None:
    """Runs all three."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    if "RANK" not in os.environ:
        parser.error("start it with torchrun --standalone --nproc-per-node 2 " + __file__)
    torch.distributed.init_process_group("gloo", timeout=MINUTE)
    torch.set_num_threads(1)
    _, x, context = make()
    for name, train in (("fit", with_fit), ("DDP", with_ddp), ("FSDP", with_fsdp)):
        flow = train(options.steps)
        with torch.no_grad():
            loss = -flow.log_prob(x, context).mean()
        weights = torch.cat([p.detach().flatten() for p in flow.parameters()])
        others = [torch.empty_like(weights) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(others, weights)
        if torch.distributed.get_rank() == 0:
            same = "the same" if all(torch.equal(weights, other) for other in others) else "NOT the same"
            print(f"{name:5} loss {loss:.3f}, weights {same} on all {len(others)} processes", flush=True)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
