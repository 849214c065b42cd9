// What is shown is what the address says: the whole state of the page lives in its query string, so that a view can
// be shared, reloaded, and left with the browser's own back button.

const list = { parse: (text) => (text ? text.split(",").filter(Boolean) : []), print: (value) => value.join(",") };
const text = { parse: (value) => value, print: (value) => value };
const flag = { parse: (value) => value === "1", print: (value) => (value ? "1" : "0") };
const number = (lowest, highest) => ({
  parse(value) {
    const parsed = Number(value);
    return value !== "" && Number.isFinite(parsed) && parsed >= lowest && parsed <= highest ? parsed : undefined;
  },
  print: (value) => String(value),
});
const oneOf = (...values) => ({ parse: (value) => (values.includes(value) ? value : undefined), print: (value) => value });

export const SMOOTHING = [1, 5, 10, 30, 100, 300, 1000];
export const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4, 8];
export const MOST_RUNS = 8;
export const MOST_CLIPS = 4;

const FIELDS = {
  runs: [list, []], // ids of the runs shown, the first being the one whose clips are listed
  filter: [text, ""], // of the runs list
  y: [oneOf("return", "length"), "return"],
  x: [oneOf("episode", "step", "time"), "episode"],
  smooth: [number(0, 100000), 0], // episodes in the moving average; 0: as fits the run
  raw: [flag, true], // whether single episodes are drawn, too
  band: [flag, false], // several runs as one: mean and interval
  from: [number(-1e15, 1e15), null], // the part of the x-axis shown
  to: [number(-1e15, 1e15), null],
  tab: [text, ""], // whose clips are listed, of several runs
  sort: [oneOf("newest", "oldest", "return", "length"), "newest"],
  order: [oneOf("asc", "desc"), "desc"],
  clip: [text, ""], // text that the names of clips must contain
  pick: [list, []], // clips chosen to be compared: RUN:KEY
  play: [list, []], // clips in the player: RUN:KEY
  asked: [text, ""], // RUN:NUMBER, the episode whose video was asked for
  at: [number(0, 1e9), null], // seconds into the clips, while paused
  speed: [number(0.05, 16), 1],
};

function parse(search) {
  const given = new URLSearchParams(search);
  const state = {};
  for (const [key, [kind, usual]] of Object.entries(FIELDS)) {
    const parsed = given.has(key) ? kind.parse(given.get(key)) : undefined;
    state[key] = parsed === undefined ? usual : parsed;
  }
  state.runs = [...new Set(state.runs)].slice(0, MOST_RUNS);
  state.pick = [...new Set(state.pick)].slice(0, MOST_CLIPS);
  state.play = [...new Set(state.play)].slice(0, MOST_CLIPS);
  return state;
}

const same = (one, other) => String(one) === String(other) && (one === null) === (other === null);

function print(state) {
  const parts = [];
  for (const [key, [kind, usual]] of Object.entries(FIELDS)) {
    if (same(state[key], usual)) continue;
    // commas and colons are legal in a query, and far easier to read than %2C
    parts.push(`${key}=${encodeURIComponent(kind.print(state[key])).replaceAll("%2C", ",").replaceAll("%3A", ":")}`);
  }
  return parts.length ? `?${parts.join("&")}` : "";
}

let current = parse(location.search);
const listeners = new Set();

export const state = () => current;

/** The address that shows the present view with some of it changed. */
export const address = (patch = {}) => location.origin + location.pathname + print({ ...current, ...patch });

/** Change the view. `replace` keeps it out of the history: for what one does not want to go back through. */
export function change(patch, { replace = false } = {}) {
  const next = { ...current, ...patch };
  const changed = Object.keys(patch).filter((key) => !same(current[key], next[key]));
  if (!changed.length) return;
  current = next;
  const target = location.pathname + print(current);
  if (replace) history.replaceState(null, "", target);
  else history.pushState(null, "", target);
  tell(new Set(changed));
}

/** Be told of each change, with the set of the names that changed. */
export const watch = (listener) => listeners.add(listener);

function tell(changed) {
  for (const listener of listeners) listener(changed, current);
}

window.addEventListener("popstate", () => {
  const before = current;
  current = parse(location.search);
  const changed = new Set(Object.keys(FIELDS).filter((key) => !same(before[key], current[key])));
  if (changed.size) tell(changed);
});
