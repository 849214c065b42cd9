// Addresses: /r/RUN/e/NUMBER is an episode by its order of arrival, /r/RUN/c/KEY a clip, and ?t= the seconds into it. All
// else of the view is in the query. Nothing here knows the browser.
import { parse, print, split } from "./view.js";

/** @import { View } from "./view.js" */

const ONE = /^\/r\/([^/]+)(?:\/([ec])\/([^/]+))?\/?$/;
const UNRENDERED = /^~(\d+)$/;

/**
 * What the view has in place of a clip's key for an episode by its number, as long as its clip is not known.
 * @param {number | string} number
 */
export const unrendered = (number) => `~${number}`;

/**
 * The number of the episode; null of a clip's key.
 * @param {string} key
 */
export const numberOf = (key) => UNRENDERED.exec(key)?.[1] ?? null;

/** Which clips show which episode: the address has its number, and the view the key of the clip. */
export class Known {
  constructor() {
    /** @type {Map<string, string>} */
    this.numbers = new Map(); // by RUN:KEY
    /** @type {Map<string, string>} */
    this.clips = new Map(); // by RUN:~NUMBER
  }

  /**
   * @param {string} id RUN:KEY
   * @param {number | string} number of the episode
   */
  learn(id, number) {
    this.numbers.set(id, String(number));
    this.clips.set(`${split(id)[0]}:${unrendered(number)}`, id);
  }
}

/**
 * The path and query that show a view.
 * @param {View} view
 * @param {Known} known
 */
export function addressOf(view, known) {
  const { play, runs, asked, at } = view;
  if (play.length !== 1) return `/${print(view)}`;
  const [run, key] = split(play[0]);
  const number = numberOf(key) ?? known.numbers.get(play[0]);
  const path = `/r/${written(run)}/${number === undefined ? `c/${written(key)}` : `e/${number}`}`;
  const query = print({ ...view, play: [], at: null, runs: runs.join() === run ? [] : runs, asked: asked === `${run}:${number}` ? "" : asked });
  if (at === null) return path + query;
  return `${path}${query}${query ? "&" : "?"}t=${at}`;
}

/**
 * The view that an address shows.
 * @param {string} path
 * @param {string} search
 * @param {Known} known
 * @returns {View}
 */
export function viewOf(path, search, known) {
  const view = parse(search);
  const [, run, kind, rest] = ONE.exec(path) ?? [];
  if (!run) return view;
  const id = read(run);
  const runs = view.runs.length ? view.runs : [id];
  if (!kind) return { ...view, runs };
  const play = kind === "e" ? `${id}:${unrendered(read(rest))}` : `${id}:${read(rest)}`;
  const given = new URLSearchParams(search).get("t");
  const { at } = given === null ? view : parse(`?at=${encodeURIComponent(given)}`);
  return { ...view, runs, play: [known.clips.get(play) ?? play], at };
}

/** @param {string} text */
const written = (text) => encodeURIComponent(text).replaceAll("%40", "@");

/** @param {string} text */
function read(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // as it is: nothing has such an id
  }
}
