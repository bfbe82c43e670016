"""The picture of what was found: how many times as long the others take, one bar a row."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.row import Row

# The house's, see expmgr.pictures.draw: opaque white, so that a dark page shows them as well, and
# what differs differs by hatching, too.
INK, GREY, BLUE, RED = "#1a1a1a", "#6b6b6b", "#1f5fa8", "#b3261e"
WIDTH = 68
"""Characters of a label's line."""
LINE, GAP = 0.145, 0.8
"""A line's height in inches; between two labels, in lines."""


def shown(rows: Sequence[Row]) -> list[Row]:
    """Return what stands beside something that a user would otherwise run."""
    return [row for row in rows if row.kind == "beside" and row.ratio is not None]


def save_picture(rows: Sequence[Row], path: Path) -> None:
    """Draw it, and write it as PNG."""
    drawn = shown(rows)
    labels = [_label(row) for row in drawn]
    height = 0.8 + LINE * sum(label.count("\n") + 1 + GAP for label in labels)
    figure = Figure(figsize=(9.0, height), layout="constrained")
    ax = figure.add_subplot()
    place, places = 0.0, []
    for label in labels:
        room = label.count("\n") + 1 + GAP
        places.append(place + room / 2)
        place += room
    ratios = [row.ratio or 1.0 for row in drawn]
    for at, ratio, row in zip(places, ratios, drawn, strict=True):
        slower = ratio < 1
        ax.barh(
            at,
            ratio - 1,
            left=1,
            height=1.1,
            color="white" if slower else BLUE,
            edgecolor=RED if slower else BLUE,
            hatch="////" if slower else "",
            linewidth=0.8,
        )
        ax.annotate(
            f"{row.times}x",
            (max(ratio, 1.0), at),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
            color=INK,
        )
    ax.set_xscale("log")
    lowest, highest = min([*ratios, 1.0]), max([*ratios, 10.0])
    ax.set_xlim(min(lowest / 1.3, 0.8), highest * 2.5)
    ax.axvline(1.0, color=INK, linewidth=1.0)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}x"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_yticks(places)
    ax.set_yticklabels(labels, fontsize="small", color=INK, parse_math=False)
    ax.set_ylim(place, 0)
    ax.set_xlabel("the other takes so many times as long as expmgr; left of 1x it is faster")
    ax.grid(visible=True, axis="x", color="#e4e4e4", linewidth=0.6)
    ax.tick_params(axis="y", length=0)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.set_axisbelow(True)
    figure.savefig(path, format="png", dpi=110, facecolor="white")


def _label(row: Row) -> str:
    unit = "" if row.unit == "s" else f" ({row.unit})"
    words = [f"{row.work}{unit}".replace(" ms", "\u00a0ms"), f"beside {row.beside}"]
    return "\n".join(textwrap.fill(part.replace("`", ""), WIDTH) for part in words)
