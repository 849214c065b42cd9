// The axes of all plots. `uPlot` is the global that uPlot.iife.min.js leaves.
import { amount, short } from "./format.js";

const LABEL_ROOM = 20; // pixels

/** @param {string} name */
export const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** @type {(ticks: number[]) => string[]} */
export const inNumbers = (ticks) => ticks.map((tick) => (Math.abs(tick) >= 10000 ? short(tick) : amount(tick)));

/**
 * A plot's axes, at its foot and to its left; each takes what it has of its own.
 * @type {(x?: Partial<uPlot.Axis>, y?: Partial<uPlot.Axis>, pixels?: number) => [uPlot.Axis, uPlot.Axis]}
 */
export function axes(x = {}, y = {}, pixels = 12) {
  const font = `${pixels}px system-ui, sans-serif`;
  const axis = { stroke: css("--muted"), font, labelFont: font, labelSize: LABEL_ROOM, grid: { stroke: css("--grid"), width: 1 }, ticks: { show: false } };
  return [
    { ...axis, size: 28, space: 72, ...x },
    { ...axis, size: 56, space: 40, values: (_u, ticks) => inNumbers(ticks), ...y },
  ];
}
