// What core widgets cannot say to a keyboard or a screen reader, added to the page that is there.
// It sends nothing: a key becomes a click on a control that exists, so that whatever keeps a click
// from counting (a read-only page, a button not armed yet) keeps a key from counting.

const TAG = "xm-keyboard-1";
const QUIET = 800; // milliseconds, as ARMED_AFTER in arming.py
const CONTROLS = "button, input, select, textarea";
const TITLED = ".xm-text, .xm-choice, .xm-many, .xm-tick"; // what may bear a control's tooltip
const IN_ROW = ":scope > button, :scope > .xm-tick input, .xm-cells a";
const TICK = ":scope > .xm-tick input";
const HEADERS = ".xm-head > .xm-tick input, .xm-head-cells > button";
const TYPED_IN = "select, textarea, [contenteditable], input:not([type=checkbox])";
const UNFOLDS = {
  "More …": ".xm-more", Less: ".xm-more", Columns: ".xm-chooser",
  "MLflow filter": ".xm-bar-line:has(.xm-refused)",
};
const KEYS = [
  ["↑ ↓ Home End", "move between the rows of the page"],
  ["← →", "move along a row or the header"],
  ["Page Up, Page Down", "turn the page"],
  ["Enter", "open or close the details"],
  ["+ −", "unfold or fold a study, or a run with several models"],
  ["Space", "tick; with Shift all from the last one ticked", "changes"],
  ["Delete", "ask to delete the model; then Tab to Confirm", "changes"],
  ["Escape", "take back what was asked, or close the details"],
  ["?", "show or hide these keys"],
];

const put = (element, name, value) => {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
};
const words = (element) => element?.textContent.trim() ?? "";
const plain = (text) => text.toLowerCase().replace(/[^\p{L}\p{N} ]/gu, "").trim();
const nameOf = (row) => words(row.querySelector(".xm-cell"));
const idOf = (row) => row.querySelector(".xm-cell")?.title; // names repeat, and this holds the id
const shown = (element) => Boolean(element?.isConnected)
  && element.style.display !== "none" && element.style.visibility !== "hidden";
const usable = (element) => shown(element) && !element.disabled;
const slotOf = (line) => line?.querySelector(":scope > .xm-slot, :scope > .xm-delete-many");

// Click what can be clicked now: the page counts by itself what takes no click yet.
const click = (element) => {
  const closed = (one) => getComputedStyle(one).pointerEvents === "none";
  const shield = element?.closest(".xm-row")?.querySelector(".xm-shield");
  if (usable(element) && !closed(element) && (!shield || closed(shield))) element.click();
};

// Taking back is never wrong, so a hasty Escape waits for its button instead of being lost.
const clickOnceArmed = async (button) => {
  const text = words(button);
  await Promise.allSettled(button.getAnimations().map((one) => one.finished));
  if (words(button) === text) click(button);
};

class Keyboard extends HTMLElement {
  tries = 0; // a box may get its CSS classes after what is in it
  connectedCallback() {
    const root = this.closest(".xm-root");
    this.tries = root ? 0 : this.tries + 1;
    if (!root && this.tries < 99) setTimeout(() => this.isConnected && this.connectedCallback(), 50);
    if (!root || this.root) return;
    Object.assign(this, {root, row: null, header: null, anchor: null, panel: null});
    this.forget();
    this.observer = new MutationObserver((records) => this.changed(records));
    const attributeFilter = ["title", "disabled", "style", "class"];
    this.observer.observe(root, {subtree: true, childList: true, attributeFilter});
    for (const event of ["keydown", "focusin", "focusout"]) root.addEventListener(event, this);
    root.dataset.lmSuppressShortcuts = "true";
    Object.assign(root, {role: "region", ariaLabel: "Run browser"});
    this.rove();
    this.touched = new Set([null, ...root.querySelectorAll(".xm-row")]);
    this.name();
  }

  disconnectedCallback() {
    const root = this.root;
    if (!root) return;
    this.root = null;
    this.observer.disconnect();
    for (const event of ["keydown", "focusin", "focusout"]) root.removeEventListener(event, this);
    const own = root.querySelectorAll("[data-lm-suppress-shortcuts]");
    for (const one of [root, ...own]) delete one.dataset.lmSuppressShortcuts;
    this.panel?.remove();
    const stops = `.xm-row, .xm-row > button, .xm-row a, .xm-tick input, ${HEADERS}`;
    for (const one of root.querySelectorAll(stops)) one.removeAttribute("tabindex");
  }

  handleEvent(event) {
    if (event.type === "keydown") this.pressed(event);
    else if (event.type === "focusin") this.focused(event.target);
    else if (event.relatedTarget && !this.root.contains(event.relatedTarget)) this.forget();
  }

  changed(records) {
    if (!this.touched.size) requestAnimationFrame(() => this.name()); // once for all messages
    for (const {target, addedNodes} of records) {
      this.touched.add(target.closest(".xm-row"));
      for (const node of addedNodes) if (node.matches?.(".xm-row")) this.touched.add(node);
    }
    if (!shown(this.row)) this.rove();
    this.rescue();
  }

  name() {
    if (this.root && this.touched.delete(null)) this.nameTools();
    for (const row of this.root ? this.touched : []) this.nameRow(row);
    this.touched.clear();
  }

  nameControl(control) {
    const title = control.title || control.closest(TITLED)?.title;
    const order = {"▲": ", now ascending", "▼": ", now descending"}[words(control).slice(-1)];
    const text = control.matches("button") ? plain(words(control)) : "";
    const name = plain(title ?? "").includes(text) ? title : `${words(control)}: ${title}`;
    if (title) put(control, "aria-label", name + (order ?? ""));
  }

  nameTools() {
    for (const control of this.root.querySelectorAll(CONTROLS)) {
      if (!control.closest(".xm-row")) this.nameControl(control);
      const pressed = control.closest(".xm-views") && String(control.matches(".xm-chosen"));
      if (pressed) put(control, "aria-pressed", pressed);
    }
    for (const button of this.root.querySelectorAll(".xm-tools button")) {
      const panel = this.root.querySelector(UNFOLDS[words(button)] ?? ":not(*)");
      if (panel) put(button, "aria-expanded", String(shown(panel)));
    }
    const list = {role: "list", ariaLabel: "Runs; press the question mark for the keys"};
    for (const rows of this.root.querySelectorAll(".xm-rows")) Object.assign(rows, list);
    const stop = usable(this.header) ? this.header : this.headers[0];
    for (const one of this.headers) put(one, "tabindex", one === stop ? "0" : "-1");
  }

  nameRow(row) {
    const cells = [...row.querySelectorAll(".xm-cells .xm-cell")];
    const titles = [...this.root.querySelectorAll(".xm-head-cells > button")].map(words);
    const told = cells.slice(1).map((cell, at) => {
      const text = words(cell.querySelector("bdi") ?? cell);
      const best = cell.querySelector(".xm-best") ? ", best of its experiment" : "";
      return text && `${(titles[at + 1] ?? "").replace(/ [▲▼]$/, "")} ${text}${best}`;
    });
    const name = nameOf(row);
    told.push(words(row.querySelector(".xm-say .xm-words")));
    put(row, "role", "listitem");
    put(row, "aria-label", [name, ...told].filter(Boolean).join("; "));
    for (const control of row.querySelectorAll(CONTROLS)) {
      const opens = control.matches(".xm-open"), open = /^[▾−]$/.test(words(control));
      if (opens || control.matches(".xm-fold")) put(control, "aria-expanded", String(open));
      if (opens) put(control, "aria-label", `Details of ${name}`);
      else if (control.matches(".xm-tick input")) put(control, "aria-label", `Select ${name}`);
      else this.nameControl(control);
    }
    this.stop(row);
  }

  get rows() { return [...this.root.querySelectorAll(".xm-row")].filter(shown); }
  get headers() { return [...this.root.querySelectorAll(HEADERS)]; }
  get active() { return this.root.getRootNode().activeElement; }

  // Make what is in a row stops of the Tab key, or not: one row of the table is.
  stop(row) {
    const stops = row === this.row ? "0" : "-1";
    for (const one of [row, ...row.querySelectorAll(IN_ROW)]) put(one, "tabindex", stops);
  }

  rove(to) {
    const before = this.row;
    this.row = to ?? this.rows.at(before ? -1 : 0) ?? null;
    for (const row of [before, this.row]) if (row) this.stop(row);
  }
  forget() { Object.assign(this, {last: {element: null, line: null}, quietUntil: 0}); }

  focused(element) {
    const line = element.closest(".xm-row, .xm-bulk, .xm-record");
    // JupyterLab hears a key before the table does, and lets it be where the focus says so itself:
    // its documentation, "Keyboard interaction model" of the notebook.
    element.dataset.lmSuppressShortcuts = "true";
    this.last = {element, line};
    if (line?.matches(".xm-row") && line !== this.row) this.rove(line);
    if (!this.headers.includes(element)) return;
    this.header = element;
    this.nameTools();
  }

  // Where what had the focus is gone, hidden or dead, give the focus to what is nearest.
  rescue() {
    const {element, line} = this.last;
    if (!element || usable(element) && (!line || shown(line))) return;
    if (this.active && this.active !== element && !this.active.contains(this.root)) return;
    const slot = slotOf(line);
    const row = line?.matches(".xm-row") && (shown(line) ? line : this.rows.at(-1));
    const others = [...((element.parentElement ?? line)?.querySelectorAll(CONTROLS) ?? [])];
    const toSlot = shown(line) && usable(slot) && element.matches(":not(a, .xm-details *)");
    const near = others.find((one) => usable(one) && one.checkVisibility());
    if (toSlot) this.quietUntil = Date.now() + QUIET; // a second Enter was not meant for it
    (toSlot ? slot : row || near || this.rows[0])?.focus({preventScroll: true});
  }

  pressed(event) {
    event.stopPropagation();
    const {target, key} = event;
    const types = target.matches(TYPED_IN) && !(key === "Escape" && target.closest(".xm-count"));
    if (event.defaultPrevented || event.isComposing || types) return;
    const other = event.ctrlKey || event.metaKey || event.altKey;
    const runsCell = key === "Enter" && (other || event.shiftKey) && !target.matches("a");
    if (other && !runsCell) return;
    // A held key would click again and again.
    const early = event.repeat || Date.now() < this.quietUntil;
    const lost = runsCell || early && [" ", "Enter"].includes(key);
    if (lost || this.act(key, event) !== false) event.preventDefault();
  }

  // Do what a key says. False where it says nothing, so that the page may do what it does.
  act(key, {target, shiftKey, repeat}) {
    const row = target.closest(".xm-row");
    if (key === "?") return repeat || this.showKeys();
    if (key === "Escape") return repeat || this.takeBack(row ?? target.closest(".xm-record"));
    if (!target.closest(".xm-frame") || target.closest(".xm-details")) return false;
    const sideways = {ArrowLeft: -1, ArrowRight: 1}[key];
    const places = !sideways ? this.rows
      : row ? [row, ...row.querySelectorAll(IN_ROW)].filter(usable) : this.headers.filter(usable);
    const at = places.indexOf(sideways ? target : row);
    const to = {ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: places.length - 1}[key];
    if (sideways || to !== undefined) {
      const place = sideways ? at + sideways : to;
      return places[Math.max(0, Math.min(place, places.length - 1))]?.focus();
    }
    const page = {PageUp: "Previous", PageDown: "Next"}[key];
    const pager = [...this.root.querySelectorAll(".xm-pager button")];
    if (page) return repeat || click(pager.find((one) => words(one) === page));
    if (!row) return false;
    const [onRow, onTick] = [target === row, target.matches("input")];
    if (key === "Delete") return repeat || this.ask(row);
    const fold = row.querySelector(":scope > .xm-fold"), sign = key.replace("-", "−");
    if ("+−".includes(sign)) return repeat || words(fold) !== sign || click(fold);
    if (key === "Enter" && (onRow || onTick)) return click(row.querySelector(":scope > .xm-open"));
    if (key !== " " || !onRow && !onTick) return false;
    if (onRow || shiftKey) return this.tick(row, shiftKey);
    this.anchor = {row, id: idOf(row), on: !target.checked};
    return false; // the page ticks it by itself
  }

  tick(row, range) {
    const boxOf = (one) => one.querySelector(TICK), {anchor, rows} = this;
    row.focus(); // where the key is let go, nothing else is pressed
    const known = range && rows.includes(anchor?.row) && idOf(anchor.row) === anchor.id;
    const ends = [rows.indexOf(known ? anchor.row : row), rows.indexOf(row)].sort((a, b) => a - b);
    const on = known ? anchor.on : !boxOf(row)?.checked;
    for (const one of rows.slice(ends[0], ends[1] + 1)) {
      if (boxOf(one)?.checked !== on) click(boxOf(one));
    }
    this.anchor = {row, id: idOf(row), on};
  }

  ask(row) {
    const slot = slotOf(row);
    if (!usable(slot) || !/^(Delete|Resume)$/.test(words(slot))) return;
    slot.focus(); // it becomes Cancel
    click(slot);
  }

  takeBack(row) {
    if (this.panel) return this.showKeys();
    const takesBack = (slot) => usable(slot) && /^(Cancel|Close)$/.test(words(slot));
    const inSight = (one) => one.checkVisibility(), bulks = this.root.querySelectorAll(".xm-bulk");
    const [own, many] = [row, [...bulks].find(inSight)].map(slotOf);
    const open = row?.querySelector(":scope > .xm-open");
    if (takesBack(own)) clickOnceArmed(own);
    else if (words(open) === "▾") click(open);
    else if (takesBack(many)) clickOnceArmed(many);
  }

  showKeys() {
    const {panel, before} = this;
    if (panel) {
      this.panel = null;
      if (panel.contains(this.active)) (shown(before) ? before : this.row)?.focus();
      return panel.remove();
    }
    this.before = this.active;
    const keys = this.panel = this.ownerDocument.createElement("div");
    Object.assign(keys, {className: "xm-keys", tabIndex: -1, role: "dialog", ariaLabel: "Keys"});
    const able = KEYS.filter((line) => line[2] !== "changes" || !this.root.matches(".xm-looking"));
    const lines = able.map(([key, meaning]) => `<dt>${key}</dt><dd>${meaning}</dd>`);
    this.panel.innerHTML = `<dl>${lines.join("")}</dl>`, this.root.append(this.panel);
    const [line, whole] = [this.before, this.root].map((one) => one.getBoundingClientRect());
    const most = whole.height - this.panel.offsetHeight;
    this.panel.style.top = `${Math.max(0, Math.min(line.bottom - whole.top, most))}px`;
    this.panel.focus();
  }
}

export default {
  render({el}) {
    if (!customElements.get(TAG)) customElements.define(TAG, Keyboard);
    const element = el.appendChild(el.ownerDocument.createElement(TAG));
    return () => element.remove();
  },
};
