// Learning curves as numbers: their order, what is nearest to a position, what an axis shows. Nothing here draws.
import { short, timeTick } from "./format.js";

/** @import { Curve } from "./api.js" */

/** Distances between ticks that are easy to count by. */
export const WHOLE_STEPS = Array.from({ length: 13 }, (_, power) => [1, 2, 5].map((digit) => digit * 10 ** power)).flat();
export const TIME_STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800];

const MOST_SMOOTHING = 100; // unless more is asked for

/**
 * A curve in the order of x, which uPlot needs; the server's order is that of arrival.
 * @param {Curve} curve
 * @returns {Curve}
 */
export function prepared(curve) {
  const { xs } = curve;
  if (xs.every((x, place) => place === 0 || xs[place - 1] <= x)) return curve;
  const order = xs.map((_, place) => place).sort((one, other) => xs[one] - xs[other]);
  /** @type {<T>(values: T[]) => T[]} */
  const sorted = (values) => order.map((place) => values[place]);
  return {
    ...curve,
    ...{ first: sorted(curve.first), count: sorted(curve.count), xs: sorted(xs) },
    ...{ mean: sorted(curve.mean), min: sorted(curve.min), max: sorted(curve.max), average: sorted(curve.average) },
  };
}

/**
 * The place in sorted xs that is nearest to x; -1 where there is none.
 * @param {number[]} xs
 * @param {number} x
 */
export function nearestIndex(xs, x) {
  let low = 0;
  let high = xs.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (xs[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low > 0 && x - xs[low - 1] < xs[low] - x ? low - 1 : low < xs.length ? low : -1;
}

/**
 * What the x-axis shows: what was zoomed to, else all there is; one episode alone stands in the middle.
 * @param {Curve[]} curves none of them empty
 * @param {{from: number | null, to: number | null}} view
 * @returns {[number, number]}
 */
export function extent(curves, { from, to }) {
  const ends = curves.flatMap(({ xs }) => [xs[0], xs[xs.length - 1]]);
  const [low, high] = [from ?? Math.min(...ends), to ?? Math.max(...ends)];
  return high > low ? [low, high] : [low - 1, low + 1];
}

/**
 * The part of the x-axis between two positions, outwards to what the address can say briefly.
 * @param {number} from
 * @param {number} to
 * @param {string} x the axis
 * @returns {[number, number]}
 */
export function outwards(from, to, x) {
  const digits = x === "time" ? 100 : 1;
  return [Math.floor(from * digits) / digits, Math.ceil(to * digits) / digits];
}

/**
 * What stands at a tick of the x-axis.
 * @param {number} value
 * @param {number} step to the next tick
 * @param {string} x the axis
 */
export function tickText(value, step, x) {
  if (value < 0) return "";
  if (x === "time") return timeTick(value, step);
  return Number.isInteger(value) ? short(value) : "";
}

/**
 * Episodes in the average where none are asked for: a tenth of the shortest run, as `default_window` of
 * `offcam_runs.analysis` has it for `offcam plot`.
 * @param {number[]} episodes of each run
 */
export function fittingWindow(episodes) {
  return Math.max(1, Math.min(MOST_SMOOTHING, Math.floor(Math.min(...episodes) / 10)));
}
