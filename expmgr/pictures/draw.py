"""Drawing by matplotlib, without pyplot: no figure is registered, shown or left open anywhere.

Everything is told apart by shape or hatching as well as by lightness, so that grey will do.
"""

from __future__ import annotations

import io
import warnings
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from expmgr.formatting import format_bytes, format_count
from expmgr.text import plain

if TYPE_CHECKING:
    from expmgr.pictures.bars import Bars
    from expmgr.pictures.points import Points

__all__ = ["Picture", "draw_frontier", "draw_storage"]

_INK, _GREY, _BLUE, _RED = "#1a1a1a", "#8c8c8c", "#1f5fa8", "#b3261e"
_LOOKS: dict[str, tuple[str, str]] = {
    "models": ("#1f4e79", ""),
    "other artifacts": ("#6f9fc8", ""),
    "traces": ("#c9dcec", ""),
    "trash": ("#e2b04a", "///"),
    "journal": ("#555555", "..."),
    "kept copies": ("#a9c4a9", "\\\\\\"),
    "unknown": ("#f2f2f2", "xxx"),
    "not chosen": ("#d9d9d9", ""),
}
_NAME = 34
"""Characters of an experiment's name."""
_METRIC = 24
"""Characters of a metric's name, which stands upright beside the axis."""
_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
_DECADE = 10
_MANY = 200
"""Points above which they are drawn small and pale."""


class Picture(Axes):
    """Axes of a figure of their own, which a notebook shows when they are a cell's last value."""

    def _repr_png_(self) -> bytes:
        written = io.BytesIO()
        figure = self.figure
        assert isinstance(figure, Figure)  # its own, see `_axes`
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a name may hold any sign
            figure.savefig(written, format="png", dpi=110)
        return written.getvalue()


def _axes(ax: Axes | None, height: float) -> Axes:
    if ax is not None:
        return ax
    figure = Figure(figsize=(9.0, height), layout="constrained")
    return figure.add_subplot(axes_class=Picture)


def _legend(ax: Axes) -> None:
    """Put the legend beside the picture, where it covers nothing."""
    ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize="small")


def _quiet(ax: Axes) -> None:
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.set_axisbelow(True)


def _unit(largest: float) -> tuple[float, str]:
    power = 0
    while power < len(_UNITS) - 1 and largest >= 1000 ** (power + 1):
        power += 1
    return float(1000**power), _UNITS[power]


def _tick(size: float) -> str:
    unit, word = _unit(size)
    return f"{size / unit:g} {word}"


def _nothing(ax: Axes, said: str) -> Axes:
    ax.text(0.5, 0.5, said, ha="center", va="center", transform=ax.transAxes, parse_math=False)
    ax.set_axis_off()
    return ax


# ----------------------------------------------------------------------------------------- storage


def draw_storage(bars: Bars, ax: Axes | None = None) -> Axes:
    """Draw bytes by experiment, stacked by what they are.

    Returns
    -------
    matplotlib.axes.Axes
        The given ones, or those of a figure of their own.
    """
    ax = _axes(ax, 1.7 + 0.3 * max(2, len(bars.names)))
    if not bars.bytes:
        return _nothing(ax, "Nothing is stored.")
    unit, word = _unit(max(bars.sums))
    places = np.arange(len(bars.names))[::-1]
    left = np.zeros(len(bars.names))
    for share, numbers in bars.shares.items():
        widths = np.array(numbers, dtype=float) / unit
        colour, hatch = _LOOKS[share]
        ax.barh(
            places,
            widths,
            left=left,
            height=0.7,
            color=colour,
            hatch=hatch,
            edgecolor=_INK,
            linewidth=0.4,
            label=f"{share}: {format_bytes(sum(numbers))}",
        )
        left += widths
    for place, size in zip(places, bars.sums, strict=True):
        ax.annotate(
            format_bytes(size),
            (size / unit, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
        )
    ax.set_yticks(places)
    ax.set_yticklabels(
        [plain(name, _NAME) for name in bars.names], parse_math=False, fontsize="small"
    )
    ax.set_ylim(-0.6, len(places) - 0.4)
    ax.set_xlim(0, max(bars.sums) / unit * 1.15)
    ax.set_xlabel(f"stored ({word})")
    ax.set_title(
        f"{format_bytes(bars.bytes)} in {format_count(bars.experiments, 'experiment')}", loc="left"
    )
    _quiet(ax)
    _legend(ax)
    return ax


# ---------------------------------------------------------------------------------------- frontier


def draw_frontier(points: Points, metric: str, ax: Axes | None = None, *, is_loss: bool) -> Axes:
    """Draw the main metric against bytes, a point a model.

    Returns
    -------
    matplotlib.axes.Axes
        The given ones, or those of a figure of their own.
    """
    ax = _axes(ax, 4.6)
    metric = plain(metric, _METRIC)
    total = len(points) + points.left_out
    left_out = (
        f"{points.left_out:,} of {format_count(total, 'model')} left out: no {metric}, or no size"
        if points.left_out
        else format_count(total, "model")
    )
    if not len(points):
        return _nothing(ax, f"No model has both {metric} and a measured size.\n{left_out}")
    sizes = points.sizes
    wide = float(sizes.max()) > _DECADE * float(sizes.min())
    unit, word = (1.0, "") if wide else _unit(float(sizes.max()))
    across = sizes / unit
    _dots(ax, points, across)
    order = np.flatnonzero(points.front)[np.argsort(sizes[points.front], kind="stable")]
    line_x, line_y = across[order], points.values[order]
    if wide:
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda size, _: _tick(size)))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ends = np.array([across.max()])
    else:
        ax.set_xlim(0, float(across.max()) * 1.08)
        ends = np.array([float(across.max()) * 1.08])
    ax.plot(
        np.append(line_x, ends),
        np.append(line_y, line_y[-1:]),
        color=_INK,
        linewidth=1.4,
        drawstyle="steps-post",
        label="best for its size",
        zorder=2,
    )
    size_said = "size of the model" + (f" ({word})" if word else "")
    ax.set_xlabel(f"{size_said}\n{left_out}", parse_math=False)
    ax.set_ylabel(f"{metric} (lower is better)" if is_loss else metric, parse_math=False)
    ax.set_title(f"{metric} against size", loc="left", parse_math=False)
    ax.grid(visible=True, color="#e4e4e4", linewidth=0.6)
    _quiet(ax)
    _legend(ax)
    return ax


def _dots(ax: Axes, points: Points, across: np.ndarray) -> None:
    values = points.values
    many = len(points) > _MANY
    going, held = points.going, points.held & ~points.going
    rest = ~(going | held)
    if rest.any():
        ax.scatter(
            across[rest],
            values[rest],
            s=12 if many else 30,
            color=_GREY,
            alpha=0.5 if many else 0.9,
            linewidths=0,
            label=f"stays: {np.count_nonzero(rest):,}",
            zorder=3,
        )
    if held.any():
        ax.scatter(
            across[held],
            values[held],
            s=40 if many else 60,
            marker="D",
            facecolors="white",
            edgecolors=_BLUE,
            linewidths=1.4,
            label=f"protected: {np.count_nonzero(held):,}",
            zorder=5,
        )
    if going.any():
        takes = plain(points.takes, 60).replace("$", r"\$")  # legends would read it as maths
        what = "" if points.takes == "the model" else f" ({takes})"
        gone = format_bytes(int(points.sizes[going].sum()))
        ax.scatter(
            across[going],
            values[going],
            s=18 if many else 50,
            marker="x",
            color=_RED,
            linewidths=1.0 if many else 1.8,
            label=f"the plan takes{what}: {np.count_nonzero(going):,}"
            + (f", {gone}" if not what else ""),
            zorder=4,
        )
