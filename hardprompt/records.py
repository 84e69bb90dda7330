"""Arrays as checked bytes: what the ledger stores."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]
DIGEST = 8  # bytes of checksum a record: chance damage passes once in 2**64


def seal(place: str, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """A checksum, the length of a JSON description, that, and the arrays' bytes."""
    data = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in data.items():
        if array.dtype.hasobject:
            raise TypeError(f"'{name}' holds Python objects, which have no bytes to store")
    description = json.dumps([[n, a.dtype.str, list(a.shape)] for n, a in data.items()]).encode()
    body = len(description).to_bytes(4, "little") + description
    body += b"".join(array.tobytes() for array in data.values())
    return _digest(place, body) + body


def unseal(place: str, record: bytes) -> Arrays:
    """The arrays of a record; raises `ValueError` where its checksum does not fit."""
    body = record[DIGEST:]
    if record[:DIGEST] != _digest(place, body):
        raise ValueError(f"the record of {place} does not fit its checksum")
    at = 4 + int.from_bytes(body[:4], "little")
    arrays: Arrays = {}
    for name, dtype, shape in json.loads(body[4:at]):
        array = np.frombuffer(body, np.dtype(dtype), int(np.prod(shape)), at).reshape(shape)
        arrays[name] = array.copy()  # aligned, and free to be written to
        at += array.nbytes
    return arrays


def _digest(place: str, body: bytes) -> bytes:
    return hashlib.blake2b(place.encode() + b"\0" + body, digest_size=DIGEST).digest()


def json_arrays(value: Any) -> Arrays:
    """What JSON can hold, as the array of its bytes."""
    return {"json": np.frombuffer(json.dumps(value).encode(), dtype=np.uint8)}


def json_value(arrays: Mapping[str, NDArray[Any]]) -> Any:
    """What was given to `json_arrays`; raises `KeyError` where the record holds none."""
    return json.loads(arrays["json"].tobytes())
