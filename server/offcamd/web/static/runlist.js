// Which runs are listed, in which order, and what they are called.

/** @import { Run } from "./api.js" */

const MOST_PARTS = 5; // of a path, in a name

/**
 * What the dot of a run in a state looks like; one that has ended has none of these.
 * @type {Record<string, string>}
 */
export const DOTS = { live: "live", crashed: "down", lost: "warn" };

/**
 * Runs in the order shown: the live ones first, then the newest. It stays as it is while they train.
 * @param {Iterable<Run>} runs
 */
export const inOrder = (runs) =>
  [...runs].sort((one, other) => Number(other.live) - Number(one.live) || (other.started ?? 0) - (one.started ?? 0) || one.folder.localeCompare(other.folder));

/**
 * The id of a run, of whichever session of it. An id may name one: RUN@1 or RUN@all.
 * @param {string} id
 */
export const baseOf = (id) => id.split("@")[0];

/**
 * The session that an id names; empty for the newest.
 * @param {string} id
 */
export const sessionOf = (id) => id.split("@")[1] ?? "";

/**
 * What each is called, by its id: the last part of its path, and as much before it as tells the runs apart.
 * @param {Iterable<Run>} runs
 * @returns {Map<string, string>}
 */
export function namesOf(runs) {
  const [all, sessions] = [[], []].map(() => /** @type {{id: string, parts: string[], depth: number}[]} */ ([]));
  for (const { id, folder } of runs) (sessionOf(id) ? sessions : all).push({ id, parts: folder.split("/").filter(Boolean), depth: 1 });
  /** @param {(typeof all)[number]} run */
  const name = ({ parts, depth }) => parts.slice(-depth).join("/");
  for (let turn = 1; turn < MOST_PARTS; turn += 1) {
    const seen = new Map();
    for (const run of all) seen.set(name(run), (seen.get(name(run)) ?? 0) + 1);
    for (const run of all.filter((run) => seen.get(name(run)) > 1)) run.depth += 1;
  }
  const found = new Map(all.map((run) => [run.id, name(run)]));
  for (const run of sessions) found.set(run.id, `${found.get(baseOf(run.id)) ?? name(run)} · ${sessionOf(run.id) === "all" ? "all sessions" : `session ${sessionOf(run.id)}`}`);
  return found;
}
