// Texts and buttons of the run browser that overlap in sight: [[one, other], ...].
() => {
  const root = document.querySelector('.xm-root');
  const cut = (a, b) => ({
    left: Math.max(a.left, b.left), right: Math.min(a.right, b.right),
    top: Math.max(a.top, b.top), bottom: Math.min(a.bottom, b.bottom),
  });
  // What of a box is in sight: inside all that clips it, and beside the ground of the row's button.
  const inSight = (box, element) => {
    let seen = cut(box, {left: -1e6, right: 1e6, top: -1e6, bottom: 1e6});
    for (let up = element; up && up !== root; up = up.parentElement) {
      if (getComputedStyle(up).overflow !== 'visible') seen = cut(seen, up.getBoundingClientRect());
    }
    const line = element.closest('.xm-row, .xm-head');
    if (line && element.closest('.xm-cells, .xm-head-cells')) {
      const ground = getComputedStyle(line, '::after');
      const solid = /^rgb\(/.test(ground.backgroundColor);
      const frame = line.closest('.xm-frame').getBoundingClientRect();
      if (solid) seen = cut(seen, {...seen, right: frame.right - parseFloat(ground.width)});
    }
    return seen;
  };
  const hidden = (element) => !element.checkVisibility({visibilityProperty: true})
    || element.closest('.xm-over, svg, style, select, label');
  const found = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || hidden(element)) continue;
    if (element.closest('button')) continue;
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    for (const box of range.getClientRects()) {
      found.push({what: element, name: walker.currentNode.textContent.slice(0, 40),
        box: inSight(box, element)});
    }
  }
  for (const button of root.querySelectorAll('button, input, select')) {
    if (hidden(button) && button.tagName === 'BUTTON') continue;
    if (!button.offsetParent || getComputedStyle(button).visibility === 'hidden') continue;
    found.push({what: button, name: button.textContent.trim().slice(0, 40) || button.className,
      box: inSight(button.getBoundingClientRect(), button)});
  }
  const overlaps = [];
  for (const [at, one] of found.entries()) {
    for (const other of found.slice(at + 1)) {
      if (one.what === other.what) continue;
      const both = cut(one.box, other.box);
      if (both.right - both.left > 1 && both.bottom - both.top > 2) {
        overlaps.push([one.name, other.name]);
      }
    }
  }
  return {overlaps, count: found.length};
}
