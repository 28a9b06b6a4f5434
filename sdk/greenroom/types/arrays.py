"""numpy arrays and scalars, torch tensors: shape, type and bytes; large ones as blobs, read into fresh memory."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Final

from greenroom.errors import MissingPackage, TypeMismatch
from greenroom.types.codec import Codec, ExtType, extension, given, given_plain, type_name
from greenroom.types.spec import TypeSpec
from greenroom_core.values import INLINE_LIMIT, Ext, Plain, unpack

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore

NUMPY: Final = "numpy"
SCALAR: Final = "numpy scalar"
TORCH: Final = "torch"


class ArrayCodec(Codec):
    """`np.ndarray`, also `NDArray[...]`; what numpy cannot lay out as bytes is pickled."""

    natives = frozenset({int(Ext.ARRAY), int(Ext.PICKLE)})

    def __init__(self, of: type) -> None:
        self._of, self.name, self.classes = of, type_name(of), (of,)

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """Type, shape and bytes."""
        if not isinstance(obj, self._of):
            raise TypeMismatch(self.name, given(obj))
        return array_to_plain(obj, store)

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The array, in memory of its own; a tensor's numbers too."""
        obj = _read_any(self, plain, store)
        if obj is None:
            return self.otherwise(plain, store)
        if _is_tensor(obj):
            obj = obj.detach().cpu().numpy()
        if not isinstance(obj, self._of):
            raise TypeMismatch(self.name, given_plain(plain))
        return obj

    def describe(self) -> TypeSpec:
        """The type as plain data."""
        return TypeSpec("array", self.name)

    def from_json(self, json: Any) -> Any:
        """A JSON array of numbers, nested as the array is."""
        import numpy

        if not isinstance(json, list):
            raise TypeMismatch(self.name, given(json))
        try:
            return numpy.array(json)
        except ValueError as fault:
            raise TypeMismatch(self.name, given(json), str(fault)) from fault


class ScalarArrayCodec(Codec):
    """One of numpy's number types, such as `np.float32`."""

    natives = frozenset({int(Ext.ARRAY), int(Ext.PICKLE)})

    def __init__(self, of: type) -> None:
        self._of, self.name, self.classes = of, type_name(of), (of,)

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """Type and bytes; Python numbers are taken if they keep their value."""
        if not isinstance(obj, self._of):
            if not isinstance(obj, (bool, int, float, complex)):
                raise TypeMismatch(self.name, given(obj))
            obj = self._converted(obj)
        return array_to_plain(obj, store)

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The number, of exactly this type."""
        if isinstance(plain, (bool, int, float)):
            return self._converted(plain)
        obj = _read_any(self, plain, store)
        if obj is None:
            return self.otherwise(plain, store)
        return obj if isinstance(obj, self._of) else self._converted(obj)

    def _converted(self, obj: Any) -> Any:
        of: Any = self._of
        try:
            made = of(obj)
        except (TypeError, ValueError, OverflowError) as fault:
            raise TypeMismatch(self.name, given(obj), str(fault)) from None
        if isinstance(obj, int) and made != obj:
            raise TypeMismatch(self.name, given(obj), "it would not keep its value")
        return made

    def describe(self) -> TypeSpec:
        """The type as plain data."""
        return TypeSpec("array", self.name)

    def from_json(self, json: Any) -> Any:
        """A JSON number."""
        if not isinstance(json, (bool, int, float)):
            raise TypeMismatch(self.name, given(json))
        return self._converted(json)


class TensorCodec(Codec):
    """`torch.Tensor`: its numbers, on the CPU; sparse and quantized ones are pickled."""

    natives = frozenset({int(Ext.ARRAY), int(Ext.PICKLE)})

    def __init__(self, of: type) -> None:
        self._of, self.name, self.classes = of, type_name(of), (of,)

    def to_plain(self, obj: Any, store: BlobStore) -> Plain:
        """Type, shape and bytes."""
        if not isinstance(obj, self._of):
            raise TypeMismatch(self.name, given(obj))
        return tensor_to_plain(obj, store)

    def from_plain(self, plain: Plain, store: BlobStore) -> Any:
        """The tensor, in memory of its own; an array's numbers too."""
        obj = _read_any(self, plain, store)
        if obj is None:
            return self.otherwise(plain, store)
        if not _is_tensor(obj):
            import torch

            obj = torch.from_numpy(obj)
        if not isinstance(obj, self._of):
            raise TypeMismatch(self.name, given_plain(plain))
        return obj

    def describe(self) -> TypeSpec:
        """The type as plain data."""
        return TypeSpec("array", self.name)

    def from_json(self, json: Any) -> Any:
        """A JSON array of numbers, nested as the tensor is."""
        import torch

        if not isinstance(json, (list, int, float)):
            raise TypeMismatch(self.name, given(json))
        try:
            return torch.tensor(json)
        except (TypeError, ValueError) as fault:
            raise TypeMismatch(self.name, given(json), str(fault)) from fault


def _read_any(codec: Codec, plain: Plain, store: BlobStore) -> Any:
    """The array, tensor or pickled object that plain data stands for; None for anything else."""
    if type(plain) is ExtType and plain.code == Ext.ARRAY:
        return array_from_plain(plain, store)
    if type(plain) is ExtType and plain.code == Ext.PICKLE:
        from greenroom.types.opaque import unpickled

        return unpickled(plain, store)
    return None


# Bytes --------------------------------------------------------------------------------------------------------------


def array_to_plain(array: Any, store: BlobStore) -> Plain:
    """What stands for a numpy array or scalar; a subclass, or one that holds objects, is pickled."""
    import numpy

    scalar = isinstance(array, numpy.generic)
    if isinstance(array, numpy.memmap):
        array = numpy.asarray(array)
    dtype = array.dtype
    if dtype.hasobject or dtype.names is not None or dtype.kind in "VT" or not (scalar or type(array) is numpy.ndarray):
        from greenroom.types.opaque import pickled

        return pickled(array, store)
    content: dict[str, Any] = {
        "dtype": dtype.str,
        "shape": list(array.shape),
        "library": SCALAR if scalar else NUMPY,
    }
    fortran = not scalar and array.flags.f_contiguous and not array.flags.c_contiguous
    if fortran:
        content["order"] = "F"
    return _with_bytes(content, array.tobytes(order="F" if fortran else "C"), store)


def _with_bytes(content: dict[str, Any], data: bytes, store: BlobStore) -> Plain:
    if len(data) > INLINE_LIMIT:
        content["blob"] = store.put(data)
    else:
        content["data"] = data
    return extension(Ext.ARRAY, content)


def tensor_to_plain(tensor: Any, store: BlobStore) -> Plain:
    """What stands for a torch tensor."""
    import torch

    if tensor.layout is not torch.strided or tensor.is_quantized or type(tensor) is not torch.Tensor:
        from greenroom.types.opaque import pickled

        return pickled(tensor, store)
    bare = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    content: dict[str, Any] = {
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "shape": list(tensor.shape),
        "library": TORCH,
    }
    if tensor.requires_grad:
        content["requires_grad"] = True
    # As bytes: numpy has no bfloat16, and no 8-bit floats.
    return _with_bytes(content, bare.reshape(-1).view(torch.uint8).numpy().tobytes(), store)


def array_from_plain(plain: Any, store: BlobStore) -> Any:
    """The array, scalar or tensor that an extension stands for."""
    content = unpack(plain.data)
    library = content.get("library", NUMPY)
    if library == TORCH:
        return _tensor(content, store)
    try:
        import numpy
    except ImportError:
        raise MissingPackage("an array", NUMPY) from None
    dtype, shape = numpy.dtype(content["dtype"]), tuple(content["shape"])
    if content.get("blob"):
        flat = numpy.fromfile(os.fspath(store.path(content["blob"])), dtype)  # Straight into memory of its own.
    else:
        flat = numpy.frombuffer(bytearray(content["data"]), dtype)
    array = flat.reshape(shape, order=content.get("order", "C"))
    return array[()] if library == SCALAR else array


def _tensor(content: dict[str, Any], store: BlobStore) -> Any:
    try:
        import torch
    except ImportError:
        raise MissingPackage("a tensor", TORCH) from None
    data = bytearray(store.get(content["blob"]) if content.get("blob") else content["data"])
    dtype = getattr(torch, content["dtype"])
    if not data:
        return torch.empty(content["shape"], dtype=dtype)
    tensor = torch.frombuffer(data, dtype=dtype).reshape(content["shape"])
    return tensor.requires_grad_() if content.get("requires_grad") else tensor


def _is_tensor(obj: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(obj, torch.Tensor)


def codec_of_class(kind: type) -> Codec | None:
    """The codec of a class of numpy's or torch's that has a form of its own."""
    root = kind.__module__.partition(".")[0]
    module = sys.modules.get(root)
    if root == NUMPY and module is not None:
        if issubclass(kind, module.ndarray):
            return ArrayCodec(kind)
        if issubclass(kind, module.generic):
            return ScalarArrayCodec(kind)
    if root == TORCH and module is not None and issubclass(kind, module.Tensor):
        return TensorCodec(kind)
    return None
