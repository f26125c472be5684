"""Expm1, Log and Logit: what is theirs beyond the conformance kit."""

from __future__ import annotations

import torch
from torch.distributions import transforms as T

from flowtorch.bijectors import Bijector, Exp, Sigmoid
from flowtorch.bijectors.logarithms import Expm1, Log, Logit

X = torch.linspace(0.05, 0.95, 12, dtype=torch.float64).reshape(4, 3)


def test_agree_with_torch() -> None:
    pairs: list[tuple[Bijector, T.Transform]] = [
        (Expm1(), T.ComposeTransform([T.ExpTransform(), T.AffineTransform(-1.0, 1.0)])),
        (Log(), T.ExpTransform().inv),
        (Logit(), T.SigmoidTransform().inv),
    ]
    for plan, known in pairs:
        y, log_det = plan.bind((3,)).forward_and_log_det(X)
        torch.testing.assert_close(y, known(X))
        torch.testing.assert_close(log_det, known.log_abs_det_jacobian(X, y).sum(-1))


def test_log_and_logit_are_the_inverses_of_exp_and_sigmoid() -> None:
    for plan, other in ((Log(), Exp()), (Logit(), Sigmoid())):
        got, expected = (p.bind((3,)).forward_and_log_det(X) for p in (plan, other.inv))
        assert torch.equal(got[0], expected[0]) and torch.equal(got[1], expected[1])
        back = plan.bind((3,)).inverse(torch.tensor([[-1e3, 0.0, 1e3]]))
        assert not back.isnan().any() and back[0, 0] > 0
