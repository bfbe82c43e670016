// The contrast (WCAG 2) of every visible text in the run browser: [[ratio, text, colours], ...].
() => {
  const parse = (colour) => {
    const parts = colour.match(/[\d.]+/g).map(Number);
    return parts.length > 3 ? parts : [...parts, 1];
  };
  const over = (top, below) =>
    [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
  const luminance = (colour) => {
    const part = (value) => {
      const share = value / 255;
      return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    };
    return 0.2126 * part(colour[0]) + 0.7152 * part(colour[1]) + 0.0722 * part(colour[2]);
  };
  const found = [];
  for (const element of document.querySelectorAll('.xm-root *')) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    const style = getComputedStyle(element);
    if (!own || !element.offsetParent || style.visibility === 'hidden') continue;
    if (['STYLE', 'OPTION'].includes(element.tagName) || element.closest('svg, :disabled')) continue;
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      layers.push(parse(getComputedStyle(e).backgroundColor));
    }
    const back = layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
    const front = over(parse(style.color), back);
    const [light, dark] = [luminance(front), luminance(back)].sort((a, b) => b - a);
    // signs are graphics (3:1), everything else is text (4.5:1)
    const sign = element.matches('.xm-sign, .xm-best');
    found.push([((light + 0.05) / (dark + 0.05)) * (sign ? 1.5 : 1),
      element.textContent.slice(0, 40), `${style.color} on ${back}`]);
  }
  return found;
}
