"""How the browser looks: one style sheet in JupyterLab's own colours, light and dark.

Every colour is one of JupyterLab's variables with a fallback for pages that do not define them.
Colour never stands alone: a sign or a word says the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from expmgr.widgets.columns import tracks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from expmgr.widgets.columns import Column

__all__ = ["style_sheet"]

_RULES = """
.xm-root{--xm-bg:var(--jp-layout-color0,#fff);--xm-bg1:var(--jp-layout-color1,#fff);
--xm-bg2:var(--jp-layout-color2,#eee);--xm-line:var(--jp-border-color2,#e0e0e0);
--xm-fg:var(--jp-content-font-color1,rgba(0,0,0,.87));
--xm-dim:var(--jp-content-font-color2,rgba(0,0,0,.6));
--xm-accent:var(--jp-brand-color1,#1976d2);--xm-bad:var(--jp-error-color1,#d32f2f);
--xm-good:var(--jp-success-color1,#388e3c);--xm-warn:var(--jp-warn-color0,#b25000);
color:var(--xm-fg);background:var(--xm-bg);display:block!important;width:100%;max-width:100%;
font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:12.5px;line-height:1.35;
margin:0!important;padding:2px;box-sizing:border-box;overflow:visible!important}
.xm-root .xm-box{overflow:visible;margin:0;padding:0;min-width:0;background:none}
.xm-root .xm-html{margin:0;height:auto;min-height:0;width:auto;font-size:inherit;
line-height:inherit;color:inherit;min-width:0}
.xm-root .xm-html>.widget-html-content{line-height:inherit;font-size:inherit;
height:auto;min-height:0;width:100%;align-self:auto;flex:1 1 auto;min-width:0}
.xm-root .xm-html>label{display:none}
.xm-root .xm-button{margin:0;width:auto;height:24px;line-height:22px;padding:0 9px;
font-size:12.5px;border:1px solid var(--xm-line);border-radius:3px;background:var(--xm-bg2);
color:var(--xm-fg);box-shadow:none;flex:none}
.xm-root .xm-button:hover:enabled{border-color:var(--xm-accent);box-shadow:none}
.xm-root .xm-button:disabled{opacity:.55}
.xm-root :focus-visible,.xm-root .xm-button:focus-visible,.xm-root summary:focus-visible{
outline:2px solid var(--xm-accent)!important;outline-offset:1px}
.xm-root .xm-bar-line{display:flex;flex-flow:row wrap;gap:6px;align-items:center;
padding:2px 0 4px}
.xm-root .xm-text,.xm-root .xm-choice{margin:0;height:24px;width:auto;min-width:0}
.xm-root .xm-text{flex:1 1 200px}
.xm-root .xm-choice{flex:0 1 auto;max-width:190px}
.xm-root .xm-text input,.xm-root .xm-choice select{height:24px;font-size:12.5px;
color:var(--xm-fg);background-color:var(--xm-bg1);border:1px solid var(--xm-line);
border-radius:3px;padding:0 6px;line-height:22px}
.xm-root .xm-choice select{padding-right:20px}
.xm-root .xm-tools,.xm-root .xm-chooser{display:block}
.xm-root .xm-frame{display:block;overflow-x:auto!important;border:1px solid var(--xm-line);
border-radius:3px;container:xm/inline-size}
.xm-root .xm-head,.xm-root .xm-row{display:flex;flex-flow:row wrap;align-items:center;
padding:0 6px;column-gap:6px;box-sizing:border-box;border-bottom:1px solid var(--xm-line)}
.xm-root .xm-head{background:var(--xm-bg2);min-height:28px}
.xm-root .xm-row{min-height:29px;padding-top:2px;padding-bottom:2px}
.xm-root .xm-row:hover{box-shadow:inset 3px 0 0 var(--xm-accent)}
.xm-root .xm-rows{display:block}
.xm-root .xm-grid{display:grid;column-gap:8px;align-items:center;width:100%}
.xm-root .xm-head-cells,.xm-root .xm-cells{flex:1 1 0;min-width:0}
.xm-root .xm-head-cells .xm-button{background:none;border:none;padding:0;text-align:left;
font-weight:600;width:100%;min-width:0;overflow:hidden;text-overflow:ellipsis;
white-space:nowrap;color:var(--xm-fg)}
.xm-root .xm-head-cells .xm-button.xm-right{text-align:right}
.xm-root .xm-head-cells .xm-button:hover{color:var(--xm-accent);text-decoration:underline}
.xm-root .xm-cell{overflow:hidden;text-overflow:ellipsis;white-space:nowrap;min-width:0}
.xm-root .xm-cell:not(.xm-right),.xm-root .xm-head-cells .xm-button:not(.xm-right){
padding-left:6px}
.xm-root .xm-right{text-align:right;font-variant-numeric:tabular-nums}
.xm-root .xm-cell a{color:var(--jp-content-link-color,#1565c0);text-decoration:none}
.xm-root .xm-cell a:hover{text-decoration:underline}
.xm-root .xm-sign{display:inline-block;width:1.25em;text-align:center;margin-right:2px}
.xm-root .xm-best{color:var(--xm-warn);margin-right:3px}
.xm-root .xm-status-failed,.xm-root .xm-model-interrupted,.xm-root .xm-bad{color:var(--xm-bad)}
.xm-root .xm-status-stale{color:var(--xm-warn)}
.xm-root .xm-model-deleted,.xm-root .xm-model-none,.xm-root .xm-model-elsewhere,
.xm-root .xm-model-unknown,.xm-root .xm-protected{color:var(--xm-dim)}
.xm-root .xm-good .xm-sign{color:var(--xm-good)}
.xm-root .xm-tick{width:18px;height:20px;margin:0;flex:none;min-width:0;overflow:hidden}
.xm-root .xm-tick label{padding:0;width:auto;height:20px}
.xm-root .xm-tick input{margin:1px 0 0 2px}
.xm-root .xm-open{width:22px;padding:0;border:none;background:none;text-align:center}
.xm-root .xm-spring{flex:1 1 0}
.xm-root .xm-delete{width:76px;padding:0;text-align:center}
.xm-root .xm-delete:hover:enabled,.xm-root .xm-confirm{border-color:var(--xm-bad)}
.xm-root .xm-delete:hover:enabled{color:var(--xm-bad)}
.xm-root .xm-confirm{background:var(--xm-bad);color:var(--jp-ui-inverse-font-color0,#fff);
font-weight:600}
.xm-root .xm-space-open{width:22px;flex:none}.xm-root .xm-space-delete{width:76px;flex:none}
.xm-root .xm-strip{flex:1 1 100%;display:flex;flex-flow:row wrap;gap:6px;align-items:center;
padding:2px 0 3px 52px;box-sizing:border-box}
.xm-root .xm-row>.xm-strip,.xm-root .xm-row>.xm-details{flex:0 0 auto;
width:calc(100cqw - 14px);position:sticky;left:6px}
.xm-root .xm-row>.xm-delete,.xm-root .xm-head>.xm-space-delete{position:sticky;right:6px}
.xm-root .xm-line{flex:1 1 300px}
.xm-root .xm-status{display:flex;flex-flow:row wrap;gap:2px 8px;align-items:center;
overflow-wrap:anywhere}
.xm-root .xm-which{max-width:260px;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.xm-root .xm-bar{flex:1 1 160px;max-width:380px;height:8px;border-radius:4px;overflow:hidden;
background:var(--xm-line)}
.xm-root .xm-bar>div{height:100%;background:var(--xm-accent);transition:width .2s}
.xm-root .xm-bar.xm-unknown>div{width:30%;animation:xm-slide 1.4s linear infinite}
@keyframes xm-slide{from{transform:translateX(-100%)}to{transform:translateX(340%)}}
@media (prefers-reduced-motion:reduce){.xm-root .xm-bar>div{animation:none;transition:none}}
.xm-root .xm-log{margin-top:2px}.xm-root .xm-log summary{cursor:pointer;width:max-content}
.xm-root .xm-log pre{margin:2px 0;padding:4px 8px;max-height:220px;overflow:auto;
background:var(--xm-bg2);color:var(--xm-fg);font-family:var(--jp-code-font-family,monospace);
font-size:12px;white-space:pre-wrap;overflow-wrap:anywhere}
.xm-root .xm-notice{display:flex;gap:8px;align-items:center;padding:2px 0}
.xm-root .xm-notice .xm-html{flex:1 1 0}
.xm-root .xm-thin{height:3px;margin:0;max-width:none}
.xm-root .xm-empty{padding:18px 12px;color:var(--xm-dim)}
.xm-root .xm-foot{display:flex;flex-flow:row wrap;gap:6px;align-items:center;padding:5px 0 2px}
.xm-root .xm-foot .xm-totals{flex:1 1 260px}
.xm-root .xm-pager{display:flex;flex-flow:row wrap;gap:6px;align-items:center}
.xm-root .xm-dim{color:var(--xm-dim)}
.xm-root .xm-many{width:100%;margin:2px 0 6px}
.xm-root .xm-many select{color:var(--xm-fg);background:var(--xm-bg1);
border:1px solid var(--xm-line)}
.xm-root .xm-bulk{display:flex;flex-flow:row wrap;gap:6px;align-items:flex-start;padding:6px 8px;
margin:0 0 6px;border:1px solid var(--xm-line);border-left:3px solid var(--xm-warn);
border-radius:3px}
.xm-root .xm-list{margin:2px 0 2px 18px;padding:0;max-height:200px;overflow:auto}
.xm-root .xm-copy{user-select:all}
.xm-root .xm-details{padding:0 4px 8px 46px;box-sizing:border-box}
.xm-root .xm-sections{columns:3 260px;column-gap:24px}
.xm-root .xm-details section{min-width:0;break-inside:avoid;padding-top:6px}
.xm-root .xm-details h4{margin:0 0 2px;font-size:12.5px;font-weight:600}
.xm-root .xm-details p{margin:0 0 2px;overflow-wrap:anywhere}
.xm-root .xm-scroll{max-height:180px;overflow:auto}
.xm-root .xm-scroll table{border-collapse:collapse;width:100%;table-layout:fixed;margin:0;
font-size:12px;border:none}
.xm-root .xm-scroll th,.xm-root .xm-scroll td{padding:1px 6px 1px 0;text-align:left;border:none;
overflow:hidden;text-overflow:ellipsis;white-space:nowrap;font-weight:400;vertical-align:top;
background:none;color:var(--xm-fg);max-width:none}
.xm-root .xm-scroll th{color:var(--xm-dim);width:45%}
.xm-root .xm-scroll td.xm-right{width:70px;text-align:right}
.xm-root .xm-scroll tr,.xm-root .xm-scroll tr:nth-child(even){background:none}
.xm-root pre.xm-copy{margin:2px 0;padding:4px 8px;background:var(--xm-bg2);color:var(--xm-fg);
font-family:var(--jp-code-font-family,monospace);font-size:12px;white-space:pre-wrap;
overflow-wrap:anywhere}
.xm-root .xm-pictures{display:flex;flex-flow:row wrap;gap:8px 24px;padding:6px 2px}
.xm-root .xm-pictures figure{margin:0;flex:1 1 340px;max-width:560px;min-width:0}
.xm-root .xm-pictures figcaption{font-weight:600;margin-bottom:2px}
.xm-root .xm-pictures svg{width:100%;height:auto;display:block}
"""


def style_sheet(scope: str, columns: Sequence[Column]) -> str:
    """Return the style element of one browser.

    Parameters
    ----------
    scope
        The browser's own class, so that two browsers with different columns get along.
    columns
        What is shown: one rule gives header and rows the same tracks.
    """
    least = _least([column.least for column in columns], gap=8)
    slim = _least([column.narrow for column in columns if column.narrow], gap=6)
    root = f".xm-root.{scope}"
    hidden = ",".join(
        f"{root} .xm-grid>:nth-child({place})"
        for place, column in enumerate(columns, 1)
        if not column.narrow
    )
    return (
        f"<style>{_RULES}"
        f"{root} .xm-grid{{grid-template-columns:{tracks(columns)}}}"
        f"{root} .xm-head,{root} .xm-row{{min-width:{least}px}}"
        f"@container xm (max-width:{least - 1}px){{"
        f"{root} .xm-grid{{grid-template-columns:{tracks(columns, narrow=True)};column-gap:6px}}"
        f"{root} .xm-cell:not(.xm-right),{root} .xm-head-cells .xm-button:not(.xm-right)"
        "{padding-left:2px}"
        f"{root} .xm-head,{root} .xm-row{{min-width:{slim}px}}"
        f"{hidden}{{display:none!important}}}}"
        "</style>"
    )


def _least(widths: Sequence[int], *, gap: int) -> int:
    """Return the width below which the table scrolls: its columns, gaps and controls."""
    return sum(widths) + gap * (len(widths) - 1) + 146
