"""What every task, workflow and plan says of its inputs and outputs to programs for Flyte."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenroom.compat.interfaces import Interface as PythonInterface


class Described:
    """Something with an interface."""

    __slots__ = ()

    @property
    def python_interface(self) -> PythonInterface:
        """Inputs and outputs by their Python types: `.inputs`, `.outputs`."""
        from greenroom.compat.interfaces import python_interface

        return python_interface(self.interface)  # type: ignore[attr-defined]
