"""TensorProtos as numpy arrays: checked, copied as little as possible, external data mapped."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from mxc.errors import ImportFailed
from mxc.importer.values import dtype_of

Array = NDArray[Any]

_BITS = {
    np.dtype(ml_dtypes.int4): 4,
    np.dtype(ml_dtypes.uint4): 4,
    np.dtype(ml_dtypes.float4_e2m1fn): 4,
    np.dtype(ml_dtypes.float6_e2m3fn): 6,
    np.dtype(ml_dtypes.float6_e3m2fn): 6,
    np.dtype(ml_dtypes.int2): 2,
    np.dtype(ml_dtypes.uint2): 2,
}
"""Elements stored several to a byte; all others fill whole bytes."""


class TensorReader:
    """Reads the tensors of the model in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, tensor: TensorProto) -> Array:
        """The content of `tensor`, read-only.

        Raises:
            ImportFailed: if it does not hold what it declares.
        """
        place = f"tensor '{tensor.name}'"
        if any(dim < 0 for dim in tensor.dims):
            raise ImportFailed(f"dimensions {list(tensor.dims)} are negative", at=place)
        try:
            return self._read(tensor)
        except ImportFailed as error:
            raise error.within(place) from None
        except (ValueError, TypeError, OverflowError) as error:
            raise ImportFailed(f"its data cannot be read: {error}", at=place) from error

    def _read(self, tensor: TensorProto) -> Array:
        if tensor.HasField("segment"):
            raise ImportFailed("segmented tensors are not supported")
        if tensor.data_location == TensorProto.EXTERNAL:
            return self._external(tensor)
        if tensor.data_type == TensorProto.STRING:
            return _strings(tensor)
        dtype = dtype_of(tensor.data_type)
        if tensor.HasField("raw_data"):
            raw = tensor.raw_data
            _check_size(len(raw), tensor, dtype)
            return _from_bytes(np.frombuffer(raw, np.uint8), tensor, dtype)
        _check_typed(tensor, dtype)
        return _frozen(numpy_helper.to_array(tensor))

    def _external(self, tensor: TensorProto) -> Array:
        fields = {entry.key: entry.value for entry in tensor.external_data}
        path = self._inside(fields.get("location", ""))
        dtype = dtype_of(tensor.data_type)
        needed = _byte_size(tensor, dtype)
        offset, length = int(fields.get("offset", 0)), int(fields.get("length", needed))
        if not path.is_file():
            raise ImportFailed(
                f"its external data file '{path.name}' ({needed} bytes needed) does not exist",
                hint="keep the data file beside the model",
            )
        size = path.stat().st_size
        if offset < 0 or length != needed or offset + length > size:
            raise ImportFailed(
                f"external data: {needed} bytes are needed, {length} at offset {offset} are "
                f"declared, and '{path.name}' holds {size}"
            )
        if needed == 0:
            return np.empty(tuple(tensor.dims), dtype)
        data = np.memmap(path, np.uint8, "r", offset, (needed,))
        return _from_bytes(data, tensor, dtype)

    def _inside(self, location: str) -> Path:
        """The file at `location`, which must lie inside the model's folder."""
        root = self.folder.resolve()
        if not location or "\0" in location:
            raise ImportFailed("external data without a location")
        target = (root / location).resolve()
        if Path(location).is_absolute() or not target.is_relative_to(root):
            raise ImportFailed(
                f"external data '{location}' lies outside the model's folder",
                hint="move the data file beside the model",
            )
        return target


def _byte_size(tensor: TensorProto, dtype: np.dtype[Any]) -> int:
    elements = math.prod(tensor.dims)
    return -(-elements * _BITS.get(dtype, 8 * dtype.itemsize) // 8)


def _check_size(have: int, tensor: TensorProto, dtype: np.dtype[Any]) -> None:
    needed = _byte_size(tensor, dtype)
    if have != needed:
        raise ImportFailed(
            f"shape {list(tensor.dims)} of {dtype} needs {needed} bytes, the file holds {have}",
            hint="the model file is damaged, or its data was left out",
        )


_TYPED_FIELDS = {
    "float_data": (TensorProto.FLOAT, TensorProto.COMPLEX64),
    "double_data": (TensorProto.DOUBLE, TensorProto.COMPLEX128),
    "int64_data": (TensorProto.INT64,),
    "uint64_data": (TensorProto.UINT32, TensorProto.UINT64),
}


def _check_typed(tensor: TensorProto, dtype: np.dtype[Any]) -> None:
    """The typed field of `tensor` holds as many entries as its shape says."""
    field = "int32_data"
    for name, kinds in _TYPED_FIELDS.items():
        if tensor.data_type in kinds:
            field = name
    elements = math.prod(tensor.dims)
    needed = -(-elements * _BITS.get(dtype, 8) // 8)  # sub-byte elements share an entry's byte
    needed *= 2 if dtype.kind == "c" else 1
    have = len(getattr(tensor, field))
    if have != needed:
        raise ImportFailed(
            f"shape {list(tensor.dims)} of {dtype} needs {needed} entries, the file holds {have}",
            hint="the model file is damaged, or its data was left out",
        )


def _strings(tensor: TensorProto) -> Array:
    if math.prod(tensor.dims) != len(tensor.string_data):
        raise ImportFailed(f"shape {list(tensor.dims)} does not fit its strings")
    return numpy_helper.to_array(tensor)


def _from_bytes(data: Array, tensor: TensorProto, dtype: np.dtype[Any]) -> Array:
    """The elements that `data` (bytes, little endian) holds, without a copy where possible."""
    if dtype in _BITS:
        packed = onnx.TensorProto(
            data_type=tensor.data_type, dims=tensor.dims, raw_data=data.tobytes()
        )
        return _frozen(numpy_helper.to_array(packed))
    if dtype == np.bool_:
        return _frozen((data != 0).reshape(tuple(tensor.dims)))
    return _frozen(data.view(dtype).reshape(tuple(tensor.dims)))


def _frozen(array: Array) -> Array:
    if array.flags.writeable:
        array.flags.writeable = False
    return array
