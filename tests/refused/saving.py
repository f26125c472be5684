"""What files of flows are refused that are sound by their check sums: each message by its key words."""

from __future__ import annotations

import functools
import json
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import distributions as td

import flowtorch
import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch import container
from flowtorch.container import write
from flowtorch.errors import BaseError, FileError, SpecificationError


def sealed(description: Any, tensors: bytes = b"") -> bytes:
    """A file with this description, or text in its place, under the right check sum."""
    text = description if isinstance(description, bytes) else json.dumps(description).encode()
    return container._HEAD.pack(container.MAGIC, 1, len(text), container._digest(len(text), text)) + text + tensors


def described(content: bytes) -> tuple[dict[str, Any], bytes]:
    """The description in a file, and what comes after it."""
    length = struct.unpack("<Q", content[16:24])[0]
    return json.loads(content[56 : 56 + length]), content[56 + length :]


@functools.cache
def content(base: Callable[[], td.Distribution]) -> bytes:
    """The file of a small flow."""
    plan = bij.Compose([bij.Permute(), bij.AffineCoupling(params.DenseNN((5,)))])
    with tempfile.TemporaryDirectory() as folder:
        dist.Flow(base(), plan).save(Path(folder) / "my.flow")
        return (Path(folder) / "my.flow").read_bytes()


def normal() -> td.Distribution:
    return dist.DiagNormal(4)


def exponential() -> td.Distribution:
    return td.TransformedDistribution(td.Normal(torch.zeros(4), torch.ones(4)), [td.ExpTransform().inv])


def text(written: bytes, read: Callable[[Path], object] = flowtorch.load) -> Callable[[], object]:
    """Reads a file whose description is this."""

    def call() -> object:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "my.flow"
            path.write_bytes(written)
            return read(path)

    return call


def file(
    change: Callable[[dict[str, Any]], object],
    base: Callable[[], td.Distribution] = normal,
    read: Callable[[Path], object] = flowtorch.load,
) -> Callable[[], object]:
    """Reads a file whose description was changed."""

    def call() -> object:
        description, tensors = described(content(base))
        change(description)
        return text(sealed(description, tensors), read)()

    return call


def flow(**values: Any) -> Callable[[], object]:
    """Reads a file that says something else of the flow."""
    return file(lambda description: description["flow"].update(values))


def plan(**values: Any) -> Callable[[], object]:
    return file(lambda description: description["flow"]["plan"].update(values))


def network(**values: Any) -> Callable[[], object]:
    return file(lambda description: description["flow"]["plan"]["parts"][1]["params_fn"].update(values))


def base(**values: Any) -> Callable[[], object]:
    return file(lambda description: description["flow"]["base"]["distribution"].update(values))


def argument(**values: Any) -> Callable[[], object]:
    return file(lambda description: description["flow"]["base"]["distribution"]["arguments"].update(values))


def tensor(index: int = 0, **values: Any) -> Callable[[], object]:
    """Reads a file that says something else of a tensor."""
    return file(lambda description: description["tensors"][index].update(values))


@mock.patch.object(container, "_LONGEST", 10)
def written() -> None:
    write("none.flow", {}, {})


def twice(description: dict[str, Any]) -> None:
    description["tensors"][1]["name"] = description["tensors"][0]["name"]


NESTED: dict[str, Any] = {"type": "Exp"}
for _ in range(3):
    NESTED = {"type": "Compose", "parts": [NESTED] * 40, "checkpoint": False}

REFUSED: dict[type[Exception], dict[str, Callable[[], object]]] = {
    FileError: {
        # What is written
        "save: a description of at most 10 bytes is expected; got": written,
        "save: dense tensors of float64, ... are expected; got 'a', torch.float32, torch.sparse_coo": lambda: write(
            "none.flow", {}, {"a": torch.eye(2).to_sparse()}
        ),
        # The description
        "load: a description in JSON is expected in ... got str ... numbers of JSON are expected; got NaN": text(
            sealed(b'{"a": NaN}')
        ),
        "load: a description that is a table is expected in ... got list [1]": text(sealed(b"[1]")),
        # Notes
        "load: notes that are a table are expected in ... got list [1]": file(
            lambda d: d.update(notes=[1]), read=flowtorch.notes
        ),
        # Tensors
        "load: a list of tensors is expected in ... got dict {}": file(lambda d: d.update(tensors={})),
        "load: tensors with name, dtype, shape, place, length, sha256 is expected in": tensor(code="import os"),
        "load: one tensor of each name is expected in ... got two of 'base.loc'": file(twice),
        "load: a dtype out of float64, ... is expected in ... got str 'object'": tensor(dtype="object"),
        "load: a shape of whole numbers is expected in ... got list [-1]": tensor(shape=[-1]),
        "load: a shape of whole numbers is expected in ... got list [True]": tensor(shape=[True]),
        "load: 4000000000000000000 bytes of 'base.loc' at 0 is expected in": tensor(shape=[10**9, 10**9]),
        "load: 16 bytes of 'base.loc' at 0 is expected in ... got 16 at -8": tensor(place=-8),
        "bytes or more in all is expected in ... a file cut off": tensor(shape=[10**12], length=4 * 10**12),
        "load: 'base.loc' with the SHA-256 that it was saved with is expected in ... got another": tensor(
            sha256="0" * 64
        ),
        "is expected with ... got none": tensor(-1, name="other"),
        # The flow
        "load: a flow is expected with ... got NoneType": file(lambda d: d.pop("flow")),
        "load: a flow is expected with ... got dict": flow(plan=[]),
        "load: a list of frozen parameters is expected with ... got float 2.5": flow(frozen=2.5),
        "load: no number above 4096, as it holds ... numbers, is expected with ... got 1000000000": network(
            hidden_dims=[10**9]
        ),
        "of shape (6, 2) is expected with ... got one of shape (5, 2)": network(hidden_dims=[6]),
        "load: a plan of at most 20000 layers is expected with ... got one of more": flow(plan=NESTED),
        "load: parts that fit is expected with ... got this: Flow: a shape is a sequence of integers; got ('a',)": (
            flow(context_shape=["a"])
        ),
        # Its base
        "load: a base is expected with ... got int 1": flow(base=1),
        "got this: Flow: a base of a registered type, with its arguments, is expected; got {'type': 'os.system'": base(
            type="os.system"
        ),
        "got this: Flow: a base of a registered type, with its arguments, is expected; got {'type': 'flowtorch": base(
            arguments={}
        ),
        "got this: Flow: an argument of DiagNormal is expected; got loc = [1]": argument(loc=[1]),
        "load: a base that can be made is expected with ... got this: DiagNormal: loc": argument(shape={"value": [3]}),
        "load: a base that can be made is expected with ... got this: 'shape'": argument(shape={"learnt": None}),
        "load: a base that can be made is expected with ... got this: 'float'": argument(shape={"value": {"x": 2}}),
        "load: a base that can be made ... got this: 'list' object has no attribute 'batch_shape'": file(
            lambda d: d["flow"]["base"]["distribution"]["arguments"].update(base_distribution={"list": []}),
            exponential,
        ),
        "load: a tensor 'base.loc' is expected with ... got none": tensor(name="base.shift"),
        # Its embedding
        "load: an embedding that fits is expected with": flow(embedding={"plan": {"type": "Exp"}}),
    },
    BaseError: {
        "Flow: a base of tensors and plain values is expected; got Independent.base_distribution": lambda: dist.Flow(
            td.Independent(dist.Flow(normal(), bij.Affine()), 0), bij.Affine()
        ).save(Path(tempfile.gettempdir()) / "none.flow"),
    },
    SpecificationError: {
        "plan_from_dict: a registered plan is expected; got type 'os.system'": flow(plan={"type": "os.system"}),
        "got unknown": plan(evil=1),
        "plan_from_dict: Compose refused its fields": plan(checkpoint="yes"),
        "a registered plan is expected; got type 'os.system'": flow(embedding={"plan": {"type": "os.system"}}),
    },
}
