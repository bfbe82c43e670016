"""How the browser looks: one style sheet in JupyterLab's own colours, light and dark.

Every colour is one of JupyterLab's variables with a fallback for pages that do not define them.
Colour never stands alone: a sign or a word says the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from expmgr.widgets.arming import ARMED_AFTER
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
.xm-root .xm-text{flex:1 1 170px}
.xm-root .xm-choice{flex:0 0 auto;width:132px}
.xm-root .xm-text input,.xm-root .xm-choice select{height:24px;font-size:12.5px;
color:var(--xm-fg);background-color:var(--xm-bg1);border:1px solid var(--xm-line);
border-radius:3px;padding:0 6px;line-height:22px}
.xm-root .xm-choice select{padding-right:20px}
.xm-root .xm-tools{display:block}
.xm-root .xm-frame{display:block;overflow-x:auto!important;border:1px solid var(--xm-line);
border-radius:3px;container:xm/inline-size}
/* Every line is a grid of one height: nothing that comes or goes in it moves another line. */
.xm-root .xm-head,.xm-root .xm-row{display:grid;position:relative;align-items:center;
grid-template:var(--xm-high) auto/
var(--xm-tick) calc(var(--xm-fold) + var(--xm-open)) minmax(0,1fr) var(--xm-slot);
padding:0 6px;column-gap:6px;box-sizing:border-box;border-bottom:1px solid var(--xm-line)}
.xm-root.xm-looking .xm-head,.xm-root.xm-looking .xm-row{
grid-template:var(--xm-high) auto/
0 calc(var(--xm-fold) + var(--xm-open)) minmax(0,1fr) var(--xm-told,0)}
.xm-root .xm-head{background:var(--xm-bg2)}
.xm-root .xm-row>.xm-tick,.xm-root .xm-head>.xm-tick{grid-area:1/1}
.xm-root .xm-row>.xm-open{grid-area:1/2;justify-self:end}
.xm-root .xm-row>.xm-fold{grid-area:1/2;justify-self:start}
.xm-root .xm-row>.xm-cells,.xm-root .xm-head>.xm-head-cells{grid-area:1/3}
/* The buttons stay in sight when the cells scroll under them, on a ground of their own. */
.xm-root .xm-row>.xm-slot,.xm-root .xm-row>.xm-confirm{grid-area:1/1/2/-1;justify-self:end;
position:sticky;z-index:2}
.xm-root .xm-row>.xm-slot{right:6px}
.xm-root .xm-row>.xm-confirm{right:calc(var(--xm-slot) + 12px);
margin-right:calc(var(--xm-slot) + 6px)}
.xm-root .xm-row::after,.xm-root .xm-head::after{content:"";
grid-area:1/1/2/-1;justify-self:end;position:sticky;right:0;z-index:1;margin-right:-6px;
width:calc(var(--xm-slot) + 12px);height:100%;background:inherit}
.xm-root .xm-row{background:var(--xm-bg)}
.xm-root.xm-looking .xm-row::after{content:none}
.xm-root .xm-row:hover{box-shadow:inset 3px 0 0 var(--xm-accent)}
.xm-root .xm-rows{display:block}
.xm-root .xm-grid{display:grid;column-gap:8px;align-items:center;width:100%}
.xm-root .xm-head-cells,.xm-root .xm-cells{min-width:0}
.xm-root .xm-cells,.xm-root .xm-cells>.widget-html-content{position:static!important}
.xm-root .xm-shield{position:absolute;inset:0;z-index:3;
animation:xm-shield var(--xm-armed) step-end both}
@keyframes xm-shield{from{pointer-events:auto}to{pointer-events:none}}
.xm-root .xm-head-cells .xm-button{background:none;border:none;padding:0;text-align:left;
font-weight:600;width:100%;min-width:0;overflow:hidden;text-overflow:ellipsis;
white-space:nowrap;color:var(--xm-fg)}
.xm-root .xm-head-cells .xm-button.xm-right{text-align:right}
.xm-root .xm-head::after{display:flex;align-items:center;justify-content:center;font-size:11px;
color:var(--xm-dim)}
.xm-root .xm-head-cells .xm-button:hover{color:var(--xm-accent);text-decoration:underline}
.xm-root .xm-cell{overflow:hidden;text-overflow:ellipsis;white-space:nowrap;min-width:0}
.xm-root .xm-cell:not(.xm-right),.xm-root .xm-head-cells .xm-button:not(.xm-right),
.xm-root .xm-row .xm-words:first-child{padding-left:4px}
.xm-root .xm-right{text-align:right;font-variant-numeric:tabular-nums}
.xm-root .xm-size{background:linear-gradient(to left,
color-mix(in srgb,var(--xm-accent) 24%,transparent) var(--xm-part,0%),transparent 0) no-repeat}
.xm-root .xm-totals a{color:var(--jp-content-link-color,#1565c0)}
.xm-root .xm-cell a{color:var(--jp-content-link-color,#1565c0);text-decoration:none}
.xm-root .xm-cell a:hover{text-decoration:underline}
.xm-root .xm-sign{display:inline-block;width:1.25em;text-align:center;margin-right:2px}
.xm-root .xm-best{color:var(--xm-warn);margin-right:3px}
.xm-root .xm-status-failed,.xm-root .xm-model-interrupted,.xm-root .xm-model-broken,
.xm-root .xm-bad{color:var(--xm-bad)}
.xm-root .xm-status-stale,.xm-root .xm-status-interrupted{color:var(--xm-warn)}
.xm-root .xm-model-deleted,.xm-root .xm-model-none,.xm-root .xm-model-elsewhere,
.xm-root .xm-model-unknown,.xm-root .xm-protected{color:var(--xm-dim)}
.xm-root .xm-good .xm-sign{color:var(--xm-good)}
.xm-root .xm-tick{width:var(--xm-tick);height:var(--xm-touch,20px);margin:0;min-width:0;
overflow:hidden}
.xm-root .xm-tick label{padding:0;width:100%;height:100%;display:flex;align-items:center}
.xm-root .xm-tick input{margin:0 0 0 2px}
.xm-root .xm-open{width:var(--xm-open);padding:0;border:none;background:none;text-align:center}
.xm-root .xm-fold{width:16px;height:16px;line-height:13px;padding:0;text-align:center}
.xm-root .xm-slot{width:var(--xm-slot);padding:0;text-align:center}
.xm-root .xm-delete:hover:enabled,.xm-root .xm-confirm{border-color:var(--xm-bad)}
.xm-root .xm-delete:hover:enabled{color:var(--xm-bad)}
.xm-root .xm-row .xm-waiting{border:none;background:none}
/* Confirm never stands where a Delete stood, and takes no click at first: ARMED_AFTER, also where
motion is reduced, because this is no motion. */
.xm-root .xm-confirm{width:var(--xm-confirm);padding:0 4px;text-align:center;font-weight:600;
background:var(--xm-bad);color:var(--jp-ui-inverse-font-color0,#fff);
animation:xm-arm var(--xm-armed) step-end both}
@keyframes xm-arm{from{pointer-events:none;opacity:.55}to{pointer-events:auto;opacity:1}}
/* So does a button that has just come to mean something else: another name starts anew. */
.xm-root .xm-delete{animation:xm-quiet-d var(--xm-armed) step-end both}
.xm-root .xm-cancel{animation:xm-quiet-c var(--xm-armed) step-end both}
.xm-root .xm-close{animation:xm-quiet-x var(--xm-armed) step-end both}
@keyframes xm-quiet-d{from{pointer-events:none}to{pointer-events:auto}}
@keyframes xm-quiet-c{from{pointer-events:none}to{pointer-events:auto}}
@keyframes xm-quiet-x{from{pointer-events:none}to{pointer-events:auto}}
/* What a row says stands in sight and in its line, however far the cells are scrolled. */
.xm-root .xm-said{position:sticky;
left:calc(var(--xm-tick) + var(--xm-fold) + var(--xm-open) + 18px);
width:calc(100cqw - var(--xm-tick) - var(--xm-fold) - var(--xm-open) - var(--xm-slot) - 30px)}
.xm-root .xm-said>.xm-say{grid-column:2/-1}
.xm-root .xm-say{display:flex;gap:2px 8px;align-items:center;min-width:0}
.xm-root .xm-row .xm-offering{padding-right:calc(var(--xm-confirm) + 6px)}
.xm-root .xm-row:has(>.xm-count) .xm-say{padding-right:calc(var(--xm-confirm) + 104px)}
.xm-root .xm-row>.xm-count{grid-area:1/1/2/-1;justify-self:end;position:sticky;z-index:2;
width:92px;flex:none;right:calc(var(--xm-slot) + var(--xm-confirm) + 18px);
margin-right:calc(var(--xm-slot) + var(--xm-confirm) + 12px)}
.xm-root .xm-say>.xm-sign{flex:none;margin:0 -6px 0 0}
.xm-root .xm-words{flex:0 1 auto;min-width:0;max-height:2.3em;overflow:hidden;line-height:1.15;
overflow-wrap:anywhere;display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:2}
.xm-root .xm-row>.xm-details{grid-area:2/1/3/-1;width:calc(100cqw - 14px);position:sticky;
left:6px;height:300px;overflow:auto;display:block}
.xm-root .xm-bar{flex:1 1 60px;max-width:300px;height:8px;border-radius:4px;overflow:hidden;
background:var(--xm-line)}
.xm-root .xm-bar>div{height:100%;background:var(--xm-accent);transition:width .2s}
.xm-root .xm-bar.xm-unknown>div{width:30%;animation:xm-slide 1.4s linear infinite}
@keyframes xm-slide{from{transform:translateX(-100%)}to{transform:translateX(340%)}}
@media (prefers-reduced-motion:reduce){.xm-root .xm-bar>div{animation:none;transition:none}}
.xm-root .xm-log{margin-top:2px}.xm-root .xm-log summary{cursor:pointer;width:max-content}
.xm-root .xm-log pre{margin:2px 0;padding:4px 8px;max-height:220px;overflow:auto;
background:var(--xm-bg2);color:var(--xm-fg);font-family:var(--jp-code-font-family,monospace);
font-size:12px;white-space:pre-wrap;overflow-wrap:anywhere}
.xm-root .xm-notices{display:flex;gap:16px;height:24px;align-items:center}
.xm-root .xm-notice{display:flex;gap:8px;align-items:center;flex:1 1 0;min-width:0}
.xm-root .xm-notice .xm-html{flex:1 1 0}
.xm-root .xm-notices{position:relative;z-index:4}
.xm-root .xm-notice,.xm-root .xm-notice .xm-html,.xm-root .xm-notice .widget-html-content{
position:static!important}
.xm-root .xm-notice .widget-html-content{display:grid;grid-template-columns:minmax(0,1fr) auto;
column-gap:12px;align-items:center}
.xm-root .xm-notice .xm-bar{grid-area:2/1/3/-1;width:100%}
.xm-root .xm-notice .xm-words{-webkit-line-clamp:1;max-height:1.15em}
.xm-root .xm-thin{height:3px;margin:0;max-width:none}
.xm-root .xm-read-only{padding:4px 2px;color:var(--xm-dim)}
.xm-root .xm-refused{flex:1 1 100%;height:34px;overflow:auto}
.xm-root .xm-empty{padding:18px 12px;color:var(--xm-dim)}
.xm-root .xm-foot{display:flex;flex-flow:row wrap;gap:6px;align-items:center;padding:5px 0 2px}
.xm-root .xm-foot .xm-totals{flex:1 1 260px}
.xm-root .xm-pager{display:flex;flex-flow:row wrap;gap:6px;align-items:center}
.xm-root .xm-dim{color:var(--xm-dim)}
/* What tells lines of one name apart is not what is cut first. */
.xm-root .xm-cell.xm-named{display:flex;gap:5px}
.xm-root .xm-named>:first-child{flex:0 1 auto;min-width:2em;overflow:hidden;
text-overflow:ellipsis}
.xm-root .xm-named>.xm-dim{flex:0 0 auto;max-width:65%;overflow:hidden;text-overflow:ellipsis}
.xm-root .xm-cell.xm-depth-1{padding-left:18px}.xm-root .xm-cell.xm-depth-2{padding-left:32px}
.xm-root .xm-cell.xm-depth-3{padding-left:46px}
/* At the line's left end, for where a long name would end it could make the table scroll. */
.xm-root .xm-hidden{position:absolute;left:0;width:1px;height:1px;overflow:hidden;
clip-path:inset(50%);white-space:nowrap}
.xm-root .xm-chooser{display:flex;gap:8px;align-items:center;padding:2px 0 6px}
.xm-root .xm-list-box{display:flex;flex-flow:column;gap:4px;flex:1 1 0;max-width:340px}
.xm-root .xm-list-box .xm-text{flex:none}
.xm-root .xm-list-box>.xm-html{height:24px;overflow:hidden}
.xm-root .xm-movers{display:flex;flex-flow:column;gap:4px}
.xm-root .xm-movers .xm-button{text-align:left}
.xm-root .xm-many{width:100%;margin:0}
.xm-root .xm-chip{border-radius:12px;max-width:100%;overflow:hidden;text-overflow:ellipsis}
.xm-root .xm-many select{color:var(--xm-fg);background:var(--xm-bg1);
border:1px solid var(--xm-line)}
/* One line of one height for whatever happens to many, and Confirm beside the button, not on it. */
.xm-root .xm-bulk{display:flex;gap:6px;align-items:center;height:var(--xm-high);
position:relative;z-index:4}
.xm-root .xm-bulk .xm-delete-many{width:156px;padding:0;text-align:center}
.xm-root .xm-bulk .xm-count{flex:0 0 92px;order:1}
.xm-root .xm-bulk .xm-confirm{order:2}
.xm-root .xm-bulk .xm-line{flex:1 1 0;order:3}
.xm-root .xm-bulk .xm-line,.xm-root .xm-bulk .widget-html-content{position:static!important}
.xm-root .xm-bulk .xm-line>.widget-html-content{display:flex;gap:12px;align-items:center}
.xm-root .xm-bulk .xm-say{flex:1 1 0}
.xm-root .xm-pop{flex:none}
.xm-root .xm-pop>summary{cursor:pointer}
.xm-root .xm-over{position:absolute;top:100%;right:0;width:min(720px,100%);max-height:260px;
overflow:auto;box-sizing:border-box;padding:6px 10px;background:var(--xm-bg1);
border:1px solid var(--xm-line);border-radius:3px;box-shadow:0 4px 12px rgba(0,0,0,.25)}
.xm-root .xm-list{margin:2px 0 2px 18px;padding:0;max-height:200px;overflow:auto}
.xm-root .xm-copy{user-select:all}
.xm-root .xm-details{padding:0 4px 8px 46px;box-sizing:border-box}
.xm-root .xm-actions{display:flex;gap:6px;align-items:center;padding:6px 2px 0}
.xm-root .xm-keeping{display:flex;gap:6px;align-items:center;flex:1 1 0}
.xm-root .xm-keeping .xm-why{flex:0 1 300px}
.xm-root .xm-keeping .xm-html{flex:1 1 0;overflow:hidden}
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
.xm-root{--xm-high:30px;--xm-tick:18px;--xm-fold:0px;--xm-open:22px;--xm-slot:76px;--xm-confirm:148px;
container:xm-root/inline-size}
@container xm-root (max-width:600px){
.xm-root .xm-box{--xm-confirm:132px}
.xm-root .xm-bulk{flex-wrap:wrap;row-gap:0;height:calc(2*var(--xm-high));align-content:flex-start}
.xm-root .xm-bulk>.xm-button{margin:3px 0}
.xm-root .xm-bulk .xm-delete-many{width:146px}
.xm-root .xm-bulk .xm-line{flex:0 0 100%;height:var(--xm-high)}
.xm-root .xm-bulk .xm-line>.widget-html-content{height:100%}
.xm-root .xm-frame .xm-said{grid-template-columns:90px minmax(0,1fr)!important}}
@media (pointer:coarse){.xm-root{--xm-high:48px;--xm-tick:44px;--xm-open:44px;--xm-touch:44px}
.xm-root .xm-button,.xm-root .xm-text,.xm-root .xm-choice,.xm-root .xm-text input,
.xm-root .xm-choice select{height:44px}
.xm-root .xm-fold{width:44px;line-height:42px}.xm-root .xm-head-cells .xm-button{min-height:44px}}
.xm-root .xm-row:focus-visible{outline-offset:-2px!important}
.xm-root{position:relative}
/* The module that hears the keys sets this attribute, so nothing is promised without it. */
.xm-root[data-lm-suppress-shortcuts] .xm-totals>.widget-html-content::after{
content:" · ? shows the keys";color:var(--xm-dim)}
.xm-root .xm-keys{position:absolute;right:8px;z-index:5;width:max-content;max-width:100%;
padding:8px 14px;box-sizing:border-box;background:var(--xm-bg1);
border:1px solid var(--xm-line);border-radius:3px;box-shadow:0 4px 12px rgba(0,0,0,.25)}
.xm-root .xm-keys dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 14px;margin:0}
.xm-root .xm-keys dt,.xm-root .xm-keys dd{float:none;width:auto;margin:0;padding:0}
.xm-root .xm-keys dt{font-weight:600}
@media (forced-colors:active){.xm-root .xm-confirm{border:2px solid}}
"""
_VIEWS = """
.xm-root .xm-view{display:block}
.xm-root .xm-views{display:flex;gap:4px;margin-bottom:4px;border-bottom:1px solid var(--xm-line)}
.xm-root .xm-views .xm-button{height:28px;background:none;border:none;border-radius:0;
border-bottom:3px solid transparent;padding:0 12px}
.xm-root .xm-views .xm-button:hover:enabled{border-color:var(--xm-line)}
.xm-root .xm-views .xm-chosen,.xm-root .xm-views .xm-chosen:hover:enabled{font-weight:600;
border-bottom-color:var(--xm-accent)}
.xm-root .xm-label{white-space:nowrap;color:var(--xm-dim)}
.xm-root .xm-text.xm-short{flex:0 0 84px}
.xm-root .xm-choice.xm-count-of{width:70px}.xm-root .xm-choice.xm-per{width:104px}
.xm-root .xm-choice.xm-part{width:168px}.xm-root .xm-choice.xm-when{width:104px}
.xm-root .xm-text.xm-word{flex:0 0 150px}
.xm-root .xm-clean-up .xm-delete-many{width:176px}
.xm-root .xm-sums{flex-wrap:nowrap;min-height:30px}
.xm-root .xm-sums>.xm-sum{flex:1 1 0;font-weight:600}
.xm-root .xm-view .xm-bar-line>.xm-notices{flex:1 1 0;min-width:180px}
.xm-root .xm-confirm.xm-mild{background:var(--xm-accent);border-color:var(--xm-accent)}
.xm-root .xm-old{opacity:.55}
.xm-root .xm-clean-up h4{margin:8px 0 2px;font-size:12.5px;font-weight:600}
.xm-root table.xm-lines{border-collapse:collapse;table-layout:fixed;width:100%;margin:0;
font-size:12.5px;border:none}
.xm-root .xm-lines th,.xm-root .xm-lines td{padding:3px 8px;text-align:left;border:none;
border-bottom:1px solid var(--xm-line);overflow:hidden;text-overflow:ellipsis;white-space:nowrap;
background:none;color:var(--xm-fg);max-width:none;font-weight:400}
.xm-root .xm-lines th{font-weight:600;background:var(--xm-bg2)}
.xm-root .xm-lines .xm-right{text-align:right}
.xm-root .xm-lines td.xm-dim{color:var(--xm-dim)}
.xm-root .xm-lines tr,.xm-root .xm-lines tr:nth-child(even){background:none}
.xm-root .xm-lines tr:last-child td{border-bottom:none}
.xm-root .xm-turn{display:flex;gap:6px;align-items:center;padding:4px 0}
.xm-root .xm-stays summary,.xm-root .xm-same summary{cursor:pointer;width:max-content;
max-width:100%;padding:1px 0;overflow-wrap:anywhere}
.xm-root .xm-same{padding-top:6px}
.xm-root .xm-failures{margin:2px 0 6px;padding:0;list-style:none;max-height:160px;overflow:auto}
.xm-root .xm-failures li{overflow-wrap:anywhere;padding:1px 0}
.xm-root .xm-record{display:flex;gap:8px;align-items:center;height:44px;padding:0 6px;
box-sizing:border-box;border-bottom:1px solid var(--xm-line)}
.xm-root .xm-record:hover{box-shadow:inset 3px 0 0 var(--xm-accent)}
.xm-root .xm-record>.xm-record-text{flex:1 1 0}
.xm-root .xm-record>.xm-confirm{order:1}.xm-root .xm-record>.xm-slot{order:2}
.xm-root .xm-keep{animation:xm-quiet-k var(--xm-armed) step-end both}
.xm-root .xm-resume{animation:xm-quiet-u var(--xm-armed) step-end both}
.xm-root .xm-restore{animation:xm-quiet-r var(--xm-armed) step-end both}
@keyframes xm-quiet-k{from{pointer-events:none}to{pointer-events:auto}}
@keyframes xm-quiet-u{from{pointer-events:none}to{pointer-events:auto}}
@keyframes xm-quiet-r{from{pointer-events:none}to{pointer-events:auto}}
.xm-root .xm-record .xm-waiting{border:none;background:none}
.xm-root .xm-record .xm-offering{padding-right:0}
.xm-root .xm-first{display:flex;gap:10px;align-items:center;min-width:0;white-space:nowrap}
.xm-root .xm-first>*{overflow:hidden;text-overflow:ellipsis;flex:0 1 auto;min-width:2em}
.xm-root .xm-first>.xm-outcome{flex:0 0 250px}
.xm-root .xm-first>.xm-right{flex:none;margin-left:auto}
.xm-root .xm-record .xm-say{height:17px}
.xm-root .xm-record .xm-words{-webkit-line-clamp:1;max-height:1.25em;line-height:1.25}
.xm-root .xm-cut{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
@container xm-root (max-width:760px){.xm-root .xm-first>.xm-outcome{flex-basis:216px}
.xm-root .xm-first>.xm-dim,.xm-root .xm-record:has(>.xm-confirm) .xm-right{display:none}}
@container xm-root (max-width:600px){.xm-root .xm-sums{flex-wrap:wrap}
.xm-root .xm-sums>.xm-sum{flex:1 1 100%}}
@media (pointer:coarse){.xm-root .xm-views .xm-button{height:44px}.xm-root .xm-record{height:56px}}
"""
"""The Clean up view and the Deletions view."""


_FOLD = 20
"""Pixels that the button takes which unfolds a line."""


def style_sheet(scope: str, columns: Sequence[Column], *, folds: bool = False) -> str:
    """Return the style element of one browser.

    Parameters
    ----------
    scope
        The browser's own class, so that two browsers with different columns get along.
    columns
        What is shown: one rule gives header and rows the same tracks.
    folds
        Whether lines have a button that unfolds them.
    """
    root = f".xm-root.{scope}"
    rules = [_level(root, columns, columns, narrow=False)]
    room = _FOLD if folds else 0
    limit = _least(columns, narrow=False) + room
    shown = list(columns)
    for leaving in (None, *sorted((one for one in columns if one.yields), key=_yields)):
        if leaving is not None:
            shown.remove(leaving)
        rules.append(
            f"@container xm (max-width:{limit - 1}px){{"
            f"{_level(root, columns, shown, narrow=True)}}}"
        )
        limit = _least(shown, narrow=True) + room
    if folds:
        rules.append(
            f"{root}{{--xm-fold:{_FOLD}px}}@media (pointer:coarse){{{root}{{--xm-fold:44px}}}}"
        )
    # narrower than that, the cells scroll under the buttons
    return (
        f"<style>{_RULES}{_VIEWS}{root}{{--xm-armed:{ARMED_AFTER}s}}{''.join(rules)}"
        f"{root} .xm-head,{root} .xm-row{{min-width:{limit}px}}"
        f"@container xm (max-width:{limit - 1}px){{"
        f"{root} .xm-said{{grid-template-columns:90px minmax(0,1fr)}}}}"
        "</style>"
    )


def _yields(column: Column) -> int:
    return column.yields


def _level(root: str, columns: Sequence[Column], shown: Sequence[Column], *, narrow: bool) -> str:
    """Return the rules with which these of the columns are shown, and the others told."""
    hidden = ",".join(
        f"{root} .xm-grid>:nth-child({place}):not(.xm-say)"
        for place, column in enumerate(columns, 1)
        if column not in shown
    )
    count = len(columns) - len(shown)
    return (
        f"{root} .xm-grid{{grid-template-columns:{tracks(shown, narrow=narrow)};"
        f"column-gap:{_gap(narrow=narrow)}px}}"
        + (f"{hidden}{{display:none!important}}" if hidden else "")
        + (f'{root} .xm-head::after{{content:"{count} not shown"}}' if count else "")
        + (f"{root} .xm-box{{--xm-told:var(--xm-slot)}}" if count else "")
    )


def _gap(*, narrow: bool) -> int:
    return 6 if narrow else 8


def _least(columns: Sequence[Column], *, narrow: bool) -> int:
    """Return the width that these columns need, with gaps and the row's buttons."""
    widths = [column.narrow if narrow else column.least for column in columns]
    return sum(widths) + _gap(narrow=narrow) * (len(widths) - 1) + 152
