/** Functions that run in a browser's page; plain JavaScript, because the rest of the project knows no `document`. Types beside it. */

export function inspectPage() {
  const seen = (element) => element.getBoundingClientRect().width > 0;
  const drawings = [...document.querySelectorAll("svg")].filter(seen);
  const cut = [];
  const overlapping = [];
  for (const drawing of drawings) {
    const frame = drawing.getBoundingClientRect();
    const labels = [...drawing.querySelectorAll("text")].map((label) => ({ text: label.textContent ?? "", box: label.getBoundingClientRect() })).filter(({ box }) => box.width > 0);
    for (const [i, { text, box }] of labels.entries()) {
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1) cut.push(text);
      for (const other of labels.slice(i + 1)) {
        const across = Math.min(box.right, other.box.right) - Math.max(box.left, other.box.left);
        const down = Math.min(box.bottom, other.box.bottom) - Math.max(box.top, other.box.top);
        // Line boxes may touch; letters are smaller than these.
        if (across > 1 && down > 4) overlapping.push(`${text} | ${other.text}`);
      }
    }
  }
  const channels = (color) => (color.match(/[\d.]+/g) ?? []).map(Number);
  const luminance = (color) => {
    const [red = 0, green = 0, blue = 0] = channels(color).map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const behind = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (channels(color)[3] !== 0) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const faint = new Set();
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].filter((node) => node.nodeType === Node.TEXT_NODE).map((node) => node.textContent ?? "").join("").trim();
    if (text === "" || !seen(element) || element.tagName === "STYLE") continue;
    const style = getComputedStyle(element);
    const [a, b] = [luminance(element instanceof SVGElement ? style.fill : style.color), luminance(behind(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.add(`${contrast.toFixed(1)}: ${text.slice(0, 40)}`);
  }
  return {
    background: getComputedStyle(document.body).backgroundColor,
    scrollWidth: document.documentElement.scrollWidth,
    tooWide: [...document.querySelectorAll(".scroll")].filter((place) => place.scrollWidth > place.clientWidth).map((place) => place.closest("section")?.querySelector("h3")?.textContent ?? ""),
    drawings: drawings.length,
    figuresWithoutDrawing: [...document.querySelectorAll("figure")].filter((figure) => [...figure.querySelectorAll("svg")].filter((svg) => svg.getBoundingClientRect().width > 250 && svg.getBoundingClientRect().height > 80).length !== 1).map((figure) => figure.ariaLabel ?? ""),
    cut,
    overlapping,
    faint: [...faint],
  };
}

export async function inspectPixels(png) {
  const image = new Image();
  image.src = `data:image/png;base64,${png}`;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext("2d");
  if (context === null) throw new Error("expected a canvas");
  context.drawImage(image, 0, 0);
  const pixels = context.getImageData(0, 0, image.width, image.height).data;
  const counts = new Map();
  for (let i = 0; i < pixels.length; i += 4) {
    const color = ((pixels[i] ?? 0) << 16) | ((pixels[i + 1] ?? 0) << 8) | (pixels[i + 2] ?? 0);
    counts.set(color, (counts.get(color) ?? 0) + 1);
  }
  const total = pixels.length / 4;
  const [[common] = [0]] = [...counts].sort(([, a], [, b]) => b - a);
  const parts = (color) => [color >> 16, (color >> 8) & 255, color & 255];
  let far = 0;
  const coarse = new Map();
  for (const [color, count] of counts) {
    const distance = parts(color).reduce((sum, part, i) => sum + Math.abs(part - (parts(common)[i] ?? 0)), 0);
    if (distance > 40) far += count;
    const step = parts(color).map((part) => part >> 5).join();
    coarse.set(step, (coarse.get(step) ?? 0) + count);
  }
  return { background: parts(common).reduce((a, b) => a + b, 0) / 3, ink: far / total, colors: [...coarse.values()].filter((count) => count > total / 1000).length };
}
