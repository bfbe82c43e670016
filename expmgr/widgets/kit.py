"""Widgets made in one place, with shared layouts and styles, so that they can all be closed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["Kit"]


class Kit:
    """Makes the widgets of one browser.

    A widget that is made the usual way brings a Layout and a style model of its own, and closing
    it leaves those behind. Here they are shared and :meth:`close` ends every one.
    """

    def __init__(self) -> None:
        self._made: list[widgets.Widget] = []
        self._styles: dict[type, widgets.Widget] = {}
        self.shown = self.keep(widgets.Layout())
        self.gone = self.keep(widgets.Layout(display="none"))
        self.ghost = self.keep(widgets.Layout(visibility="hidden"))

    def __len__(self) -> int:
        """Count the widget models alive, layouts and styles included."""
        return len(self._made)

    def keep(self, widget: Any) -> Any:
        """Return the widget, which is closed with the rest."""
        self._made.append(widget)
        return widget

    def _style(self, kind: type) -> Any:
        if kind not in self._styles:
            self._styles[kind] = self.keep(kind())
        return self._styles[kind]

    def layout(self, **traits: str) -> widgets.Layout:
        """Return a layout of its own, closed with the rest."""
        return self.keep(widgets.Layout(**traits))

    def box(self, children: Iterable[widgets.Widget] = (), *classes: str) -> widgets.Box:
        """Return a box whose direction and gaps its CSS classes give."""
        return self.keep(
            widgets.Box(
                children=tuple(children), layout=self.shown, _dom_classes=("xm-box", *classes)
            )
        )

    def html(self, value: str = "", *classes: str) -> widgets.HTML:
        """Return a piece of HTML. Whatever goes in must be escaped already."""
        return self.keep(
            widgets.HTML(
                value=value,
                layout=self.shown,
                style=self._style(widgets.widgets.widget_string.HTMLStyle),
                _dom_classes=("xm-html", *classes),
            )
        )

    def button(
        self,
        text: str,
        on_click: Callable[[], None] | None = None,
        *classes: str,
        tooltip: str = "",
        shown: bool = True,
    ) -> widgets.Button:
        """Return a button; ``on_click`` takes nothing and must return at once."""
        button = self.keep(
            widgets.Button(
                description=text,
                tooltip=tooltip or None,
                layout=self.shown if shown else self.gone,
                style=self._style(widgets.ButtonStyle),
                _dom_classes=("xm-button", *classes),
            )
        )
        if on_click is not None:
            button.on_click(lambda _: on_click())
        return button

    def checkbox(self, on_change: Callable[[bool], None], *, tooltip: str = "") -> widgets.Checkbox:
        """Return a tick box; ``on_change`` hears of every change, also those made from code."""
        box = self.keep(
            widgets.Checkbox(
                value=False,
                indent=False,
                tooltip=tooltip or None,
                layout=self.shown,
                style=self._style(widgets.widgets.widget_bool.CheckboxStyle),
                _dom_classes=("xm-tick",),
            )
        )
        box.observe(lambda change: on_change(bool(change["new"])), "value")
        return box

    def text(
        self,
        placeholder: str,
        on_change: Callable[[str], None],
        *classes: str,
        live: bool = True,
        value: str = "",
        tooltip: str = "",
    ) -> widgets.Text:
        """Return a line to type in; not ``live`` means that it is heard on Enter or leaving."""
        line = self.keep(
            widgets.Text(
                value=value,
                placeholder=placeholder,
                tooltip=tooltip or placeholder,
                continuous_update=live,
                layout=self.shown,
                style=self._style(widgets.widgets.widget_string.TextStyle),
                _dom_classes=("xm-text", *classes),
            )
        )
        line.observe(lambda change: on_change(str(change["new"])), "value")
        return line

    def choice(
        self,
        options: Sequence[tuple[str, Any]],
        on_change: Callable[[Any], None],
        *classes: str,
        tooltip: str = "",
        value: Any = None,
    ) -> widgets.Dropdown:
        """Return a drop-down list of (label, value) pairs."""
        choice = self.keep(
            widgets.Dropdown(
                options=list(options),
                value=options[0][1] if value is None else value,
                tooltip=tooltip or None,
                layout=self.shown,
                style=self._style(widgets.widgets.widget_description.DescriptionStyle),
                _dom_classes=("xm-choice", *classes),
            )
        )
        choice.observe(lambda change: on_change(change["new"]), "value")
        return choice

    def many(
        self,
        options: Sequence[tuple[str, str]],
        on_change: Callable[[tuple[str, ...]], None],
        *,
        tooltip: str = "",
    ) -> widgets.SelectMultiple:
        """Return a list in which several entries can be chosen."""
        many = self.keep(
            widgets.SelectMultiple(
                options=list(options),
                rows=8,
                tooltip=tooltip or None,
                layout=self.shown,
                style=self._style(widgets.widgets.widget_description.DescriptionStyle),
                _dom_classes=("xm-many",),
            )
        )
        many.observe(lambda change: on_change(tuple(change["new"])), "value")
        return many

    def say_again(self) -> None:
        """Send what each widget shows, for a page that may have missed it; not what is typed."""
        for widget in self._made:
            if isinstance(widget, widgets.DOMWidget) and not isinstance(widget, widgets.Text):
                widget.send_state()

    def end(self, widget: widgets.Widget) -> None:
        """Close one widget for good; it must stand nowhere any more."""
        self._made.remove(widget)
        widget.close()

    def close(self) -> None:
        """Close every widget, layout and style that was made here."""
        for widget in reversed(self._made):
            widget.unobserve_all()
            if isinstance(widget, widgets.Box):
                widget.children = ()
            widget.close()
        self._made.clear()
        self._styles.clear()
