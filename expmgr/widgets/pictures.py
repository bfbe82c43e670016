"""Pictures of the table as filtered: quality against size, size by experiment, quality over time.

Drawn by matplotlib as SVG, in the page's own colours, with names on hover. Pure but for drawing.
"""

from __future__ import annotations

import io
import re
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from expmgr.formatting import format_bytes, format_metric
from expmgr.pictures.points import frontier
from expmgr.text import escape, plain

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

__all__ = ["draw_pictures", "frontier"]

# Colours that stand for the page's own; the SVG gets the variables in their place.
_INK, _DIM, _ACCENT, _MARK = "#010203", "#010204", "#010205", "#010206"
_PAGE_COLOURS = {
    _INK: "var(--xm-fg)",
    _DIM: "var(--xm-dim)",
    _ACCENT: "var(--xm-accent)",
    _MARK: "var(--xm-warn)",
}
MOST_HOVERS = 600
_lock = threading.Lock()  # matplotlib's settings are global


def draw_pictures(frame: pd.DataFrame, main_metric: str, *, is_loss: bool) -> str:
    """Return the pictures as HTML; what cannot be drawn is a sentence."""
    parts = [
        _part(f"{main_metric} against size", lambda: _against_size(frame, main_metric, is_loss)),
        _part("Size by experiment", lambda: _by_experiment(frame)),
        _part(f"{main_metric} over time", lambda: _over_time(frame, main_metric)),
    ]
    return f'<div class="xm-pictures">{"".join(parts)}</div>'


def _part(title: str, draw: Callable[[], str]) -> str:
    return f"<figure><figcaption>{escape(title, 80)}</figcaption>{draw()}</figure>"


def _sentence(text: str) -> str:
    return f'<p class="xm-dim">{escape(text)}</p>'


def _numbers(frame: pd.DataFrame, column: str) -> NDArray[np.float64]:
    if column not in frame:
        return np.full(len(frame), np.nan)
    values: NDArray[np.float64] = pd.to_numeric(frame[column], errors="coerce").to_numpy(
        dtype=float, na_value=np.nan
    )
    return values


def _against_size(frame: pd.DataFrame, metric: str, is_loss: bool) -> str:
    sizes, values = _numbers(frame, "bytes"), _numbers(frame, f"metrics.{metric}")
    known = np.isfinite(sizes) & np.isfinite(values) & (sizes > 0)
    if np.count_nonzero(known) < 2:  # noqa: PLR2004 - one point is no picture
        return _sentence(
            f"Fewer than two of these runs have both a measured size and {metric}. "
            "“Measure sizes” brings the sizes."
        )
    runs = frame[known].reset_index(drop=True)
    sizes, values = sizes[known], values[known]
    front = frontier(sizes, values, is_loss=is_loss)
    reasons = _protections(runs)
    held = np.array([bool(reason) for reason in reasons])
    figure, axes = _canvas()
    plain_dots = ~front & ~held
    axes.scatter(sizes[plain_dots], values[plain_dots], s=16, color=_DIM, alpha=0.6, linewidths=0)
    axes.scatter(sizes[held], values[held], s=40, marker="D", facecolors="none", edgecolors=_ACCENT)
    order = np.flatnonzero(front)[np.argsort(sizes[front])]
    axes.plot(sizes[order], values[order], color=_MARK, linewidth=1.2, drawstyle="steps-post")
    axes.scatter(sizes[order], values[order], s=34, marker="^", color=_MARK)
    axes.set_xscale("log")
    axes.set_xlabel("size", parse_math=False)
    axes.set_ylabel(plain(metric, 40), parse_math=False)
    _size_axis(axes.xaxis)
    important = np.flatnonzero(front | held)
    rest = np.flatnonzero(plain_dots)[: max(0, MOST_HOVERS - len(important))]
    hovers = [
        (
            sizes[at],
            values[at],
            f"{_name(runs, at)}: {format_metric(float(values[at]))}, {format_bytes(int(sizes[at]))}"
            + (f", protected: {reasons[at]}" if held[at] else ""),
        )
        for at in [*rest, *important]
    ]
    key = "▲ and line: no smaller run is better · ◇ protected · ● other runs"
    return f"{_svg(figure, axes, hovers)}{_sentence(key)}"


def _protections(runs: pd.DataFrame) -> list[str]:
    if "protected_by" not in runs:
        return [""] * len(runs)
    return runs["protected_by"].fillna("").astype(str).tolist()


def _name(runs: pd.DataFrame, at: int) -> str:
    return plain(runs["run_name"][at] or runs["run_id"][at], 80)


def _by_experiment(frame: pd.DataFrame) -> str:
    sizes = _numbers(frame, "bytes")
    if not np.isfinite(sizes).any() or "experiment_name" not in frame:
        return _sentence("No sizes are measured yet. “Measure sizes” brings them.")
    sums = (
        pd.Series(sizes)
        .groupby(frame["experiment_name"].fillna("").to_numpy())
        .sum()
        .sort_values(ascending=False)
    )
    top = sums.head(12)[::-1]
    figure, axes = _canvas()
    places = np.arange(len(top))
    axes.barh(places, top.to_numpy(), height=0.6, color=_ACCENT)
    axes.set_yticks(places)
    axes.set_yticklabels([plain(name, 26) for name in top.index], parse_math=False)
    axes.set_xlim(0, float(top.max()) * 1.2 or 1)
    for place, size in zip(places, top, strict=True):
        axes.annotate(
            format_bytes(int(size)),
            (size, place),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            color=_INK,
        )
    _size_axis(axes.xaxis)
    hovers = [
        (float(size) / 2, float(place), f"{plain(name, 120)}: {format_bytes(int(size))}")
        for place, (name, size) in zip(places, top.items(), strict=True)
    ]
    more = _sentence(f"The largest 12 of {len(sums)} experiments.") if len(sums) > 12 else ""  # noqa: PLR2004
    return f"{_svg(figure, axes, hovers)}{more}"


def _over_time(frame: pd.DataFrame, metric: str) -> str:
    from matplotlib.dates import date2num

    values = _numbers(frame, f"metrics.{metric}")
    times = pd.to_datetime(frame["start_time"], utc=True) if "start_time" in frame else None
    known = np.isfinite(values) & (
        times.notna().to_numpy() if times is not None else np.zeros(len(values), dtype=bool)
    )
    if np.count_nonzero(known) < 2 or times is None:  # noqa: PLR2004 - one point is no picture
        return _sentence(f"Fewer than two of these runs have {metric}.")
    runs = frame[known].reset_index(drop=True)
    moments = times[known].dt.tz_localize(None).to_numpy()
    values = values[known]
    best = runs["is_best"].to_numpy(dtype=bool) if "is_best" in runs else np.zeros(len(runs), bool)
    figure, axes = _canvas()
    axes.scatter(moments[~best], values[~best], s=16, color=_DIM, alpha=0.6, linewidths=0)
    axes.scatter(moments[best], values[best], s=70, marker="*", color=_MARK)
    axes.set_ylabel(plain(metric, 40), parse_math=False)
    # As figure.autofmt_xdate does, which up to matplotlib 3.8 warns of a constrained layout.
    for label in axes.get_xticklabels():
        label.set(rotation=20, horizontalalignment="right")
    numbers = [float(number) for number in date2num(moments)]  # type: ignore[no-untyped-call]
    order = [*np.flatnonzero(~best)[:MOST_HOVERS], *np.flatnonzero(best)]
    hovers = [
        (
            numbers[at],
            float(values[at]),
            f"{_name(runs, at)}: {format_metric(float(values[at]))}",
        )
        for at in order
    ]
    return f"{_svg(figure, axes, hovers)}{_sentence('★ best of its experiment')}"


def _canvas() -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 3.4), layout="constrained")
    figure.patch.set_alpha(0)
    axes = figure.add_subplot()
    axes.patch.set_alpha(0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(_DIM)
    axes.tick_params(colors=_DIM, labelcolor=_INK, labelsize=8)
    axes.xaxis.label.set_color(_INK)
    axes.yaxis.label.set_color(_INK)
    return figure, axes


def _size_axis(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis.set_major_formatter(FuncFormatter(lambda size, _: format_bytes(max(0, int(size)))))
    axis.set_minor_formatter(NullFormatter())


def _svg(figure: Figure, axes: Axes, hovers: list[tuple[float, float, str]]) -> str:
    """Return the figure as inline SVG in the page's colours, with a title on each point."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with (
        _lock,
        mpl.rc_context({"svg.fonttype": "none", "font.size": 9, "font.family": "sans-serif"}),
    ):
        figure.savefig(buffer, format="svg", dpi=72)
        height = float(figure.get_figheight()) * 72
        spots = []
        if hovers:
            figure.dpi = 72
            points = axes.transData.transform(np.array([(x, y) for x, y, _ in hovers]))
            spots = [
                f'<circle cx="{x:.1f}" cy="{height - y:.1f}" r="6" fill="transparent">'
                f"<title>{escape(text, 400)}</title></circle>"
                for (x, y), (_, _, text) in zip(points, hovers, strict=True)
            ]
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for stand_in, colour in _PAGE_COLOURS.items():
        text = text.replace(stand_in, colour)
    text = re.sub(r'\b(id|clip-path|xlink:href)="(#|url\(#)?', r'\1="\2xm', text)
    end = text.rindex("</svg>")
    return f"{text[:end]}<g>{''.join(spots)}</g></svg>"
