// What is shown is what the address says: the whole state of the page lives in its query string, so that a view can
// be shared, reloaded, and left with the browser's own back button.
import { differences, parse, print } from "./view.js";

/**
 * @import { View } from "./view.js"
 * @typedef {(changed: Set<keyof View>) => void} Listener
 */

let current = parse(location.search);
/** @type {Set<Listener>} */
const listeners = new Set();

export const state = () => current;

/**
 * The address that shows the present view with some of it changed.
 * @param {Partial<View>} patch
 */
export const address = (patch) => location.origin + location.pathname + print({ ...current, ...patch });

/**
 * Change the view. `replace` keeps it out of the history: for what one does not want to go back through.
 * @param {Partial<View>} patch
 */
export function change(patch, { replace = false } = {}) {
  const next = { ...current, ...patch };
  const changed = differences(current, next);
  if (!changed.length) return;
  current = next;
  const target = location.pathname + print(current);
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
  current = parse(location.search);
  const changed = differences(before, current);
  if (changed.length) tell(changed);
});
