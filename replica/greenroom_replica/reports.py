"""Reports of calls: what their decks show, kept as a blob that the outcome names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greenroom.blobs import BlobStore
    from greenroom.context import Context
    from greenroom_replica.workshop import Callee


class Reporter:
    """Keeps the reports of one definition's calls.

    Args:
        store: Takes the pages.
        enabled: Whether the task asks for a report; a call that makes a deck has one in any case.
        fields: The tabs of its own accord that the task wants; empty for all.
    """

    __slots__ = ("enabled", "fields", "store")

    def __init__(self, store: BlobStore, enabled: bool, fields: tuple[str, ...]) -> None:
        self.store, self.enabled, self.fields = store, enabled, fields

    def keep(
        self,
        callee: Callee,
        context: Context,
        inputs: Mapping[str, Any],
        result: Any,
        failed: bool,
        extras: dict[str, Any],
    ) -> None:
        """Render and keep; what goes wrong with a report is told, and harms nothing else."""
        from greenroom.deck import report

        try:
            outputs = {} if failed else _named(callee.definition.outputs, result)
            fields = (self.fields or None) if self.enabled else ()
            made = report(context._decks or (), fields, callee.fn, inputs, outputs)
            extras["deck"] = self.store.put(made)
        except Exception as fault:
            extras.setdefault("warnings", []).append(f"its report was not kept: {type(fault).__name__}: {fault}")


def _named(names: list[str], result: Any) -> dict[str, Any]:
    if len(names) == 1:
        return {names[0]: result[0] if isinstance(result, tuple) and len(result) == 1 else result}
    return dict(zip(names, result, strict=False)) if isinstance(result, tuple) else {}
