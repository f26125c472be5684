"""Flows in files: the same flow again, or a refusal of our own, with nothing run and nothing large allocated."""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributions as td

import flowtorch
import flowtorch.bijectors as bij
import flowtorch.distributions as dist
import flowtorch.parameters as params
from flowtorch import container
from flowtorch.container import Reader, write
from flowtorch.distributions.saving import notes, save
from flowtorch.errors import BaseError, FileError, OptionTypeError, SpecificationError
from tests.refused.saving import described, sealed

SMALL = params.DenseNN((5,))


def moved(flow: dist.Flow) -> dist.Flow:
    """The flow with other parameters than it starts with."""
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return flow


def zeros(*shape: int) -> torch.Tensor:
    return torch.zeros(shape)


FLOWS: dict[str, Any] = {
    "spline coupling": lambda: dist.Flow(dist.DiagNormal(3), bij.SplineCoupling(SMALL)),
    "drawn permutations": lambda: dist.Flow(
        dist.DiagNormal(4), bij.Compose([bij.Permute(), bij.AffineCoupling(SMALL)])
    ),
    "a context": lambda: dist.Flow(dist.DiagNormal(2), bij.AffineAutoregressive(params.MADE((6,))), context_shape=(3,)),
    "a learnt base": lambda: dist.Flow(
        td.MultivariateNormal(zeros(2), torch.eye(2) + 1), bij.Affine(), learn_base=True
    ),
    "a nested base": lambda: dist.Flow(
        td.Independent(
            td.MixtureSameFamily(
                td.Categorical(torch.tensor([0.3, 0.7]).expand(2, 2)), td.Normal(zeros(2, 2), zeros(2, 2) + 1)
            ),
            1,
        ),
        bij.Affine(),
    ),
    "a transformed base": lambda: dist.Flow(
        td.Independent(
            td.TransformedDistribution(
                td.Normal(zeros(2), 1.0),
                [td.AffineTransform(1.0, torch.tensor([2.0, 3.0])), td.SigmoidTransform(), td.ExpTransform().inv],
            ),
            1,
        ),
        bij.Softplus(),
    ),
    "a flow as base": lambda: dist.Flow(dist.Flow(dist.DiagNormal(2), bij.AffineCoupling(SMALL)), bij.Tanh()),
    "an infinite option": lambda: dist.Flow(dist.DiagNormal(2), bij.Affine(log_scale_max_clip=float("inf"))),
    "a scalar": lambda: dist.Flow(td.Normal(0.0, 1.0), bij.Spline(count_bins=3)),
    "statistics": lambda: dist.Flow(dist.DiagNormal(2), bij.BatchNorm()).eval(),
    "an embedding that is a bijector": lambda: dist.Flow(
        dist.DiagNormal(2),
        bij.Affine(SMALL),
        context_shape=(2,),
        embedding=bij.Compose([bij.Affine(), bij.Invert(bij.Standardize((3.0, 0.1), (4.0, 0.3)))]).bind((2,)),
    ),
    "numbers for each coordinate": lambda: dist.Flow(
        dist.DiagNormal(2), bij.Spline(count_bins=3, bound=((1.0, 2.0), (2.0, 5.0)))
    ),
}
# Modules that no file describes: the reader brings like ones.
WITH_MODULES: dict[str, Any] = {
    "embedding": lambda: dist.Flow(
        dist.DiagNormal(2), bij.Affine(SMALL), context_shape=(4,), embedding=torch.nn.Linear(4, 3)
    ),
    "base": lambda: dist.Flow(dist.ConditionalNormal(2, 3, SMALL), bij.Affine(), context_shape=(3,)),
}


def equal(a: dist.Flow, b: dist.Flow) -> bool:
    """Densities and samples, to the last bit."""
    one = next(iter((*a.parameters(), *a.buffers())), torch.zeros(()))
    context = None if a.context_shape is None else torch.ones(5, *a.context_shape, dtype=one.dtype)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        x = a.sample((5,) if context is None else (), context)
        torch.manual_seed(1)
        y = b.sample((5,) if context is None else (), context)
        return torch.equal(x, y) and torch.equal(a.log_prob(x, context), b.log_prob(x, context))


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_loaded_is_what_was_saved(name: str, dtype: torch.dtype, tmp_path: Path) -> None:
    torch.manual_seed(0)
    flow = moved(FLOWS[name]().to(dtype))
    flow.save(tmp_path / "a.flow")
    torch.manual_seed(7)
    again = flowtorch.load(tmp_path / "a.flow")
    assert equal(flow, again) and again.plan == flow.plan and again.training == flow.training
    a, b = flow.state_dict(), again.state_dict()
    assert list(a) == list(b) and all(torch.equal(a[k], b[k]) and a[k].dtype == b[k].dtype for k in a)
    assert [p.requires_grad for p in again.parameters()] == [p.requires_grad for p in flow.parameters()]


@pytest.mark.parametrize("what", WITH_MODULES)
def test_a_module_that_no_file_describes_is_brought_along(what: str, tmp_path: Path) -> None:
    flow = moved(WITH_MODULES[what]())
    flow.save(tmp_path / "a.flow")
    again = flowtorch.load(tmp_path / "a.flow", **{what: getattr(WITH_MODULES[what](), what)})
    assert equal(flow, again)
    with pytest.raises(FileError, match=rf"{what}=, a module like the \w+ that was saved"):
        flowtorch.load(tmp_path / "a.flow")
    plain = dist.Flow(dist.DiagNormal(2), bij.Affine())
    plain.save(tmp_path / "b.flow")
    if what == "embedding":
        with pytest.raises(FileError, match="embedding=None is expected"):
            flowtorch.load(tmp_path / "b.flow", embedding=torch.nn.Linear(4, 3))


def test_a_fresh_process_gets_the_same_flow(tmp_path: Path) -> None:
    flow = moved(FLOWS["drawn permutations"]())
    flow.save(tmp_path / "a.flow")
    code = (
        "import sys, torch, flowtorch; flow = flowtorch.load(sys.argv[1]); torch.manual_seed(3);"
        "x = flow.sample((4,)); torch.save((x, flow.log_prob(x)), sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "a.flow", tmp_path / "out.pt"], check=True)
    x, log_prob = torch.load(tmp_path / "out.pt", weights_only=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        assert torch.equal(x, flow.sample((4,))) and torch.equal(log_prob, flow.log_prob(x))


def test_what_is_frozen_and_who_validates_is_kept(tmp_path: Path) -> None:
    flow = dist.Flow(dist.DiagNormal(2), bij.Compose([bij.Affine(), bij.Exp()]), validate_args=True).eval()
    for p in flow.parameters():
        p.requires_grad_(False)
        break
    flow.save(tmp_path / "a.flow")
    again = flowtorch.load(tmp_path / "a.flow", map_location="cpu")
    assert [p.requires_grad for p in again.parameters()] == [False, True] and not again.training
    with pytest.raises(flowtorch.errors.DomainError):
        again.log_prob(-torch.ones(2))


def test_loading_leaves_the_random_numbers_as_they_were_no_more_than_building_does(tmp_path: Path) -> None:
    FLOWS["a scalar"]().save(tmp_path / "a.flow")
    torch.manual_seed(0)
    flowtorch.load(tmp_path / "a.flow")
    after = torch.rand(())
    torch.manual_seed(0)
    FLOWS["a scalar"]()
    assert torch.equal(after, torch.rand(()))


def test_notes_are_kept_beside_the_flow(tmp_path: Path) -> None:
    flow, path = FLOWS["a scalar"](), tmp_path / "a.flow"
    save(flow, path, notes={"columns": ("height", "größe"), "rows": {"train": 3}, "low": None})
    assert notes(path) == {"columns": ["height", "größe"], "rows": {"train": 3}, "low": None}
    assert equal(flowtorch.load(path), flow)
    flow.save(path)
    assert notes(path) == {}
    for wrong in ({"a": torch.zeros(2)}, {"a": float("nan")}, {"a": {(1, 2): 3}}, ["columns"]):
        with pytest.raises(OptionTypeError, match=r"save: notes .* expected.*; got"):
            save(flow, path, notes=wrong)  # type: ignore[arg-type]
    with pytest.raises(FileError, match="a description of at most 67108864 bytes is expected"):
        save(flow, path, notes={"long": "x" * (1 << 26)})
    assert notes(path) == {}


# Writing --------------------------------------------------------------------------------------------------------------


def test_an_old_file_stays_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.flow"
    FLOWS["a scalar"]().save(path)
    old = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("no space left")))
    with pytest.raises(OSError, match="no space left"):
        FLOWS["spline coupling"]().save(path)
    assert path.read_bytes() == old and os.listdir(tmp_path) == ["a.flow"]


def test_where_no_file_can_be_the_error_has_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none/a\.flow'$"):
        FLOWS["a scalar"]().save(tmp_path / "none" / "a.flow")


def test_a_file_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "a.flow"
    FLOWS["a scalar"]().save(path)
    path.chmod(0o600)
    FLOWS["spline coupling"]().save(path)
    assert flowtorch.load(path).event_shape == (3,) and path.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_written_is_refused_before_anything_is(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="not of a registered type"):
        kept = dist.Flow(td.ContinuousBernoulli(torch.tensor(0.3)), bij.Invert(bij.Sigmoid()))
    with pytest.raises(FileError, match="a base of a registered type is expected; got ContinuousBernoulli"):
        kept.save(tmp_path / "a.flow")
    inner = dist.Flow(dist.DiagNormal(2), bij.Affine())
    with pytest.raises(BaseError, match="a base of tensors and plain values"):
        dist.Flow(td.Independent(inner, 0), bij.Affine()).save(tmp_path / "a.flow")
    with pytest.raises(SpecificationError, match="registered"):
        dist.Flow(dist.DiagNormal(2), bij.AffineCoupling(params.Network(lambda a, b: torch.nn.Linear(a, b)))).save(
            tmp_path / "a.flow"
        )
    with pytest.raises(FileError, match="dense tensors of"):
        write(tmp_path / "a.flow", {}, {"sparse": torch.eye(2).to_sparse()})
    assert os.listdir(tmp_path) == []


# Damage ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dist.Flow]:
    torch.manual_seed(0)
    flow = moved(FLOWS["drawn permutations"]())
    path = tmp_path_factory.mktemp("saved") / "a.flow"
    flow.save(path)
    return path.read_bytes(), flow


def load_bytes(content: bytes, path: Path) -> dist.Flow:
    path.write_bytes(content)
    return flowtorch.load(path)


def test_two_hundred_truncations_are_refused(saved: tuple[bytes, dist.Flow], tmp_path: Path) -> None:
    content, _ = saved
    chance = random.Random(0)
    for cut in {0, 1, 12, 55, 56, 57, len(content) - 1, *(chance.randrange(len(content)) for _ in range(193))}:
        with pytest.raises(FileError):
            load_bytes(content[:cut], tmp_path / "a.flow")


def test_three_hundred_bit_flips_are_refused(saved: tuple[bytes, dist.Flow], tmp_path: Path) -> None:
    content, _ = saved
    chance = random.Random(1)
    tracemalloc.start()
    for place in [*range(56 * 8), *(chance.randrange(8 * len(content)) for _ in range(300))]:
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises(FileError):
            load_bytes(bytes(flipped), tmp_path / "a.flow")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 50e6


def test_what_is_appended_is_refused(saved: tuple[bytes, dist.Flow], tmp_path: Path) -> None:
    with pytest.raises(FileError, match="bytes in all is expected"):
        load_bytes(saved[0] + b"\0", tmp_path / "a.flow")


class Bomb:
    """A pickle that would write a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("exploded",)


def other_files() -> dict[str, bytes]:
    archive, saved_by_torch = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("../../evil", "x")
        z.writestr("bomb", bytes(10_000_000))
    torch.save({"a": torch.zeros(3)}, saved_by_torch)
    return {
        "empty": b"",
        "text": b"x,y\n1,2\n",
        "pickle bomb": pickle.dumps(Bomb()),
        "zip with paths and a bomb": archive.getvalue(),
        "torch.save": saved_by_torch.getvalue(),
        "the magic alone": container.MAGIC,
        "version 2": container.MAGIC + struct.pack("<IQ32s", 2, 2, bytes(32)) + b"{}",
        "an endless description": container.MAGIC + struct.pack("<IQ32s", 1, 1 << 63, bytes(32)),
    }


@pytest.mark.parametrize("name", other_files())
def test_other_files_are_refused_and_nothing_in_them_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileError, match="is expected in"):
        load_bytes(other_files()[name], tmp_path / "a.flow")
    assert os.listdir(tmp_path) == ["a.flow"]


def test_no_file_is_an_ordinary_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        flowtorch.load(tmp_path / "none.flow")


# Hostile files: sound by their check sums -----------------------------------------------------------------------------


def test_notes_that_are_none_are_refused_where_they_are_read(saved: tuple[bytes, dist.Flow], tmp_path: Path) -> None:
    description, tensors = described(saved[0])
    (tmp_path / "a.flow").write_bytes(sealed({**description, "notes": [1]}, tensors))
    with pytest.raises(FileError, match="notes that are a table are expected"):
        notes(tmp_path / "a.flow")


@pytest.mark.parametrize("text", [b"[1", b"NaN", b'{"a": NaN}', b"1", b"[" * 100_000, b"\xff\xfe"])
def test_a_description_that_is_none_is_refused(text: bytes, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"a description"):
        load_bytes(sealed(text), tmp_path / "a.flow")


def test_two_tensors_of_one_name_are_refused(saved: tuple[bytes, dist.Flow], tmp_path: Path) -> None:
    description, tensors = described(saved[0])
    description["tensors"][1]["name"] = description["tensors"][0]["name"]
    with pytest.raises(FileError, match="one tensor of each name"):
        load_bytes(sealed(description, tensors), tmp_path / "a.flow")


def test_the_description_is_read_without_the_tensors(saved: tuple[bytes, dist.Flow], tmp_path: Path) -> None:
    (tmp_path / "a.flow").write_bytes(saved[0])
    with Reader(tmp_path / "a.flow") as reader:
        assert set(reader.tensors) == set(saved[1].state_dict())
        assert reader.description["flow"]["plan"] == saved[1].plan.to_dict()


def test_conjugates_and_negatives_that_are_marks_on_tensors_are_written_out(tmp_path: Path) -> None:
    z = torch.tensor([[1.0 + 3.0j], [2.0 + 4.0j]]).conj()
    assert z.is_conj() and z[:1].imag.is_neg()
    write(tmp_path / "a", {}, {"z": z, "imag": z[:1].imag})
    with Reader(tmp_path / "a") as reader:
        assert torch.equal(reader.read("z"), z) and torch.equal(reader.read("imag"), z[:1].imag)


@pytest.mark.parametrize("dtype", container.DTYPES.values(), ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3, 2), (2, 0, 3)], ids=str)
def test_tensors_of_every_dtype_come_back_bit_by_bit(
    dtype: torch.dtype, shape: tuple[int, ...], tmp_path: Path
) -> None:
    tensor = torch.randint(0, 2, shape).to(dtype)
    strided = tensor.T if tensor.dim() == 2 else tensor
    write(tmp_path / "a", {}, {"t": strided})
    with Reader(tmp_path / "a") as reader:
        assert torch.equal(reader.read("t"), strided) and reader.read("t").dtype == dtype
