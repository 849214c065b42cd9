// A run in parts: which clips tell of each, and where keys lead from one. Nothing here knows the browser.

/**
 * @import { Stage, StageClip } from "./api.js"
 * @typedef {"best" | "median" | "worst"} Kind
 */

/** @type {Kind[]} */
export const PICKS = ["best", "median", "worst"];

/**
 * Those of them that show anything else than the medians do.
 * @param {Stage[]} stages
 */
export const rowsOf = (stages) => PICKS.filter((pick) => pick === "median" || stages.some((stage) => stage[pick]?.number !== stage.median?.number));

/** @param {Stage[]} stages */
export const filmed = (stages) => stages.filter(({ median }) => median !== null);

/**
 * Which part an episode is in, by its number; -1 for none.
 * @param {Stage[]} stages
 * @param {number | null} number
 */
export const placeOf = (stages, number) => (number === null ? -1 : stages.findIndex(({ first, last }) => first <= number && number <= last));

/**
 * The clip of the nearest part before or after one that has any; none at the end.
 * @param {Stage[]} stages
 * @param {number} place of that part; -1 before the first and behind the last
 * @param {1 | -1} way
 * @param {Kind} pick
 * @returns {StageClip | null}
 */
export function leadsTo(stages, place, way, pick) {
  const others = way > 0 ? stages.slice(place + 1) : stages.slice(0, place < 0 ? undefined : place).reverse();
  return others.find((stage) => stage[pick])?.[pick] ?? null;
}

/**
 * The clip with the highest return of all; of equals the first.
 * @param {Stage[]} stages
 * @returns {StageClip | null}
 */
export function bestOf(stages) {
  /** @type {StageClip | null} */
  let best = null;
  for (const { best: one } of stages) if (one && (best === null || (one.return ?? -Infinity) > (best.return ?? -Infinity))) best = one;
  return best;
}
