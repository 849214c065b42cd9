// The view: all that the page's address says of what is shown, and how that is written. Nothing here knows the browser.

export const SMOOTHING = [1, 5, 10, 30, 100, 300, 1000];
export const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4, 8];
export const MOST_RUNS = 8;
export const MOST_CLIPS = 9;

/**
 * The next faster speed, or the next slower one; the same where there is none.
 * @param {number} speed
 * @param {1 | -1} way
 */
export const nextSpeed = (speed, way) => (way > 0 ? SPEEDS.find((other) => other > speed) : SPEEDS.findLast((other) => other < speed)) ?? speed;

/**
 * One part of the view: its usual value, which the address leaves out, and how another is read and written.
 * @template T
 * @typedef {{usual: T, parse: (text: string) => T | undefined, print: (value: T) => string}} Field
 */

/** @returns {Field<string[]>} */
const list = () => ({ usual: [], parse: (text) => text.split(",").filter(Boolean), print: (value) => value.join(",") });

/** @returns {Field<string>} */
const text = (usual = "") => ({ usual, parse: (value) => value || usual, print: (value) => value });

/** @type {(usual: boolean) => Field<boolean>} */
const flag = (usual) => ({ usual, parse: (value) => value === "1", print: (value) => (value ? "1" : "0") });

/**
 * @template {number | null} T
 * @param {number} lowest
 * @param {number} highest
 * @param {T} usual
 * @returns {Field<number | T>}
 */
const number = (lowest, highest, usual) => ({
  usual,
  parse(value) {
    const parsed = Number(value);
    return value !== "" && Number.isFinite(parsed) && parsed >= lowest && parsed <= highest ? parsed : undefined;
  },
  print: (value) => String(value),
});

/**
 * The first of the values is the usual one.
 * @template {string} T
 * @param {[T, ...T[]]} values
 * @returns {Field<T>}
 */
const oneOf = (...values) => ({ usual: values[0], parse: (value) => values.find((known) => known === value), print: (value) => value });

const FIELDS = {
  runs: list(), // ids of the runs shown, the first being the one whose clips are listed
  filter: text(), // of the runs list
  by: text(), // the column that the runs are sorted by; empty: live ones first, then the newest
  turned: flag(false), // whether the other way round than is usual for it
  statistics: flag(false), // whether groups of runs are compared above the list of all runs
  groups: list(), // the folders whose runs are compared; none: all that there are
  enough: number(-1e15, 1e15, null), // the score that is enough, of the optimality gap
  wall: flag(false), // whether the live runs' latest clips are shown above the list of all runs
  y: text("return"), // or "length", or a value of the episodes by its name
  x: oneOf("episode", "step", "time"),
  smooth: number(0, 100000, 0), // episodes in the moving average; 0: as fits the run
  raw: flag(true), // whether single episodes are drawn, too
  band: flag(false), // several runs as one: mean and interval
  from: number(-1e15, 1e15, null), // the part of the x-axis shown
  to: number(-1e15, 1e15, null),
  tab: text(), // whose clips are listed, of several runs
  sort: oneOf("newest", "oldest", "return", "length"),
  order: oneOf("desc", "asc"),
  clip: text(), // text that the names of clips must contain
  outcome: oneOf("", "success", "failure"), // of the episodes that clips show, where the env says it
  rmin: number(-1e300, 1e300, null), // limits of the returns of clips,
  rmax: number(-1e300, 1e300, null),
  lmin: number(0, 1e15, null), // of their lengths in steps,
  lmax: number(0, 1e15, null),
  value: text(), // and of a value of their episodes by its name
  vmin: number(-1e300, 1e300, null),
  vmax: number(-1e300, 1e300, null),
  end: oneOf("", "terminated", "truncated", "aborted", "unfinished"), // of the episodes with which clips begin
  kept: text(), // text that the reasons for which clips are kept must contain
  env: number(0, 2 ** 31, null), // a sub-environment that they show
  seed: text(), // that their episodes were given
  pinned: flag(false), // only those that somebody has pinned
  as: oneOf("grid", "table"), // how clips are listed
  pick: list(), // clips chosen to be compared: RUN:KEY
  play: list(), // clips in the player: RUN:KEY
  align: oneOf("start", "end", "fraction", "event"), // by what several clips in the player lie on one timeline
  asked: text(), // RUN:NUMBER, the episode whose video was asked for
  tour: oneOf("", "median", "best", "worst"), // of each stage of the run this one is played, one behind the other
  at: number(0, 1e9, null), // seconds into the clips, while paused
  speed: number(0.0625, 16, 1), // as fast and as slow as browsers play
};

/** @typedef {{[Name in keyof typeof FIELDS]: (typeof FIELDS)[Name]["usual"]}} View */

const fields = /** @type {[keyof View, Field<unknown>][]} */ (Object.entries(FIELDS));

/**
 * What a query string says; whatever is not in it, or makes no sense, is as usual.
 * @param {string} search
 * @returns {View}
 */
export function parse(search) {
  const given = new URLSearchParams(search);
  const read = fields.map(([name, field]) => {
    const written = given.get(name);
    return [name, (written === null ? undefined : field.parse(written)) ?? field.usual];
  });
  const view = /** @type {View} */ (Object.fromEntries(read));
  view.runs = [...new Set(view.runs)].slice(0, MOST_RUNS);
  view.pick = [...new Set(view.pick)].slice(0, MOST_CLIPS);
  view.play = [...new Set(view.play)].slice(0, MOST_CLIPS);
  return view;
}

/**
 * The query string that says this.
 * @param {View} view
 */
export function print(view) {
  const parts = fields
    .filter(([name, { usual }]) => !same(view[name], usual))
    // commas and colons are legal in a query, and far easier to read than %2C
    .map(([name, { print }]) => `${name}=${encodeURIComponent(print(view[name])).replaceAll("%2C", ",").replaceAll("%3A", ":")}`);
  return parts.length ? `?${parts.join("&")}` : "";
}

/**
 * The names of what differs.
 * @param {View} one
 * @param {View} other
 */
export const differences = (one, other) => fields.map(([name]) => name).filter((name) => !same(one[name], other[name]));

/** @type {(one: unknown, other: unknown) => boolean} */
const same = (one, other) => String(one) === String(other) && (one === null) === (other === null);

/**
 * The two halves of RUN:KEY or RUN:NUMBER.
 * @param {string} id
 * @returns {[string, string]}
 */
export function split(id) {
  const place = id.indexOf(":");
  return [id.slice(0, place), id.slice(place + 1)];
}
