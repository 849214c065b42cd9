// Steps as they are drawn: which plots there are, what a frame's row is, what is said of it. Nothing here draws.
import { amount, whole } from "./format.js";

/**
 * @import { Steps, StepsColumn } from "./api.js"
 * @typedef {{title: string, kind: string, columns: StepsColumn[]}} Plot
 *   up to `MOST_LINES` columns that are drawn over one another
 * @typedef {{origin: number, low: number, high: number, fps: number | null}} Axis
 *   frame 0 is the row `origin`; from `low` to `high`, in frames; without a video in steps, and no `fps`
 */

export const [TERMINATED, TRUNCATED, RESET] = [1, 2, 4];
const MOST_LINES = 9;
export const TITLES = /** @type {Record<string, string>} */ ({ reward: "Reward", return: "Return so far" });

/**
 * The plots, one below the other: the components of one action share one.
 * @param {Steps} steps
 * @returns {Plot[]}
 */
export function plotsOf({ columns }) {
  /** @type {Plot[]} */
  const plots = [];
  for (const column of columns) {
    const title = TITLES[column.kind] ?? column.name.replace(/\[[\d,]+\]$/, "");
    const last = plots.at(-1);
    if (column.kind === "action" && last?.kind === "action" && last.title === title && last.columns.length < MOST_LINES) last.columns.push(column);
    else plots.push({ title, kind: column.kind, columns: [column] });
  }
  return plots;
}

/**
 * The axis that they share with the video.
 * @param {Steps} steps
 * @returns {Axis}
 */
export function axisOf({ film, row, rows }) {
  const first = row[0] ?? 0;
  const origin = film ? film.first_row : first;
  const last = first + Math.max(rows, 1) - 1 - origin;
  return { origin, low: Math.min(0, first - origin), high: Math.max(film ? film.frames - 1 : 0, last), fps: film?.fps ?? null };
}

/**
 * The point that has the row of a frame; -1 where there is none.
 * @param {Steps} steps
 * @param {number} frame
 */
export function pointAt(steps, frame) {
  const place = Math.floor((frame + axisOf(steps).origin - (steps.row[0] ?? 0)) / steps.bucket);
  return place >= 0 && place < steps.row.length ? place : -1;
}

/**
 * The frame with which an episode begins; null where none of its rows is there.
 * @param {Steps} steps
 * @param {number} episode
 */
export function beginningOf(steps, episode) {
  const place = steps.episode.indexOf(episode);
  return place < 0 ? null : steps.row[place] - axisOf(steps).origin;
}

/**
 * A value at a point; of several rows from the least to the most.
 * @type {(column: StepsColumn, point: number) => string}
 */
export function valueAt({ min, max }, point) {
  const low = min[point] ?? null;
  const high = max?.[point] ?? low;
  return low === high ? amount(low) : `${amount(low)} to ${amount(high)}`;
}

/**
 * What a point is: "step 27", "reset", "step 30, terminated"
 * @type {(steps: Steps, point: number) => string}
 */
export function nameOf({ step, flags, bucket, row }, point) {
  const at = step[point] ?? null;
  if (at === null) return row[point] === undefined ? "not in these steps" : "not recorded";
  const bits = flags[point] ?? 0;
  const last = bucket > 1 && step[point + 1] ? ` to ${whole(Math.max(at, (step[point + 1] ?? 0) - 1))}` : "";
  const ends = [bits & TERMINATED && "terminated", bits & TRUNCATED && "truncated"].filter(Boolean).map((word) => `, ${word}`);
  return `${at === 0 && bucket === 1 ? "reset" : `step ${whole(at)}${last}`}${ends.join("")}`;
}

/**
 * What is to be said of steps beside what is drawn: that some are missing, or not drawn, or share a point.
 * @param {Steps} steps
 * @returns {string[]}
 */
export function remarksOf({ why, rows, found, bucket, left_out }) {
  if (why) return [why];
  return [
    bucket > 1 && `${whole(rows)} steps; each point is the least and the most of ${whole(bucket)}`,
    found < rows && `${whole(rows - found)} of ${whole(rows)} steps are not there`,
    left_out.length > 0 && `not drawn: ${left_out.join(", ")}`,
  ].filter((words) => words !== false);
}
