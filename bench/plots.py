"""Bars as SVG, by hand: small files that a reviewer can read and a diff can show."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

_WIDTH, _ROW, _LEFT, _RIGHT = 720, 26, 190, 120
_OURS, _THEIRS = "#2f7d4f", "#9aa5b1"


def write(lines: list[dict[str, Any]], folder: Path) -> None:
    """Write one plot for each column of the table of peers."""
    from bench.report import beside

    folder.mkdir(exist_ok=True)
    for words, told in beside(lines).items():
        if len(told) > 1:
            name = "".join(c if c.isalnum() else "-" for c in words.lower()).strip("-").replace("--", "-")
            (folder / f"{name}.svg").write_text(bars(words, told))


def bars(title: str, values: dict[str, tuple[float, float, float]]) -> str:
    """Horizontal bars on a logarithmic axis, with the spread as a thin line."""
    low = min(least for _, least, _ in values.values()) / 2
    high = max(most for _, _, most in values.values())
    span = math.log(high / low) or 1.0
    room = _WIDTH - _LEFT - _RIGHT

    def x(value: float) -> float:
        return _LEFT + room * max(0.0, math.log(value / low) / span)

    height = _ROW * len(values) + 44
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        f'font-size="13"><rect width="100%" height="100%" fill="white"/>',
        f'<text x="12" y="20" font-weight="bold">{title} (logarithmic; line: least to most)</text>',
    ]
    for place, (system, (middle, least, most)) in enumerate(sorted(values.items(), key=lambda one: -one[1][0])):
        y = 34 + place * _ROW
        color = _OURS if system == "greenroom" else _THEIRS
        told = f"{middle:,.0f}" if middle >= 100 else f"{middle:.3g}"
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 14}" text-anchor="end">{system}</text>')
        parts.append(f'<rect x="{_LEFT}" y="{y}" width="{x(middle) - _LEFT:.1f}" height="{_ROW - 8}" fill="{color}"/>')
        parts.append(
            f'<line x1="{x(least):.1f}" x2="{x(most):.1f}" y1="{y + 9}" y2="{y + 9}" stroke="black" stroke-width="1"/>'
        )
        parts.append(f'<text x="{x(most) + 6:.1f}" y="{y + 14}">{told}</text>')
    return "\n".join([*parts, "</svg>", ""])
