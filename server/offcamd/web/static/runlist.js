// Which runs are listed, in which order, and what they are called.

/** @import { Run } from "./api.js" */

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
 * The clip that a run records at this moment, RUN:KEY; null for none.
 * @param {Pick<Run, "id" | "live" | "recording_clip">} run
 */
export const nowOf = ({ id, live, recording_clip: key }) => (live && key ? `${id}:${key}` : null);

/**
 * The session that an id names; empty for the newest.
 * @param {string} id
 */
export const sessionOf = (id) => id.split("@")[1] ?? "";

/**
 * What each is called, by its id: as the recorder says, which goes by the path alone; with the session where it is one of several.
 * @param {Iterable<Run>} runs
 * @returns {Map<string, string>}
 */
export function namesOf(runs) {
  /** @type {(id: string) => string} */
  const session = (id) => (sessionOf(id) === "all" ? "all sessions" : `session ${sessionOf(id)}`);
  return new Map([...runs].map(({ id, title }) => [id, sessionOf(id) ? `${title} · ${session(id)}` : title]));
}
