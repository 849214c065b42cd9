// Talking to the recorder: JSON, media, and the stream of events; the token, where it wants one.
import { events } from "./eventstream.js";
import { answer, exported, fileOf } from "./exported.js";
import { sentence } from "./format.js";

/**
 * What of its answers is used here. Times are seconds since the epoch, and a number that is not there is null.
 * @typedef {Record<string, number>} Counts by reason or state
 * @typedef {Record<string, number | null>} Values of an episode by name, as the env said them
 * @typedef {{mean: number | null, max: number | null, last100_mean: number | null}} Numbers
 * @typedef {{
 *   id: string, folder: string, name: string, title: string, live: boolean, plain: boolean, problem: string | null, env_id: string | null, num_envs: number,
 *   episodes: number, steps: number, steps_per_second: number | null, started: number | null, updated: number | null,
 *   return: Numbers, length: Numbers, clips: Counts, dropped: Counts, session: number | null, sessions: number[],
 *   values: string[], success_rate: number | null, success_rule: string | null, dropped_steps: Counts, replayable: boolean, sync: Sync[],
 *   state: string, sparkline: (number | null)[], newest_clip: NewestClip | null, recording_clip: string | null,
 * }} Run
 * @typedef {{
 *   tracker: string, sent_episodes: number, sent_clips: number, behind_episodes: number, behind_clips: number, lag_seconds: number,
 *   failures: number, error: string, working: boolean,
 * }} Sync a run that is sent to a tracker
 * @typedef {{
 *   number: number, num_envs: number, env_index: number, episode: number, return: number | null, length: number,
 *   duration_seconds: number | null, terminated: boolean, truncated: boolean, seed: number | string | null, info: Values, whole: boolean,
 * }} Episode `number`: its order of arrival; `whole`: whether the clip beside it shows all of it
 * @typedef {{
 *   key: string, name: string, part: number, file: string | null, place: string | null, state: string, frames: number, fps: number | null, width: number | null,
 *   height: number | null, duration_seconds: number | null, number: number | null, num_envs: number, env_index: number, episode: number,
 *   terminated: boolean | null, truncated: boolean | null, unfinished: boolean, seed: number | string | null, envs: number[], grid: number[] | null, return: number | null, length: number | null,
 *   dropped: Counts, partial: boolean, keep_reason: string | null, verified: boolean | null, diverged_at: number | null,
 *   diverged_why: string | null, unended: string, info: Values, started: number | null, file_bytes: number | null, evicted: string | null, video: string | null, poster: string | null, live: string | null,
 *   pin: Pin | null,
 * }} Clip
 * @typedef {{note: string, at: number}} Pin of a clip: what somebody wrote about it, and when
 * @typedef {Clip & {episodes: Episode[], parts: string[]}} ClipDetail with the episodes that it shows, and the keys of the parts of its video
 * @typedef {{
 *   total: number, decimated: boolean, first: number[], count: number[], xs: number[], mean: (number | null)[],
 *   min: (number | null)[], max: (number | null)[], average: (number | null)[],
 *   recorded: {keys: string[], reasons: (string | null)[], pinned: boolean[], numbers: number[], xs: number[], ys: (number | null)[]},
 * }} Curve a point each of `count` episodes from number `first` on; and the episodes with a clip, `reasons` by which it is kept, and whether it is `pinned`
 * @typedef {{
 *   runs: number, xs: number[], mean: (number | null)[], iqm: (number | null)[], low: (number | null)[], high: (number | null)[],
 * }} Group several runs as one
 * @typedef {{clip: string, number: number, num_envs: number, env_index: number, episode: number, return: number | null, length: number}} StageClip
 *   an episode, and the key of the clip that shows it
 * @typedef {{
 *   begin: number, end: number, first: number, last: number, best: StageClip | null, median: StageClip | null, worst: StageClip | null,
 * }} Stage a part of a run: its episodes from the place `begin` up to `end`, with the numbers `first` to `last`
 * @typedef {{episodes: number, stages: Stage[]}} Stages
 * @typedef {{value: number, low: number | null, high: number | null}} Estimate with its interval
 * @typedef {{center: (number | null)[], low: (number | null)[], high: (number | null)[]}} Band
 * @typedef {{
 *   score: string, groups: {label: string, runs: number, iqm: Estimate, gap: Estimate | null, profile: Band, efficiency: Band}[],
 *   pairs: {better: string, than: string, probability: Estimate}[], tasks: string[], threshold: number | null,
 *   thresholds: number[], fractions: number[], confidence: number, warnings: string[],
 * }} Statistics of groups of runs
 * @typedef {{episode: Episode, clip: Clip | null, exact: boolean, distance: number | null}} Nearest
 * @typedef {{
 *   episode: number, state: string, ahead: number, percent: number | null, clip: string | null, why: string | null, diverged_at: number | null,
 *   replayable: boolean, command: string,
 * }} Rendering what there is of an episode's video
 * @typedef {{kind: string, name: string, whole: boolean, min: (number | null)[], max: (number | null)[] | null}} StepsColumn
 * @typedef {{
 *   env_id: string, env_index: number, envs: number[], rows: number, found: number, complete: boolean, why: string | null, bucket: number,
 *   film: {clip: string, fps: number, first_row: number, frames: number, gaps: number[][] | null} | null, row: number[],
 *   time: (number | null)[], episode: (number | null)[], step: (number | null)[], flags: (number | null)[], columns: StepsColumn[], left_out: string[],
 * }} Steps a point each of `bucket` rows from number `row` on; `max` is null where that is one
 * @typedef {{
 *   pid: number, version: string, endpoint: string, uptime_seconds: number, clients: number, streams: number, queue_bytes: number,
 *   queue_limit_bytes: number, spool_bytes: number, spool_limit_bytes: number, encode_lag_seconds: number,
 *   encoders: {pids: number[], give_way: boolean},
 *   frames: {offered: number, encoded: number, dropped: Counts}, steps: {dropped: Counts}, lost: Counts, problems: Record<string, string>, recent_errors: string[],
 *   memory: {daemon_rss_bytes: number | null, clients: {rss_bytes: number | null}[]},
 * }} Stats of the daemon
 * @typedef {{key: string, episode: number, return: number | null}} NewestClip of a run
 * @typedef {{daemon: boolean, total: number, runs: Run[]}} RunList
 * @typedef {{total: number, clips: Clip[]}} ClipPage
 * @typedef {{before: string | null, after: string | null, place: number | null, total: number}} Neighbours keys of clips
 */

const TOKEN = "offcam-token";
let token = sessionStorage.getItem(TOKEN);

/** What went wrong, in words for a person; status 0 where nobody answered. */
export class ApiError extends Error {
  /**
   * @param {string} message
   * @param {number} status
   */
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/**
 * What the recorder says is wrong. Any other error is thrown on: it is a bug of this page.
 * @param {unknown} error
 */
export function wordsOf(error) {
  if (error instanceof ApiError) return error.message;
  throw error;
}

export const hasToken = () => Boolean(token);

/** @param {string} value */
export function setToken(value) {
  token = value;
  if (value) sessionStorage.setItem(TOKEN, value);
  else sessionStorage.removeItem(TOKEN);
}

/**
 * Ask for something, and read the answer.
 * @template T
 * @param {string} path
 * @param {(reply: Response) => Promise<T>} read
 * @param {RequestInit} options
 * @throws {ApiError}
 */
async function request(path, read, options = {}) {
  if (exported) return written(path, read);
  const headers = new Headers(options.headers);
  if (token) headers.set("authorization", `Bearer ${token}`);
  try {
    const reply = await fetch(path, { ...options, headers });
    if (!reply.ok) throw await refusal(reply);
    return await read(reply);
  } catch (error) {
    // what fetch says of a connection that fails, before the answer or within it
    throw error instanceof TypeError ? new ApiError("The recorder does not answer.", 0) : error;
  }
}

/**
 * The same of a page that was exported.
 * @template T
 * @param {string} path
 * @param {(reply: Response) => Promise<T>} read
 */
async function written(path, read) {
  try {
    return await read(Response.json(await answer(path)));
  } catch (error) {
    throw error instanceof Error ? new ApiError(error.message, 404) : error;
  }
}

/** @param {Response} reply */
async function refusal(reply) {
  if (reply.status === 401) document.dispatchEvent(new CustomEvent("offcam-login"));
  const body = await reply.text();
  let message = body.trim();
  try {
    message = JSON.parse(body).error ?? message;
  } catch {
    // not JSON: the text as it is
  }
  return new ApiError(message ? sentence(message) : `The recorder answered ${reply.status}.`, reply.status);
}

/** @typedef {Record<string, string | number | null>} Parameters those that are null or empty are left out */

/** @param {Parameters} given */
const query = (given) => {
  const pairs = Object.entries(given).flatMap(([name, value]) => (value === null || value === "" ? [] : [[name, String(value)]]));
  return pairs.length ? `?${new URLSearchParams(pairs)}` : "";
};

/** @type {(path: string, given?: Parameters, options?: RequestInit) => Promise<any>} */
const getJson = (path, given = {}, options = {}) => request(path + query(given), (reply) => reply.json(), options);

const id = encodeURIComponent;

/** @type {() => Promise<RunList>} */
export async function runs() {
  const answer = await getJson("/api/runs");
  while (answer.runs.length < answer.total) {
    const next = await getJson("/api/runs", { offset: answer.runs.length });
    if (!next.runs.length) break; // some have gone meanwhile
    answer.runs.push(...next.runs);
  }
  return answer;
}

/** @type {(query: string) => Promise<RunList>} */
export const runsMeant = (query) => getJson("/api/runs", { query });

/** @type {(run: string, key: string, what: "video" | "poster") => string} */
export const clipPath = (run, key, what) => `/api/runs/${id(run)}/clips/${id(key)}/${what}`;

/** @type {(run: string) => Promise<Run>} */
export const run = (run) => getJson(`/api/runs/${id(run)}`);

/** @type {(run: string, given: Parameters, options: RequestInit) => Promise<Curve>} */
export const curve = (run, given, options) => getJson(`/api/runs/${id(run)}/curve`, given, options);

/** @type {(runs: string[], given: Parameters, options: RequestInit) => Promise<Group>} */
export const group = (runs, given, options) => getJson("/api/group", { ids: runs.join(","), ...given }, options);

/** @type {(run: string) => Promise<Stages>} */
export const stages = (run) => getJson(`/api/runs/${id(run)}/stages`);
/** @type {(asked: string) => Promise<Statistics>} */
export const statistics = (asked) => getJson(`/api/statistics?${asked}`);

/** @type {(run: string, number: string | number) => Promise<Nearest>} */
export const nearest = (run, number) => getJson(`/api/runs/${id(run)}/nearest`, { number });

/** @type {(run: string, number: string | number) => Promise<Rendering>} */
export const rendering = (run, number) => getJson(`/api/runs/${id(run)}/episodes/render`, { number });

/** @type {(run: string, number: string | number) => Promise<Rendering>} */
export const render = (run, number) => getJson(`/api/runs/${id(run)}/episodes/render`, { number }, { method: "POST" });

/** @type {(run: string, number: number, kind: "gif" | "webp", overlay: boolean) => Promise<Blob>} */
export const animation = (run, number, kind, overlay) => request(`/api/runs/${id(run)}/episodes/animation${query({ number, kind, overlay: overlay ? "true" : null })}`, (reply) => reply.blob(), { method: "POST" });

/**
 * The keys of the clips that show an episode whose reset had a seed.
 * @type {(run: string, seed: string) => Promise<string[]>}
 */
export async function episodesOfSeed(run, seed) {
  /** @type {{episodes: {clip: string | null, whole: boolean}[]}} */
  const { episodes } = await getJson(`/api/runs/${id(run)}/episodes`, { seed, limit: 1000 });
  return episodes.flatMap(({ clip, whole }) => (clip && whole ? [clip] : []));
}

/** @type {(run: string, given: Parameters) => Promise<ClipPage>} */
export const clips = (run, given) => getJson(`/api/runs/${id(run)}/clips`, given);

/** @type {(run: string, key: string) => Promise<ClipDetail>} */
export const clip = (run, key) => getJson(`/api/runs/${id(run)}/clips/${id(key)}`);

/** @type {(run: string, key: string, note: string) => Promise<ClipDetail>} */
export const pin = (run, key, note) => getJson(`/api/runs/${id(run)}/clips/${id(key)}/pin`, { note }, { method: "PUT" });

/** @type {(run: string, key: string) => Promise<ClipDetail>} */
export const unpin = (run, key) => getJson(`/api/runs/${id(run)}/clips/${id(key)}/pin`, {}, { method: "DELETE" });

/** @type {(run: string, key: string, given: Parameters) => Promise<Neighbours>} */
export const neighbours = (run, key, given) => getJson(`/api/runs/${id(run)}/clips/${id(key)}/neighbours`, given);

/** @type {(run: string, key: string, given: Parameters) => Promise<Steps>} */
export const clipSteps = (run, key, given) => getJson(`/api/runs/${id(run)}/clips/${id(key)}/steps`, given);

/** @type {(run: string, number: string | number, given: Parameters) => Promise<Steps>} */
export const episodeSteps = (run, number, given) => getJson(`/api/runs/${id(run)}/episodes/steps`, { number, ...given });

/**
 * Where a file lies that nobody has to be asked for with a token.
 * @param {string} path
 */
export const mediaPath = (path) => (exported ? fileOf(path) : path);

/**
 * An address for <img> and <video>. With a token those cannot fetch for themselves; `release` it then.
 * @param {string} path
 */
export async function media(path) {
  if (exported || !token) return mediaPath(path);
  return URL.createObjectURL(await request(path, (reply) => reply.blob()));
}

/**
 * A file while it is written: its type, and its bytes as they come.
 * @type {(path: string, options: RequestInit) => Promise<{type: string, bytes: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>> | undefined}>}
 */
export const growing = (path, options) => request(path, async (reply) => ({ type: reply.headers.get("content-type") ?? "", bytes: reply.body?.getReader() }), options);

/**
 * Why a file cannot be had, as the recorder says; null where it can.
 * @param {string} path
 */
export const trouble = (path) => exported ? Promise.resolve(null) : request(path, (reply) => reply.arrayBuffer(), { headers: { range: "bytes=0-0" } }).then(() => null, wordsOf);

/** @param {string} url */
export function release(url) {
  if (url.startsWith("blob:")) URL.revokeObjectURL(url);
}

/**
 * Save a file that the recorder serves.
 * @param {string} path
 * @param {string} name
 */
export async function save(path, name) {
  saveUrl(await media(path), name);
}

/** @type {(url: string, name: string) => void} */
export function saveUrl(url, name) {
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => release(url), 60000);
}

const FIRST_WAIT = 500;
const LONGEST_WAIT = 8000;
const SILENCE = 45000; // keep-alives come far more often

/**
 * Follow the events until the page goes. A hidden page lets go of its connection (browsers have six per host, for all
 * tabs together) and catches up when it is looked at again.
 *
 * @param {{event: (name: string, data: any) => void, up: () => void, down: (retryAt: number, why: string|null) => void}} told
 * @returns {() => void} try again at once
 */
export function follow(told) {
  if (exported) {
    told.up(); // and nothing changes any more
    return () => {};
  }
  /** @type {AbortController | null} */
  let controller = null;
  let timer = 0;
  let wait = FIRST_WAIT;

  async function connect() {
    clearTimeout(timer);
    controller?.abort();
    const mine = new AbortController();
    controller = mine;
    let watchdog = 0;
    /** @type {string | null} */
    let refused = null;
    const alive = () => {
      clearTimeout(watchdog);
      watchdog = setTimeout(() => mine.abort(), SILENCE);
    };
    /** @type {(name: string, data: string) => void} */
    const hear = (name, data) => {
      try {
        told.event(name, JSON.parse(data));
      } catch (error) {
        reportError(error); // what cannot be shown costs no connection
      }
    };
    try {
      alive();
      const body = await request("/api/events", async (reply) => reply.body, { signal: mine.signal });
      told.up();
      wait = FIRST_WAIT;
      if (body) for await (const [name, data] of events(body, alive)) hear(name, data);
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) return; // asked for; reconnects after the login
      if (error instanceof ApiError && error.status) refused = error.message; // else it broke, or was let go
    } finally {
      clearTimeout(watchdog);
    }
    if (mine !== controller || document.hidden) return; // another took over, or nobody looks
    told.down(Date.now() + wait, refused);
    timer = setTimeout(connect, wait);
    wait = Math.min(wait * 1.7, LONGEST_WAIT);
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      clearTimeout(timer);
      controller?.abort();
    } else connect();
  });
  window.addEventListener("pagehide", () => controller?.abort());
  connect();
  return connect;
}
