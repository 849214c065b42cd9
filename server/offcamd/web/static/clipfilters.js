// Which clips of a run are wanted: what of the address says so, how it is asked for, and in words. Nothing here knows the browser.

/** @import { View } from "./view.js" */

/** The view with none of them. */
export const NO_FILTERS = Object.freeze({ rmin: null, rmax: null, lmin: null, lmax: null, value: "", vmin: null, vmax: null, end: /** @type {const} */ (""), kept: "", env: null, seed: "", pinned: false });

export const FILTERS = /** @type {(keyof View)[]} */ (Object.keys(NO_FILTERS));

/** @type {(view: View) => boolean} */
const ofValue = ({ value, vmin, vmax }) => value !== "" && (vmin !== null || vmax !== null);

/**
 * What the recorder is asked for.
 * @param {View} view
 * @param {string} success the value by which episodes say whether they succeeded
 * @returns {Record<string, string | number | null>}
 */
export function askedBy(view, success) {
  const { sort, order, clip, outcome, rmin, rmax, lmin, lmax, value, vmin, vmax, end, kept, env, seed, pinned } = view;
  /** @type {Record<string, string | number | null>} */
  let limits = {};
  if (ofValue(view)) limits = { value, min_value: vmin, max_value: vmax };
  else if (outcome) limits = { value: success, [outcome === "success" ? "min_value" : "max_value"]: 0.5 };
  return {
    ...{ sort, order: sort === "return" || sort === "length" ? order : null, q: clip, ...limits, end, keep: kept, env_index: env, seed },
    ...{ min_return: rmin, max_return: rmax, min_length: lmin, max_length: lmax, pinned: pinned ? "true" : null },
  };
}

/** @type {(low: number | null, high: number | null) => string} */
function between(low, high) {
  if (low !== null && high !== null) return `from ${low} to ${high}`;
  return low !== null ? `of at least ${low}` : `of at most ${high}`;
}

/**
 * Each filter that is set, in words.
 * @param {View} view
 * @returns {string[]}
 */
export function inWords(view) {
  const { clip, outcome, rmin, rmax, lmin, lmax, value, vmin, vmax, end, kept, env, seed, pinned } = view;
  const limited = rmin !== null || rmax !== null;
  return [
    clip && `“${clip}” in its name`,
    ofValue(view) ? `${value} ${between(vmin, vmax)}` : outcome && (outcome === "success" ? "succeeded" : "failed"),
    limited && `return ${between(rmin, rmax)}`,
    (lmin !== null || lmax !== null) && `length ${between(lmin, lmax)}`,
    end,
    kept && `kept as “${kept}”`,
    env !== null && `env ${env}`,
    seed && `seed ${seed}`,
    pinned && "pinned",
  ].flatMap((words) => (words ? [words] : []));
}

/**
 * How many of those are set that a form has.
 * @param {View} view
 */
export const countOf = (view) => inWords({ ...view, clip: "", outcome: "" }).length;
