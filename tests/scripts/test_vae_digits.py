"""scripts/examples/vae_digits.py: the decoder's likelihood, what training does, the table, the picture."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import scipy.stats
import torch

pytest.importorskip("sklearn")

PATH = Path(__file__).parents[2] / "scripts" / "examples" / "vae_digits.py"
spec = importlib.util.spec_from_file_location("vae_digits", PATH)
assert spec is not None and spec.loader is not None
digits = importlib.util.module_from_spec(spec)
spec.loader.exec_module(digits)


def test_images_are_counts_and_a_third_is_held_out() -> None:
    train, test = digits.images()
    assert (train.shape, test.shape) == ((1198, 64), (599, 64))
    both = torch.cat([train, test])
    assert len(both.unique(dim=0)) == len(both)  # no image is in both
    assert both.unique().tolist() == list(range(17))
    assert torch.equal(digits.images()[0], train)


def test_a_pixel_is_beta_binomial() -> None:
    torch.manual_seed(0)
    decoder = digits.Decoder(3, torch.full((64,), 5.0)).double()
    torch.nn.init.normal_(decoder.log_concentration)
    z, counts = torch.randn(3).double(), torch.arange(17.0).double()
    found = decoder.log_likelihood(counts[:, None].expand(17, 64), z).detach()
    p, s = decoder.dark(z).detach(), decoder.log_concentration.exp().detach()
    law = scipy.stats.betabinom(16, s * p + 1e-3, s * (1 - p) + 1e-3)
    torch.testing.assert_close(found, torch.tensor(law.logpmf(counts[:, None])), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.exp().sum(0), torch.ones(64).double(), rtol=1e-5, atol=1e-5)


def test_training_lowers_the_loss_and_the_likelihood_bounds_the_bound() -> None:
    train, test = digits.images()
    torch.manual_seed(0)
    vae, losses = digits.fit(digits.POSTERIORS["flow"], train, 2, 60)
    start, end = sum(losses[:5]) / 5, sum(losses[-5:]) / 5
    assert end < start - 10
    found = digits.score(vae, test[:100], 50)
    gaps = found.log_z - found.log_weights.mean(0)
    assert gaps.min() > 0 and gaps.mean() < 5
    assert found.log_z.mean() == pytest.approx(-end, abs=10)  # held out, in the same units


def test_it_prints_its_table_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    digits.main(["--seeds", "2", "--steps", "2", "--draws", "8", "--out", str(tmp_path)])
    printed = capsys.readouterr().out
    assert all(printed.count(f"\n  {name} ") == 2 + (name != "normal") for name in digits.POSTERIORS)
    assert (tmp_path / "vae_digits.png").stat().st_size > 10_000


@pytest.mark.slow
def test_the_flow_is_better_than_the_normal_posterior() -> None:
    train, test = digits.images()
    bounds, likelihoods = [], []
    for name in ("normal", "flow"):
        torch.manual_seed(0)
        found = digits.score(digits.fit(digits.POSTERIORS[name], train, 8, 600)[0], test, 200)
        bounds.append(found.log_weights.mean().item())
        likelihoods.append(found.log_z.mean().item())
    assert bounds[1] > bounds[0] + 0.5
    assert likelihoods[1] > likelihoods[0] + 0.5
