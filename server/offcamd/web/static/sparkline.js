// A curve so small that a list can show one of each run.

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT, EDGE] = [100, 24, 2];

/**
 * The path of some values, evenly spaced from left to right. A gap where there is none, a dot where one stands alone.
 * @param {(number | null)[]} values
 * @param {[number, number]} range from the lower edge to the upper one
 */
export function pathOf(values, [low, high]) {
  const height = HEIGHT - 2 * EDGE;
  /** @param {number} value */
  const y = (value) => (high > low ? EDGE + height * (1 - (value / 2 - low / 2) / (high / 2 - low / 2)) : HEIGHT / 2); // halves: the span of two huge numbers is no number
  let path = "";
  values.forEach((value, place) => {
    if (value === null) return;
    const x = values.length > 1 ? (WIDTH * place) / (values.length - 1) : WIDTH / 2;
    const begins = !place || values[place - 1] === null;
    path += `${begins ? "M" : "L"}${Number(x.toFixed(1))} ${Number(y(value).toFixed(1))}`;
    if (begins && (values[place + 1] ?? null) === null) path += "h0.1";
  });
  return path;
}

/** @returns {SVGSVGElement} to be drawn in by `drawSparkline` */
export function sparkline() {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${WIDTH} ${HEIGHT}`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true"); // the numbers beside it say what it ends with
  svg.classList.add("spark");
  return svg;
}

/**
 * Lines over one another, on one scale.
 * @param {SVGSVGElement} svg
 * @param {(number | null)[][]} lines
 */
export function drawSparkline(svg, ...lines) {
  while (svg.children.length > lines.length) svg.lastElementChild?.remove();
  const there = lines.flat().filter((value) => value !== null);
  /** @type {[number, number]} */
  const range = [Math.min(...there), Math.max(...there)];
  lines.forEach((values, place) => {
    let path = svg.children[place];
    if (!path) {
      path = document.createElementNS(SVG, "path");
      svg.append(path);
    }
    const drawn = pathOf(values, range);
    if (path.getAttribute("d") !== drawn) path.setAttribute("d", drawn);
  });
}
