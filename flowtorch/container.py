r"""The file that a flow is saved in: a description in JSON and the bytes of tensors, each part under a SHA-256.

::

    bytes    what
    12       b"flowtorch\r\n\x00"
    4        the version of this format
    8        the length of the description
    32       the SHA-256 of all of the above and of the description
    ...      the description: JSON, with the name, dtype, shape, place and SHA-256 of every tensor
    ...      the tensors, one after the other, in C order

Numbers are little-endian. Nothing in it is ever executed, and nothing is allocated before its size was compared with
that of the file. (A pickle, even one read with ``weights_only``, states sizes that nothing checks.)
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import math
import os
import struct
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from typing_extensions import Self

from . import options
from .errors import FileError

MAGIC = b"flowtorch\r\n\x00"  # what is translated as text on its way arrives damaged
VERSION = 1
_HEAD = struct.Struct("<12sIQ32s")
_LONGEST = 1 << 26  # of a description: nothing longer is parsed

DTYPES: dict[str, torch.dtype] = {
    str(d).removeprefix("torch."): d
    for d in (
        *(torch.float64, torch.float32, torch.float16, torch.bfloat16),
        *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
        *(torch.complex64, torch.complex128),
    )
}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}

# Writing --------------------------------------------------------------------------------------------------------------


def write(path: str | os.PathLike[str], description: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    """Writes a file whole or not at all: under another name first, which then takes the place of any old file.

    Raises:
        FileError: for a tensor of a kind that has no name here, or a description too long to be read again.
        OSError: if the file cannot be written; an old one is then left as it was.
    """
    for name, tensor in tensors.items():
        if tensor.dtype not in _NAMES or tensor.layout != torch.strided:
            raise FileError(
                f"save: dense tensors of {', '.join(DTYPES)} are expected; got {name!r}, {tensor.dtype}, "
                f"{tensor.layout}."
            )
    parts, place = [], 0
    stored = {name: _plain(tensor.detach()).to("cpu").contiguous() for name, tensor in tensors.items()}
    for name, tensor in stored.items():
        length = tensor.numel() * tensor.element_size()
        digest = hashlib.sha256(_bytes(tensor)).hexdigest()
        kind = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape)}
        parts.append({"name": name, **kind, "place": place, "length": length, "sha256": digest})
        place += length
    text = json.dumps({**description, "tensors": parts}, allow_nan=False, separators=(",", ":")).encode()
    if len(text) > _LONGEST:
        raise FileError(f"save: a description of at most {_LONGEST} bytes is expected; got {len(text)}.")
    head = _HEAD.pack(MAGIC, VERSION, len(text), _digest(len(text), text))
    with replacing(path) as file:
        file.write(head)
        file.write(text)
        for tensor in stored.values():
            file.write(_bytes(tensor))


def _digest(length: int, text: bytes) -> bytes:
    return hashlib.sha256(MAGIC + struct.pack("<IQ", VERSION, length) + text).digest()


def _plain(tensor: torch.Tensor) -> torch.Tensor:
    # A conjugate or a negative may be a mark on the tensor, which is not in its memory.
    return tensor.resolve_conj().resolve_neg()


def _bytes(tensor: torch.Tensor) -> memoryview:
    """Returns the memory of a contiguous tensor; NumPy, which would do so too, need not be there."""
    length = tensor.numel() * tensor.element_size()
    return memoryview((ctypes.c_char * length).from_address(tensor.data_ptr()) if length else b"")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Gives a file that takes the name when all was written, and leaves nothing behind when it was not."""
    path = Path(path)
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        error.filename = str(path)  # which is the name that was asked for
        raise
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, (path.stat().st_mode if path.exists() else 0o666 & ~mask) & 0o777)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


# Reading --------------------------------------------------------------------------------------------------------------


class Stored(NamedTuple):
    """What a description says of a tensor."""

    dtype: torch.dtype
    shape: torch.Size
    place: int
    length: int
    sha256: str


class Reader:
    """An open file whose description was checked; its tensors are read, and checked, one at a time.

    Args:
        path: the file.

    Raises:
        FileError: for what is no such file, is cut off, damaged, or of an unknown version.
        OSError: if there is none, or it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file = self.path.open("rb")
        try:
            self._size = self.path.stat().st_size
            self.description = self._read_description()
            self.tensors = self._stored(self.description.get("tensors"))
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _refuse(self, expected: str, got: str) -> FileError:
        return FileError(f"load: {expected} is expected in {str(self.path)!r}; got {got}.")

    def _read_description(self) -> dict[str, Any]:
        head = self._file.read(_HEAD.size)
        if len(head) < _HEAD.size or not head.startswith(MAGIC):
            raise self._refuse("a file that flowtorch saved", "another" if head else "an empty one")
        _, version, length, digest = _HEAD.unpack(head)
        if version != VERSION:
            raise self._refuse(f"version {VERSION} of the format", f"{version}, or a damaged file")
        if length > min(_LONGEST, self._size - _HEAD.size):
            raise self._refuse(f"a description of {length} bytes", "a file cut off or damaged")
        text = self._file.read(length)
        if _digest(length, text) != digest:
            raise self._refuse("a description with the SHA-256 that it was saved with", "another")
        self._start = _HEAD.size + length
        try:
            found = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise self._refuse("a description in JSON", options.short(str(error))) from None
        if not isinstance(found, dict):
            raise self._refuse("a description that is a table", options.short(found))
        return found

    def _stored(self, entries: object) -> dict[str, Stored]:
        found: dict[str, Stored] = {}
        place = 0
        if not isinstance(entries, list):
            raise self._refuse("a list of tensors", options.short(entries))
        for entry in entries:
            name, stored = self._entry(entry, place)
            if name in found:
                raise self._refuse("one tensor of each name", f"two of {name!r}")
            found[name], place = stored, place + stored.length
        if self._start + place != self._size:
            raise self._refuse(f"{self._start + place} bytes in all", f"{self._size}")
        return found

    def _entry(self, entry: object, place: int) -> tuple[str, Stored]:
        fields = {"name": str, "dtype": str, "shape": list, "place": int, "length": int, "sha256": str}
        right = isinstance(entry, dict) and {k: type(v) for k, v in entry.items()} == fields
        if not right or not isinstance(entry, dict):
            raise self._refuse(f"tensors with {', '.join(fields)}", options.short(entry))
        dtype, shape = DTYPES.get(entry["dtype"]), entry["shape"]
        if dtype is None:
            raise self._refuse(f"a dtype out of {', '.join(DTYPES)}", options.short(entry["dtype"]))
        if not all(type(n) is int and n >= 0 for n in shape):
            raise self._refuse("a shape of whole numbers", options.short(shape))
        # In Python's integers, which do not overflow.
        length = math.prod(shape) * dtype.itemsize
        if length != entry["length"] or place != entry["place"]:
            raise self._refuse(
                f"{length} bytes of {entry['name']!r} at {place}", f"{entry['length']} at {entry['place']}"
            )
        end = self._start + place + length
        if end > self._size:
            raise self._refuse(f"{end} bytes or more in all", f"{self._size}: a file cut off")
        return entry["name"], Stored(dtype, torch.Size(shape), place, length, entry["sha256"])

    def read(self, name: str) -> torch.Tensor:
        """Returns a tensor, on the CPU.

        Raises:
            FileError: if its bytes are not those that were saved.
        """
        stored = self.tensors[name]
        self._file.seek(self._start + stored.place)
        content = bytearray(self._file.read(stored.length))
        if hashlib.sha256(content).hexdigest() != stored.sha256:
            raise self._refuse(f"{name!r} with the SHA-256 that it was saved with", "another")
        if not content:
            return torch.empty(stored.shape, dtype=stored.dtype)
        return torch.frombuffer(content, dtype=stored.dtype).reshape(stored.shape)


def _no_constant(name: str) -> None:
    raise FileError(f"load: numbers of JSON are expected; got {name}.")
