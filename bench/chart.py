"""Bar charts as SVG text, legible on light and dark ground."""

import math
from collections.abc import Mapping
from html import escape

WIDTH, LEFT, RIGHT, BAR, GAP, GROUP, TOP = 860, 250, 130, 18, 5, 22, 58
COLOURS = ("#2f7ed8", "#e0803a", "#8a8f98", "#3a9e6e", "#9464c8", "#c2505a")
STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 16px; font-weight: 600 }
.quiet { fill: #57606a }
line { stroke: #d0d7de }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .quiet { fill: #9ea7b3 } line { stroke: #3d444d } }
</style>"""

Groups = Mapping[str, Mapping[str, float]]
"""By group, the value of each name; what is not there was not measured."""


def bars(title: str, unit: str, groups: Groups, *, logarithmic: bool = False) -> str:
    """Horizontal bars, grouped; with `logarithmic` the axis is in powers of ten, and says so."""
    names = list(dict.fromkeys(name for group in groups.values() for name in group))
    values = [value for group in groups.values() for value in group.values() if value > 0]
    if not values:
        return ""
    scale = _scale(min(values), max(values), logarithmic=logarithmic)
    parts, y = [], TOP
    for group, members in groups.items():
        parts.append(f'<text x="16" y="{y + BAR - 4}">{escape(group)}</text>')
        for name, value in members.items():
            width = max(2.0, scale(value) * (WIDTH - LEFT - RIGHT)) if value > 0 else 0.0
            colour = COLOURS[names.index(name) % len(COLOURS)]
            parts.append(
                f'<text x="{LEFT - 8}" y="{y + BAR - 4}" text-anchor="end" class="quiet">{escape(name)}</text>'
            )
            parts.append(f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" fill="{colour}"/>')
            parts.append(f'<text x="{LEFT + width + 6:.1f}" y="{y + BAR - 4}">{_text(value)}</text>')
            y += BAR + GAP
        y += GROUP
    axis = f"{unit}, logarithmic" if logarithmic else unit
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" role="img" '
        f'aria-label="{escape(title, quote=True)}">',
        STYLE,
        f'<text x="16" y="24" class="title">{escape(title)}</text>',
        f'<text x="16" y="43" class="quiet">{escape(axis)}</text>',
        f'<line x1="{LEFT}" y1="{TOP - 6}" x2="{LEFT}" y2="{y - GROUP}"/>',
    ]
    return "\n".join([*head, *parts, "</svg>", ""])


class _scale:  # noqa: N801 - a function with two forms
    """From a value to a part of the width."""

    def __init__(self, least: float, most: float, *, logarithmic: bool) -> None:
        self._most = most
        self._floor = 10 ** math.floor(math.log10(least)) / 2 if logarithmic else 0.0

    def __call__(self, value: float) -> float:
        if not self._floor:
            return value / self._most
        return math.log(value / self._floor) / math.log(self._most / self._floor)


def _text(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:.2f} M"
    if value >= 1e4:
        return f"{value / 1e3:.0f} k"
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
