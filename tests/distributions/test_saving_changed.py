"""Files whose descriptions were changed at random, under the right check sums: each loads, or is refused by us."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributions as td

import flowtorch
import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch.errors import FlowTorchError
from tests.refused.saving import described, sealed

ZEROS = torch.zeros(2)
SCALE = bij.Invert(bij.Standardize(torch.zeros(3), torch.ones(3)))
COUPLING = bij.AffineCoupling(params.DenseNN((4,)))
FLOWS = {
    "a context": lambda: dist.Flow(
        dist.DiagNormal(2), bij.Compose([COUPLING, bij.Permute()]), context_shape=3, embedding=SCALE.bind((3,))
    ),
    "a mixture": lambda: dist.Flow(dist.GaussianMixture(torch.eye(2)), bij.SplineAutoregressive(params.MADE((4,)))),
    "transforms": lambda: dist.Flow(
        td.TransformedDistribution(td.Normal(ZEROS, 1.0), [td.AffineTransform(ZEROS, 2.0), td.ExpTransform().inv]),
        COUPLING,
    ),
    "a learnt base": lambda: dist.Flow(td.Independent(td.Normal(ZEROS, 1.0), 1), COUPLING, learn_base=True),
}
VALUES: list[Any] = [
    *(None, True, 0, -1, 3, 2.5, 1e308, "a", "Exp", [], [1], [[1, 2], [3]], {}, {"x": 1}),
    *({"type": "Exp"}, {"type": "Compose", "parts": []}, {"tensor": None}, {"learnt": None}, {"distribution": {}}),
    *({"list": [1]}, {"list": [{"value": 1}]}, {"float": "x"}),
    *({"value": value} for value in (1, "a", [3], {"x": 2}, {"float": "nan"})),
]


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """What holds something within a description, and under which key."""
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield value, key
            yield from places(part)


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.filterwarnings("ignore")  # of numbers that make no sense
def test_any_change_of_a_description_is_loaded_or_refused(name: str, tmp_path: Path) -> None:
    path, chance, refused = tmp_path / "a.flow", random.Random(0), 0
    FLOWS[name]().save(path)
    content = path.read_bytes()
    for _ in range(250):
        description, tensors = described(content)
        for _ in range(chance.choice((1, 1, 2))):
            holder, key = chance.choice([*places(description["flow"])])
            other, at = chance.choice([*places(description["flow"])])
            holder[key] = copy.deepcopy(chance.choice([*VALUES, other[at]]))
            if chance.random() < 0.15:
                del holder[key]
            if not description["flow"]:
                break
        path.write_bytes(sealed(description, tensors))
        try:
            flowtorch.load(path)
        except FlowTorchError as error:
            refused += 1
            assert str(error).endswith(".")
    assert 100 < refused < 250
