"""What static types say: mypy, with the options of this repository, on a file of ours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Each expression beside the type that mypy reveals for it.
REVEALED = {
    "bij.Exp().bind((3,))": "BoundBijector[Exp]",
    "bij.Spline(count_bins=4).bind(3)": "BoundBijector[Spline]",
    "bij.AffineAutoregressive().bind((3,), (2,))": "BoundBijector[AffineAutoregressive]",
    "bij.AffineCoupling()(shape=torch.Size([3]), context_shape=None)": "BoundBijector[AffineCoupling]",
    "bij.Compose([bij.Exp(), bij.Affine()]).bind((3,))": "BoundBijector[Compose]",
    "bij.Invert(bij.Exp()).bind((3,)).plan": "Invert",
    "bij.Permute().bind((3,)).plan": "Permute",
    "bij.Exp().bind((3,)).plan.codomain": "Constraint",
    "bij.Standardize.from_data(x)": "Standardize",
    "bij.Exp().inv": "Bijector",
    "bij.Invert(bij.Exp()).inv": "Bijector",
    "bound.shape": "Size",
    "bound.out_shape": "Size",
    "bound.context_shape": "Size | None",
    "bound.forward_and_log_det(x)": "tuple[Tensor, Tensor]",
    "bound.inverse_and_log_det(x, x)": "tuple[Tensor, Tensor]",
    "bound.forward(x)": "Tensor",
    "bound.inverse(x)": "Tensor",
    "bound.log_abs_det_jacobian(x, x)": "Tensor",
    "bound.inv": "TransformView",
    "bound.inv.forward_and_log_det(x)": "tuple[Tensor, Tensor]",
    "bound.condition(x)": "TransformView",
    "bound.with_cache()": "BoundBijector[AffineCoupling]",
    "bound.summary().parameters": "int",
    "bij.Exp().check((3,))": "Summary",
    "bij.Exp().explain()": "str",
    "bij.Exp().to_dict()": "dict[str, Any]",
    "flowtorch.plan_from_dict({})": "Bijector",
    "params.MADE().bind([(3,)], (3,), None)": "BoundParameters",
    "params.DenseAutoregressive()": "MADE",
    "params.Tensor().bind([3], None, None)(None, None)": "Any",  # torch's nn.Module.__call__ says no more
    "params.Tensor().bind([3], None, None).forward(None, None)": "tuple[Tensor, ...]",
    "flow.log_prob(x)": "Tensor",
    "flow.forward(x, x)": "Tensor",
    "flow.sample((3,))": "Tensor",
    "flow.rsample_and_log_prob((3,), x)": "tuple[Tensor, Tensor]",
    "flow.condition(x)": "FlowView",
    "flow.expand((3,))": "FlowView",
    "flow[:2]": "FlowView",
    "flow.plan": "Bijector",
    "flow.bijector": "BoundBijector[Bijector]",
    "flow.summary()": "Summary",
    "Doubled().bind((3,))": "BoundBijector[Doubled]",
    "Doubled(2.0).bind((3,)).plan.log_scale": "float",
    "cloned(bij.Exp())": "BoundBijector[Exp]",
}

# Each statement beside the code and words of the error it is expected to give.
REFUSED = {
    'bij.Affine(scale_fn="nope")': ("arg-type", "Literal['softplus', 'exp', 'sigmoid']"),
    'bij.SplineCoupling(order="cubic")': ("arg-type", "Literal['linear', 'quadratic']"),
    'bij.AffineCoupling(mask="third")': ("arg-type", '"mask"'),
    "bij.Affine(params.DenseNN)": ("arg-type", "type[DenseNN]"),
    "bij.Compose([bij.Exp]).bind((3,))": ("list-item", "type[Exp]"),
    "bij.Invert(bound)": ("arg-type", "BoundBijector[AffineCoupling]"),
    "dist.Flow(dist.DiagNormal(2), bij.Exp().bind((2,)))": ("arg-type", "Bijector"),
    "bij.Spline(3)": ("arg-type", '"int"'),
    "bij.AffineAutoregressive(params.MADE(), 0)": ("call-arg", "Too many positional arguments"),
    "bij.Spline(bins=3)": ("call-arg", '"bins"'),
    "bij.Exp().codomain = bij.Exp().domain": ("misc", "Cannot assign"),
    "bij.Spline().count_bins = 3": ("misc", "read-only"),
    "bound.forward_and_log_det(3.0)": ("arg-type", "expected"),
    "Unfinished()": ("abstract", "_bind"),
    "class Sub(bij.Exp): pass": ("misc", "final class"),
    "class Overrides(Doubled): pass": ("misc", "final class"),
}

HEAD = '''
from __future__ import annotations
from dataclasses import dataclass
from typing import TypeVar, final
import torch
import flowtorch
import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch.types import TensorPair

@final
@dataclass(frozen=True)
class Doubled(bij.Bijector):
    """An author's own plan."""

    log_scale: float = 0.7

    def _bind(self, shape: torch.Size, context_shape: torch.Size | None) -> BoundDoubled:
        return BoundDoubled(self, shape, context_shape)

class BoundDoubled(bij.BoundBijector[Doubled]):
    def _forward_and_log_det(self, x: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        log_scale = x.new_full(x.shape[: x.dim() - len(self.shape)], self.plan.log_scale * self.shape.numel())
        return x * torch.tensor(self.plan.log_scale).exp(), log_scale

    def _inverse_and_log_det(self, y: torch.Tensor, context: torch.Tensor | None) -> TensorPair:
        log_scale = y.new_full(y.shape[: y.dim() - len(self.shape)], -self.plan.log_scale * self.shape.numel())
        return y * torch.tensor(-self.plan.log_scale).exp(), log_scale

P = TypeVar("P", bound=bij.Bijector)

def cloned(plan: P) -> bij.BoundBijector[P]:
    return plan.bind((3,))

x = torch.zeros(3)
bound = bij.AffineCoupling().bind((3,))
flow = dist.Flow(dist.DiagNormal(3), bij.Compose([bij.Affine(), bij.Exp()]))
transform: torch.distributions.Transform = bound
module: torch.nn.Module = bound
distribution: torch.distributions.Distribution = flow
covariant: bij.BoundBijector[bij.Bijector] = bound
'''
WRONG = '''
@dataclass(frozen=True)
class Unfinished(bij.Bijector):
    """Without its one abstract method."""
'''


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What mypy says of each line of ours: one run for all, which a cold cache makes ten seconds long."""
    api = pytest.importorskip("mypy.api")
    head = (HEAD + WRONG).splitlines()
    lines = [*head, *(f"reveal_type({e})" for e in REVEALED), *REFUSED]
    path = tmp_path_factory.mktemp("types") / "ours.py"
    path.write_text("\n".join(lines) + "\n")
    options = ["--config-file", str(ROOT / "setup.cfg"), "--cache-dir", str(ROOT / ".mypy_cache"), "--no-pretty"]
    out, errors, _ = api.run([*options, "--no-error-summary", "--show-error-codes", str(path)])
    assert not errors, errors
    found: dict[str, list[str]] = {line: [] for line in (*lines[len(head) :], "head")}
    for message in out.splitlines():
        at = re.match(r".*ours\.py:(\d+): (.*)", message)
        if at:  # what it says of the package itself is the business of scripts/test
            line = lines[int(at[1]) - 1]
            found[line if line in found else "head"].append(at[2])
    return found


@pytest.mark.parametrize("expression", REVEALED)
def test_type_is_revealed(expression: str, told: dict[str, list[str]]) -> None:
    (message,) = (m for m in told[f"reveal_type({expression})"] if m.startswith("note: Revealed"))
    revealed = re.fullmatch(r'note: Revealed type is "(.*)"', message)
    assert revealed, message
    short = re.sub(r"\b(?:\w+\.)+(?=\w)", "", revealed[1]).replace("builtins.", "").replace("?", "")
    assert short == REVEALED[expression]


@pytest.mark.parametrize("statement", REFUSED)
def test_mistake_is_a_type_error(statement: str, told: dict[str, list[str]]) -> None:
    code, words = REFUSED[statement]
    errors = [m for m in told[statement] if m.startswith("error:")]
    assert any(m.endswith(f"[{code}]") and words in m for m in errors), told[statement]


def test_a_plan_of_the_author_s_own_type_checks(told: dict[str, list[str]]) -> None:
    assert told["head"] == []


def test_the_package_says_that_it_is_typed() -> None:
    assert (ROOT / "flowtorch" / "py.typed").exists()
