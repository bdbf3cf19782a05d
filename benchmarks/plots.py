"""Plots of the page, drawn as SVG by hand: a line through a few points needs no library."""

import math
from collections.abc import Mapping, Sequence
from html import escape

WIDTH, HEIGHT = 640, 320
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 40, 50
COLOURS = ("#1f6feb", "#d1682b", "#2d8a4e")
STEPS = (1, 2, 2.5, 5, 10)
Points = Sequence[tuple[float, float]]


def line(title: str, across: str, up: str, lines: Mapping[str, Points], *, even: bool = True) -> str:
    """Draw lines by name over common axes that begin at zero; not `even`: values across at equal distances."""
    across_values = sorted({x for points in lines.values() for x, _ in points})
    top = _ceiling(max(y for points in lines.values() for _, y in points))
    last = across_values[-1] or 1.0

    def at(x: float) -> float:
        share = x / last if even else across_values.index(x) / max(1, len(across_values) - 1)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def height(y: float) -> float:
        return HEIGHT - BOTTOM - y / top * (HEIGHT - TOP - BOTTOM)

    drawn = [_text(WIDTH / 2, 20, title, size=14)]
    for tick in range(5):
        value = top * tick / 4
        drawn.append(
            f'<path d="M{LEFT} {height(value):.1f}H{WIDTH - RIGHT}" stroke="#d0d7de" stroke-width="1" fill="none"/>'
        )
        drawn.append(_text(LEFT - 8, height(value) + 4, _short(value), anchor="end"))
    drawn += [_text(at(x), HEIGHT - BOTTOM + 18, _short(x)) for x in across_values]
    drawn.append(_text(WIDTH / 2, HEIGHT - 10, across))
    drawn.append(f'<g transform="translate(14 {HEIGHT / 2}) rotate(-90)">{_text(0, 0, up)}</g>')
    for number, (name, points) in enumerate(lines.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{at(x):.1f},{height(y):.1f}" for x, y in points)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        drawn += [f'<circle cx="{at(x):.1f}" cy="{height(y):.1f}" r="4" fill="{colour}"/>' for x, y in points]
        if len(lines) > 1:
            drawn.append(_text(LEFT + 12, TOP + 14 + 16 * number, name, anchor="start", colour=colour))
    body = "\n".join(drawn)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}"'
        f' font-family="sans-serif">\n<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


def _text(x: float, y: float, text: str, *, anchor: str = "middle", size: int = 12, colour: str = "#1f2328") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{colour}"'
    return f"<text {place}>{escape(text)}</text>"


def _ceiling(value: float) -> float:
    """The next round number."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in STEPS if step * power >= value)


def _short(value: float) -> str:
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= unit:
            return f"{value / unit:g}{name}"
    return f"{value:g}"
