// What is shown is what the address says: the whole state of the page lives in it, so that a view can be shared,
// reloaded, and left with the browser's own back button.
import { exported } from "./exported.js";
import { addressOf, Known, viewOf } from "./route.js";
import { differences } from "./view.js";

/**
 * @import { View } from "./view.js"
 * @typedef {(changed: Set<keyof View>) => void} Listener
 */

const known = new Known();

/** What is shown by the address; that of an exported page, which is one file, stands behind its `#`. */
function shown() {
  if (!exported) return viewOf(location.pathname, location.search, known);
  if (location.hash && !location.hash.startsWith("#/")) return current; // a place on the page
  const { pathname, search } = new URL(location.hash.slice(1) || "/", "http://page.invalid");
  return viewOf(pathname, search, known);
}

/** @param {View} view */
const written = (view) => (exported ? "#" : "") + addressOf(view, known);

/** @type {View} */
let current = viewOf("/", "", known);
current = shown();
if (current.play.length === 1) history.replaceState(null, "", written(current)); // of an old link
/** @type {Set<Listener>} */
const listeners = new Set();

export const state = () => current;

/**
 * The address that shows the present view with some of it changed.
 * @param {Partial<View>} patch
 */
export const address = (patch) => new URL(written({ ...current, ...patch }), location.href).href;

/**
 * From now on the address calls a clip by the number of the episode that it shows.
 * @param {string} id RUN:KEY
 * @param {number | string} number
 */
export function learn(id, number) {
  known.learn(id, number);
  if (current.play.join() === id) history.replaceState(null, "", written(current));
}

/**
 * The number of the episode by which the address calls a clip, if it does.
 * @param {string} id RUN:KEY
 */
export const numberOfClip = (id) => known.numbers.get(id) ?? null;

/**
 * Change the view. `replace` keeps it out of the history: for what one does not want to go back through.
 * @param {Partial<View>} patch
 */
export function change(patch, { replace = false } = {}) {
  const next = { ...current, ...patch };
  const changed = differences(current, next);
  if (!changed.length) return;
  current = next;
  const target = written(current);
  if (replace) history.replaceState(null, "", target);
  else history.pushState(null, "", target);
  tell(changed);
}

/**
 * Be told of each change, with the set of the names that changed.
 * @param {Listener} listener
 */
export const watch = (listener) => listeners.add(listener);

/** @param {(keyof View)[]} changed */
function tell(changed) {
  for (const listener of listeners) listener(new Set(changed));
}

window.addEventListener("popstate", () => {
  const before = current;
  current = shown();
  const changed = differences(before, current);
  if (changed.length) tell(changed);
});
