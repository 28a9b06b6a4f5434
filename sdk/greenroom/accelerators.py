"""Accelerators that an environment can ask for, by the names that cloud schedulers use for them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final


@dataclass(frozen=True)
class BaseAccelerator:
    """A device beside the CPU.

    Attributes:
        device: The device's name as schedulers know it, such as `nvidia-a10g`.
        partition: A slice of the device, such as `1g.5gb`; None for whatever is free.
        whole: True to insist on a device that is not sliced.
    """

    device: str
    partition: str | None = None
    whole: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.device, str) or not self.device:
            raise TypeError(f"an accelerator is named by text like 'nvidia-a10g', got {self.device!r}")

    def __str__(self) -> str:
        return f"{self.device}/{self.partition}" if self.partition else self.device


@dataclass(frozen=True)
class GPUAccelerator(BaseAccelerator):
    """A GPU that is used as a whole."""


@dataclass(frozen=True)
class MultiInstanceGPUAccelerator(BaseAccelerator):
    """A GPU that can be sliced."""

    @property
    def unpartitioned(self) -> MultiInstanceGPUAccelerator:
        """The same device, not sliced."""
        return replace(self, partition=None, whole=True)

    def partitioned(self, partition_size: str) -> MultiInstanceGPUAccelerator:
        """A slice of the device."""
        return replace(self, partition=partition_size, whole=False)

    def __getattr__(self, name: str) -> MultiInstanceGPUAccelerator:
        # `A100.partition_1g_5gb` is the slice "1g.5gb".
        if not name.startswith("partition_"):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return self.partitioned(name.removeprefix("partition_").replace("_", "."))


A10G: Final = GPUAccelerator("nvidia-a10g")
L4: Final = GPUAccelerator("nvidia-l4")
L4_VWS: Final = GPUAccelerator("nvidia-l4-vws")
K80: Final = GPUAccelerator("nvidia-tesla-k80")
M60: Final = GPUAccelerator("nvidia-tesla-m60")
P4: Final = GPUAccelerator("nvidia-tesla-p4")
P100: Final = GPUAccelerator("nvidia-tesla-p100")
T4: Final = GPUAccelerator("nvidia-tesla-t4")
V100: Final = GPUAccelerator("nvidia-tesla-v100")
A100: Final = MultiInstanceGPUAccelerator("nvidia-tesla-a100")
A100_80GB: Final = MultiInstanceGPUAccelerator("nvidia-a100-80gb")
H100: Final = MultiInstanceGPUAccelerator("nvidia-h100")
H200: Final = MultiInstanceGPUAccelerator("nvidia-h200")
L40S: Final = GPUAccelerator("nvidia-l40s")
RTX_PRO_6000: Final = GPUAccelerator("nvidia-rtx-pro-6000")
V5E: Final = MultiInstanceGPUAccelerator("tpu-v5-lite-podslice")
V5P: Final = MultiInstanceGPUAccelerator("tpu-v5p-slice")
V6E: Final = MultiInstanceGPUAccelerator("tpu-v6e-slice")
