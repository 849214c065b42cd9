// A video that was recorded in several parts, as its frames changed their size, or another daemon went on with it.
import { change } from "./state.js";
import { split } from "./view.js";

/**
 * Go on with the part behind the one that is played.
 * @type {(played: string, part: Pick<import("./api.js").ClipDetail, "key" | "parts"> | null) => boolean}
 *   `played`: RUN:KEY; returns whether there is one
 */
export function goOn(played, part) {
  const next = part?.parts[part.parts.indexOf(part.key) + 1];
  if (next) change({ play: [`${split(played)[0]}:${next}`], asked: "", at: null }, { replace: true });
  return Boolean(next);
}
