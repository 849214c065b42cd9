// A page that was exported: it answers from what was written down beside it as the recorder does, and asks nobody.

/**
 * @import { Clip, ClipDetail, Curve, Episode, Neighbours, Rendering, RunList, Stages, Steps } from "./api.js"
 * @typedef {Omit<Curve, "average"> & {averages: Record<string, (number | null)[]>}} Curves with the average by its window
 * @typedef {{
 *   curves: Record<string, Curves>, clips: Record<string, ClipDetail>, steps: Record<string, Steps>, stages: Stages,
 *   episodes: Record<string, Episode & {clip: string | null}>,
 * }} Told of a run: curves by axis and quantity, clips by key, their steps by that, or by that and a sub-environment, episodes by number
 * @typedef {{made: number, list: RunList, of: Record<string, Told>}} Page
 */

/** @type {Page | undefined} */
const page = /** @type {any} */ (globalThis).offcamPage;

/** Whether this is one. */
export const exported = page !== undefined;

/** When it was made, in seconds since the epoch. */
export const made = page?.made ?? 0;

/** @type {Record<string, string>} what is computed over several runs */
const WITHOUT = {
  group: "An exported page draws runs one by one: their interval is in `offcam view`.",
  statistics: "An exported page has no statistics: they are in `offcam view`, and `offcam compare` prints them.",
};

/** @type {Map<string, Promise<Told>>} */
const loading = new Map();

const folderOf = (/** @type {string} */ run) => `runs/${run.replace(/[^\w-]/g, "_")}`;

/**
 * What is known of a run, which comes when it is looked at.
 * @param {string} run
 * @returns {Promise<Told>}
 */
function toldOf(run) {
  const before = loading.get(run);
  if (before) return before;
  const comes = new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `${folderOf(run)}/run.js`;
    script.addEventListener("load", () => resolve(/** @type {Page} */ (page).of[run]));
    script.addEventListener("error", () => reject(new Error("That run is not in this page.")));
    document.head.append(script);
  });
  loading.set(run, comes);
  return comes;
}

/**
 * The answer to a request of the page.
 * @param {string} address path and query
 * @returns {Promise<unknown>}
 * @throws {Error} nothing like that was written down
 */
export async function answer(address) {
  const { pathname, searchParams: query } = new URL(address, "http://page.invalid");
  const [, , kind, id, ...rest] = pathname.split("/").map(decodeURIComponent);
  const { list } = /** @type {Page} */ (page);
  if (kind !== "runs") throw new Error(WITHOUT[kind] ?? "An exported page does not have that.");
  if (id === undefined) return listOf(list, query.get("query") ?? "");
  const run = list.runs.find((each) => each.id === id);
  if (!run) throw new Error("That run is not in this page.");
  if (!rest.length) return run;
  const told = await toldOf(id);
  const [what, key, part] = rest;
  const number = Number(query.get("number"));
  if (what === "curve") return curveOf(told, query);
  if (what === "stages") return told.stages;
  if (what === "nearest") return nearestOf(told, number);
  if (what === "clips" && key === undefined) return clipsOf(told, query);
  if (what === "clips" && part === "neighbours") return neighboursOf(told, query, key);
  if (what === "clips" && part === "steps") return stepsOf(told, key, query.get("env_index"));
  if (what === "clips") return found(told.clips[key], "That clip is not in this page.");
  if (what === "episodes" && key === undefined) return episodesOf(told, query);
  if (key === "render") return renderingOf(told, number);
  if (key === "steps") return found(told.steps[renderingOf(told, number).clip ?? ""], "The steps of that episode are not in this page.");
  throw new Error("An exported page does not have that: it is in `offcam view`.");
}

/**
 * @template T
 * @param {T | undefined} value
 * @param {string} otherwise
 */
function found(value, otherwise) {
  if (value === undefined) throw new Error(otherwise);
  return value;
}

/**
 * The steps that a clip shows, of one of its sub-environments: of the first where none is asked for.
 * @type {(told: Told, key: string, env: string | null) => Steps}
 */
export function stepsOf(told, key, env) {
  const first = told.steps[key];
  const wanted = env === null || String(first?.env_index) === env ? first : told.steps[`${key} ${env}`];
  return found(wanted, "The steps of that clip are not in this page.");
}

/**
 * The episodes that clips show, of a seed where one is asked for.
 * @param {Told} told
 * @param {URLSearchParams} query
 */
export function episodesOf(told, query) {
  const seed = query.get("seed");
  const shown = Object.values(told.clips).flatMap((clip) => clip.episodes.map((episode) => ({ ...episode, clip: clip.key })));
  const episodes = shown.filter((episode) => seed === null || String(episode.seed) === seed);
  return { total: episodes.length, episodes };
}

/**
 * Where a file of the recorder's lies in this page.
 * @param {string} path
 */
export function fileOf(path) {
  if (!path.startsWith("/api/")) return path;
  const [run, name, key, what] = path.split("/").slice(3).map(decodeURIComponent);
  return `${folderOf(run)}/${name === "clips" ? `${key}.${what === "poster" ? "jpg" : "mp4"}` : name}`;
}

/**
 * The runs that words mean: the recorder alone knows what fields and numbers do.
 * @param {RunList} list
 * @param {string} text
 * @returns {RunList}
 */
export function listOf(list, text) {
  if (/[:<>=]|(^|\s)-/.test(text)) throw new Error("An exported page is filtered by words alone.");
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const runs = list.runs.filter(({ name, folder, env_id, state }) => words.every((word) => [name, folder, env_id, state].join("\n").toLowerCase().includes(word)));
  return { ...list, total: runs.length, runs };
}

/**
 * @param {Told} told
 * @param {URLSearchParams} query
 * @returns {Curve}
 */
export function curveOf(told, query) {
  const { averages, ...curve } = found(told.curves[`${query.get("x")} ${query.get("y")}`], "No episode has such a value.");
  const average = averages[query.get("window") ?? ""] ?? curve.mean.map(() => null);
  const [from, to] = ["from", "to"].map((name) => query.get(name));
  const within = (/** @type {number} */ x) => (from === null || x >= Number(from)) && (to === null || x <= Number(to));
  const places = curve.xs.flatMap((x, place) => (within(x) ? [place] : []));
  /** @type {<T>(values: T[]) => T[]} */
  const of = (values) => places.map((place) => values[place]);
  const { recorded } = curve;
  const seen = recorded.xs.flatMap((x, place) => (within(x) ? [place] : []));
  /** @type {<T>(values: T[]) => T[]} */
  const films = (values) => seen.map((place) => values[place]);
  return {
    ...curve,
    ...{ total: of(curve.count).reduce((sum, count) => sum + count, 0), first: of(curve.first), count: of(curve.count), xs: of(curve.xs) },
    ...{ mean: of(curve.mean), min: of(curve.min), max: of(curve.max), average: of(average) },
    recorded: { keys: films(recorded.keys), reasons: films(recorded.reasons), pinned: films(recorded.pinned), numbers: films(recorded.numbers), xs: films(recorded.xs), ys: films(recorded.ys) },
  };
}

/** @type {(query: URLSearchParams, name: string, value: number | null) => boolean} */
function between(query, name, value) {
  const [low, high] = ["min", "max"].map((side) => query.get(`${side}_${name}`));
  return (low === null || (value !== null && value >= Number(low))) && (high === null || (value !== null && value <= Number(high)));
}

/** @type {(query: URLSearchParams, clip: Clip) => boolean} */
function ended(query, { terminated, truncated, unfinished, state, partial, keep_reason, seed, envs, pin }) {
  const [end, keep, asked, env] = ["end", "keep", "seed", "env_index"].map((name) => query.get(name));
  const how = { terminated, truncated, unfinished, aborted: state === "aborted" || partial };
  if (query.get("pinned") === "true" && !pin) return false;
  return (!end || how[/** @type {"aborted"} */ (end)] === true) && (!keep || (keep_reason ?? "").toLowerCase().includes(keep.toLowerCase())) && (!asked || String(seed) === asked) && (env === null || envs.includes(Number(env)));
}

/**
 * @param {Told} told
 * @param {URLSearchParams} query
 */
export function clipsOf(told, query) {
  const [text, value] = [query.get("q")?.toLowerCase() ?? "", query.get("value") ?? ""];
  const way = query.get("order") === "asc" ? 1 : -1;
  const sort = query.get("sort") ?? "newest";
  /** @type {(clip: Clip) => boolean} */
  const wanted = (clip) => {
    return clip.name.toLowerCase().includes(text) && between(query, "value", clip.info[value] ?? null) && between(query, "return", clip.return) && between(query, "length", clip.length) && ended(query, clip);
  };
  const clips = Object.values(told.clips).filter(wanted); // the newest first, as they were written down
  if (sort === "oldest") clips.reverse();
  if (sort === "return" || sort === "length") clips.sort((one, other) => Number(one[sort] === null) - Number(other[sort] === null) || way * (Number(one[sort]) - Number(other[sort])));
  const offset = Number(query.get("offset") ?? 0);
  return { total: clips.length, clips: clips.slice(offset, offset + Number(query.get("limit") ?? 100)) };
}

/**
 * The clips before and after one in such a list, of those that can be watched.
 * @param {Told} told
 * @param {URLSearchParams} query
 * @param {string} key
 * @returns {Neighbours}
 */
function neighboursOf(told, query, key) {
  const all = new URLSearchParams([...query, ["offset", "0"], ["limit", "1e9"]].filter(([name], place) => place >= query.size || (name !== "offset" && name !== "limit")));
  const keys = clipsOf(told, all).clips.flatMap((clip) => (clip.video ? [clip.key] : []));
  const place = keys.indexOf(key);
  return { before: keys[place - 1] ?? null, after: place < 0 ? null : (keys[place + 1] ?? null), place: place < 0 ? null : place, total: keys.length };
}

/**
 * An episode by its number, and the clip that shows it, or that of the nearest recorded one.
 * @param {Told} told
 * @param {number} number
 */
export function nearestOf(told, number) {
  const shown = Object.values(told.clips).flatMap((clip) => clip.episodes.map((episode) => ({ episode, clip, distance: Math.abs(episode.number - number) })));
  const [near] = shown.sort((one, other) => one.distance - other.distance);
  const own = near?.distance === 0 ? near.episode : undefined;
  const exact = own?.whole ?? false;
  const episode = told.episodes[number] ?? own;
  return { episode: found(episode, `The numbers of episode ${number} are not in this page.`), clip: near?.clip ?? null, exact, distance: near?.distance ?? null };
}

/**
 * What there is of an episode's video: the clip that shows it, or none.
 * @param {Told} told
 * @param {number} number
 * @returns {Rendering}
 */
export function renderingOf(told, number) {
  const { episode, clip, distance } = nearestOf(told, number);
  const shown = distance === 0 && clip !== null;
  return {
    ...{ episode: episode.episode, state: shown ? "done" : "none", clip: shown ? clip.key : null, why: shown ? null : "it was exported without" },
    ...{ ahead: 0, percent: null, diverged_at: null, replayable: false, command: "" },
  };
}
