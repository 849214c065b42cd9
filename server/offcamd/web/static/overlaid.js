// The steps of several clips on one axis, and where two of them differ first. Nothing here draws.
import { pointAt, TITLES } from "./steps.js";

/**
 * @import { Steps, StepsColumn } from "./api.js"
 * @typedef {{steps: Steps | null, offset: number, rate: number, fps: number, frames: number}} Part
 *   of a clip that lies so on the timeline; see alignment.js
 * @typedef {{step: number, frames: [number, number], what: string[], exact: boolean}} Difference
 *   the step at which they differ first, the frames that show it, and in which numbers; not `exact`: about then
 */

const MOST_POINTS = 1000;
const MOST_LANES = 6;

/**
 * Steps of all of them as of one video, each number a column for each clip, named `Reward[1]`, `Reward[2]`...; null where
 * no two of them have any.
 * @param {Part[]} parts in the order shown
 * @param {number} fps of the timeline
 * @param {number} frames of it
 * @returns {Steps | null}
 */
export function overlaid(parts, fps, frames) {
  /** @type {Map<string, Map<number, StepsColumn>>} */
  const lanes = new Map();
  parts.forEach(({ steps }, place) => {
    for (const column of steps?.columns ?? []) lanes.set(column.name, (lanes.get(column.name) ?? new Map()).set(place, column));
  });
  const shared = [...lanes.entries()].filter(([, columns]) => columns.size > 1).slice(0, MOST_LANES);
  if (!shared.length) return null;
  const bucket = Math.ceil(frames / MOST_POINTS);
  const row = Array.from({ length: Math.ceil(frames / bucket) }, (_, place) => place * bucket);
  const points = parts.map((part) => row.map((frame) => pointOf(part, (frame + 0.5) / fps)));
  const columns = shared.flatMap(([name, of]) =>
    [...of.entries()].map(([place, { kind, whole, min, max }]) => ({
      kind: "action", whole, name: `${TITLES[kind] ?? name}[${place + 1}]`, max: null,
      min: points[place].map((point) => (max ?? min)[point] ?? null),
    })),
  );
  const none = row.map(() => null);
  return {
    env_id: "", env_index: 0, envs: [0], rows: frames, found: frames, complete: true, why: null, bucket,
    film: { clip: "", fps, first_row: 0, frames, gaps: null },
    row, time: none, episode: none, step: none, flags: row.map(() => 0), columns, left_out: [],
  };
}

/**
 * The point of a clip's steps at a second of the timeline; -1 before it begins and after its end.
 * @type {(part: Part, second: number) => number}
 */
function pointOf({ steps, offset, rate, fps, frames }, second) {
  const frame = Math.floor((second - offset) * rate * fps + 1e-6);
  return steps && frame >= 0 && frame < frames ? pointAt(steps, frame) : -1;
}

/**
 * The second of a clip at which its first reward comes that is not zero; null where none does.
 * @param {Steps | null} steps
 */
export function firstReward(steps) {
  const rewards = steps?.columns.find(({ kind }) => kind === "reward");
  if (!steps?.film || !rewards) return null;
  const point = rewards.min.findIndex((low, place) => Boolean(low) || Boolean(rewards.max?.[place]));
  const second = point < 0 ? null : (steps.row[point] - steps.film.first_row) / steps.film.fps;
  return second !== null && second >= 0 ? second : null;
}

/**
 * Where two episodes differ first: in an action, in a reward, or in that one of them is over; null where they do not.
 * @type {(one: Steps, other: Steps) => Difference | null}
 */
export function firstDifference(one, other) {
  if (one.bucket !== other.bucket) return null; // they cannot be held against each other
  const [from, to] = [one, other].map(({ step }) => Math.max(0, step.indexOf(0)));
  const pairs = one.columns.filter(({ kind }) => kind === "reward" || kind === "action").flatMap((column) => {
    const same = other.columns.find(({ name }) => name === column.name);
    return same ? [[column, same]] : [];
  });
  const lengths = [one.step.length - from, other.step.length - to];
  for (let place = 0; place < Math.max(...lengths); place += 1) {
    const over = lengths.some((length) => place >= length);
    const what = over ? ["length"] : pairs.filter(([mine, its]) => mine.min[from + place] !== its.min[to + place] || mine.max?.[from + place] !== its.max?.[to + place]).map(([{ name }]) => name);
    if (!what.length) continue;
    const step = one.step[from + place] ?? other.step[to + place] ?? place;
    const frames = /** @type {[number, number]} */ ([frameOf(one, from + place), frameOf(other, to + place)]);
    return { step, frames, what, exact: one.bucket === 1 };
  }
  return null;
}

/** @type {(steps: Steps, point: number) => number} */
const frameOf = ({ row, film }, point) => (row[Math.min(point, row.length - 1)] ?? 0) - (film?.first_row ?? 0);
