// Clips that are worth being seen side by side, chosen by what is known of a run. Nothing here draws.
import * as api from "./api.js";
import { MOST_CLIPS, split } from "./view.js";

/**
 * @import { Clip, ClipDetail, Curve, Run } from "./api.js"
 * @typedef {"stages" | "extremes" | "seed" | "others"} Preset
 * @typedef {{clip: ClipDetail, id: string, run: Run, chosen: string[], runs: Run[]}} From
 *   the clip from which one compares, RUN:KEY, its run, those that are chosen, and all that there are
 */

const SOME = 8; // of which the first is taken that can be watched

/**
 * Those that can be made.
 * @param {From} from
 * @returns {[Preset, string][]}
 */
export function presetsOf({ clip, run, runs }) {
  const several = Object.values(run.clips).reduce((sum, count) => sum + count, 0) > 1;
  return [
    several && /** @type {[Preset, string]} */ (["stages", "Stages of this run"]),
    several && /** @type {[Preset, string]} */ (["extremes", "Best and worst"]),
    seedOf(clip) !== null && /** @type {[Preset, string]} */ (["seed", "Same seed"]),
    clip.number !== null && siblingsOf(run, runs).length > 1 && /** @type {[Preset, string]} */ (["others", "Same stage, all seeds"]),
  ].filter((preset) => preset !== false);
}

/**
 * The clips of a preset, RUN:KEY; fewer than two where there are no more.
 * @type {(preset: Preset, from: From) => Promise<string[]>}
 */
export async function clipsOf(preset, from) {
  const { clip, run, chosen, runs } = from;
  const [id] = split(from.id);
  if (preset === "extremes") return [...new Set([await best(id, "desc"), await best(id, "asc")])].filter((key) => key !== null).map((key) => `${id}:${key}`);
  if (preset === "seed") {
    const seed = String(seedOf(clip));
    const found = await Promise.all([...new Set([id, ...chosen])].map(async (each) => (await api.episodesOfSeed(each, seed)).map((key) => `${each}:${key}`)));
    return [...new Set([from.id, ...found.flat()])].slice(0, MOST_CLIPS);
  }
  if (preset === "stages") return (await stagesOf(id)).map((key) => `${id}:${key}`);
  const at = shareOf(await recordedOf(id), clip.number ?? 0);
  const others = siblingsOf(run, runs).filter((other) => other.id !== run.id).slice(0, MOST_CLIPS - 1);
  const keys = await Promise.all(others.map(async (other) => [other.id, nearestTo(await recordedOf(other.id), at)]));
  return [from.id, ...keys.flatMap(([other, key]) => (key === null ? [] : [`${other}:${key}`]))];
}

/** @type {(id: string) => Promise<Curve>} */
const recordedOf = (id) => api.curve(id, { x: "episode", y: "return", window: 1 }, {});

/** @type {(id: string, order: "asc" | "desc") => Promise<string | null>} */
async function best(id, order) {
  const { clips } = await api.clips(id, { sort: "return", order, limit: SOME });
  return clips.find((/** @type {Clip} */ { video, return: value }) => video && value !== null)?.key ?? null;
}

/** @param {ClipDetail} clip */
const seedOf = ({ episodes }) => episodes[0]?.seed ?? null;

/**
 * The runs of the same folder and env, itself among them.
 * @type {(run: Run, runs: Run[]) => Run[]}
 */
export const siblingsOf = (run, runs) => runs.filter((other) => above(other) === above(run) && other.env_id === run.env_id && !other.problem);

/** @param {Run} run */
const above = ({ folder }) => folder.replace(/[^/\\]+[/\\]*$/, "");

/**
 * The median clip of each part of a run, as its stage strip and `offcam timelapse` have them.
 * @param {string} id
 */
async function stagesOf(id) {
  const { stages } = await api.stages(id);
  return [...new Set(stages.flatMap(({ median }) => (median ? [median.clip] : [])))];
}

/**
 * How much of a run was over, from 0 to 1.
 * @type {(curve: Pick<Curve, "total" | "first">, number: number) => number}
 */
export const shareOf = ({ total, first }, number) => (total > 1 ? (number - (first[0] ?? 0)) / (total - 1) : 0);

/**
 * The clip that was recorded when about as much of the run was over; null where there is none.
 * @type {(curve: Pick<Curve, "total" | "first" | "recorded">, share: number) => string | null}
 */
export function nearestTo(curve, share) {
  const away = curve.recorded.numbers.map((number) => Math.abs(shareOf(curve, number) - share));
  return curve.recorded.keys[away.indexOf(Math.min(...away))] ?? null;
}
