// Small figures of statistics: intervals beside one another, and lines. Their numbers stand in tables beside them.

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, EDGE] = [320, 130, 6];

/**
 * Where values are drawn, from an edge to the other.
 * @type {(values: (number | null)[], from: number, to: number) => (value: number) => number}
 */
export function scale(values, from, to) {
  const there = values.filter((value) => value !== null);
  const [least, most] = there.length ? [Math.min(...there), Math.max(...there)] : [0, 1];
  return (value) => (most > least ? from + ((value - least) / (most - least)) * (to - from) : (from + to) / 2);
}

/**
 * An SVG path through points; it is interrupted where there is none.
 * @type {(xs: number[], ys: (number | null)[], x: (value: number) => number, y: (value: number) => number) => string}
 */
export function path(xs, ys, x, y) {
  let drawing = false;
  const parts = xs.map((at, place) => {
    const value = ys[place];
    if (value === null) {
      drawing = false;
      return "";
    }
    const part = `${drawing ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    drawing = true;
    return part;
  });
  return parts.join("");
}

/** @type {(name: string, attributes: Record<string, string | number>) => SVGElement} */
function svg(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  return element;
}

/** @type {(width: number, height: number, label: string) => SVGElement} */
const canvas = (width, height, label) => svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label, class: "figure" });

/**
 * A value with its interval, on a scale that it shares with others.
 * @type {(estimate: {value: number, low: number | null, high: number | null}, all: (number | null)[], place: number) => SVGElement}
 */
export function interval({ value, low, high }, all, place) {
  const x = scale(all, EDGE, 160 - EDGE);
  const found = canvas(160, 16, "interval");
  found.classList.add("interval");
  found.setAttribute("aria-hidden", "true");
  if (low !== null && high !== null) found.append(svg("line", { x1: x(low), x2: x(high), y1: 8, y2: 8, class: `stroke c${place + 1}` }));
  found.append(svg("circle", { cx: x(value), cy: 8, r: 4, class: `dot c${place + 1}` }));
  return found;
}

/**
 * A line for each group, with its band.
 * @param {string} label
 * @param {number[]} xs
 * @param {{center: (number | null)[], low: (number | null)[], high: (number | null)[]}[]} bands
 */
export function lines(label, xs, bands) {
  const found = canvas(WIDTH, HEIGHT, label);
  const x = scale(xs, EDGE, WIDTH - EDGE);
  const y = scale(bands.flatMap(({ center, low, high }) => [...center, ...low, ...high]), HEIGHT - EDGE, EDGE);
  bands.forEach(({ low, high }, place) => {
    const there = xs.flatMap((_, at) => (low[at] !== null && high[at] !== null ? [at] : []));
    if (there.length < 2) return;
    const corners = [...there.map((at) => [xs[at], /** @type {number} */ (high[at])]), ...there.reverse().map((at) => [xs[at], /** @type {number} */ (low[at])])];
    found.append(svg("polygon", { points: corners.map(([at, value]) => `${x(at).toFixed(1)},${y(value).toFixed(1)}`).join(" "), class: `band c${place + 1}` }));
  });
  bands.forEach(({ center }, place) => { found.append(svg("path", { d: path(xs, center, x, y), class: `stroke c${place + 1}` })); });
  return found;
}
