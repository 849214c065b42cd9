// Figures of statistics: intervals beside one another, and lines. Their numbers stand in tables beside them. `uPlot` is the
// global that uPlot.iife.min.js leaves.
import { axes, css, inNumbers } from "./axes.js";
import { h } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const EDGE = 6;
const HEIGHT = 190;

/**
 * Where values are drawn, from an edge to the other.
 * @type {(values: (number | null)[], from: number, to: number) => (value: number) => number}
 */
export function scale(values, from, to) {
  const there = values.filter((value) => value !== null);
  const [least, most] = there.length ? [Math.min(...there), Math.max(...there)] : [0, 1];
  return (value) => (most > least ? from + ((value - least) / (most - least)) * (to - from) : (from + to) / 2);
}

/** @type {(name: string, attributes: Record<string, string | number>) => SVGElement} */
function svg(name, attributes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  return element;
}

/**
 * A value with its interval, on a scale that it shares with others.
 * @type {(estimate: {value: number, low: number | null, high: number | null}, all: (number | null)[], place: number) => SVGElement}
 */
export function interval({ value, low, high }, all, place) {
  const x = scale(all, EDGE, 160 - EDGE);
  const found = svg("svg", { viewBox: "0 0 160 16", class: "figure interval", "aria-hidden": "true" });
  if (low !== null && high !== null) found.append(svg("line", { x1: x(low), x2: x(high), y1: 8, y2: 8, class: `stroke c${place + 1}` }));
  found.append(svg("circle", { cx: x(value), cy: 8, r: 4, class: `dot c${place + 1}` }));
  return found;
}

/**
 * What an axis shows: its title, and whether its numbers are shares.
 * @typedef {{title: string, shares?: boolean}} Named
 */

/** A line for each group, with its band, on axes. */
export class Lines {
  /**
   * @param {string} label
   * @param {number[]} xs
   * @param {{center: (number | null)[], low: (number | null)[], high: (number | null)[]}[]} bands
   * @param {Named} x
   * @param {Named} y
   */
  constructor(label, xs, bands, x, y) {
    this.node = h("div.plot.lines", { role: "img", "aria-label": `${label}: ${y.title}, by ${x.title}` });
    /** @type {uPlot.AlignedData} */
    this.data = [xs, ...bands.flatMap(({ low, high, center }) => [low, high, center])];
    this.named = { x, y };
    /** @type {uPlot | null} */
    this.plot = null;
    this.sized = new ResizeObserver(() => this.fit());
    this.sized.observe(this.node);
  }

  fit() {
    const size = { width: this.node.clientWidth, height: HEIGHT };
    if (!size.width) return; // it is not shown
    if (this.plot) this.plot.setSize(size);
    else this.plot = this.build(size);
  }

  /** @type {(size: {width: number, height: number}) => uPlot} */
  build(size) {
    const { x, y } = this.named;
    const colours = Array.from({ length: (this.data.length - 1) / 3 }, (_, place) => css(`--c${place + 1}`));
    const edge = { width: 0, points: { show: false } };
    return new uPlot(
      {
        ...size,
        series: [{}, ...colours.flatMap((stroke) => [{ ...edge, stroke }, { ...edge, stroke }, { stroke, width: 2, points: { show: false } }])],
        bands: colours.map((colour, place) => ({ series: [3 * place + 2, 3 * place + 1], fill: `${colour}29` })),
        legend: { show: false },
        padding: [10, 26, 0, 0],
        scales: { x: { time: false }, y: y.shares ? { range: [0, 1] } : {} },
        axes: axes(axisOf(x), axisOf(y)),
        cursor: { show: false },
      },
      this.data,
      this.node,
    );
  }

  leave() {
    this.sized.disconnect();
    this.plot?.destroy();
  }
}

/** @type {(named: Named) => Partial<uPlot.Axis>} */
const axisOf = ({ title, shares }) => ({ label: title, values: (_u, ticks) => (shares ? ticks.map((tick) => `${Math.round(tick * 100)} %`) : inNumbers(ticks)) });
