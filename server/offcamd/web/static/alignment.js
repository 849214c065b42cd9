// Clips on one timeline: where each of them lies on it, and which leads. Nothing here knows the browser.

/**
 * @typedef {"start" | "end" | "fraction" | "event"} Alignment
 * @typedef {{offset: number, rate: number}} Place
 *   at a second of the timeline a film stands at its own second (second - offset) * rate
 * @typedef {{duration: number, event?: number | null}} Lasting
 *   seconds; `event`: when that happens by which it is aligned, null where it never does
 */

/** @type {[Alignment, string, string][]} */
export const ALIGNMENTS = [
  ["start", "Start", "All begin together"],
  ["end", "End", "All end together"],
  ["fraction", "Fraction", "Each as fast as it takes to be half over when the others are"],
  ["event", "Event", "At the first reward that is not zero"],
];

/**
 * Where films lie; the first of them that moves does so at 0.
 * @param {Lasting[]} films
 * @param {Alignment} align one without the event ends where the others have it
 * @returns {Place[]}
 */
export function placesOf(films, align) {
  const longest = Math.max(0, ...films.map(({ duration }) => duration));
  if (align === "fraction") return films.map(({ duration }) => ({ offset: 0, rate: longest ? duration / longest : 1 }));
  const moments = films.map(({ duration, event }) => (align === "end" ? duration : align === "event" ? (event ?? duration) : 0));
  const latest = Math.max(0, ...moments);
  return moments.map((moment) => ({ offset: latest - moment, rate: 1 }));
}

/**
 * The second of the timeline at which a film is over.
 * @param {Place & Lasting} film
 */
export const endOf = ({ offset, rate, duration }) => offset + (rate ? duration / rate : 0);

/**
 * The film that the others follow at a second of the timeline: of those that have begun the one that is over last. All
 * have one moment in common, so that there is always one that has not ended.
 * @template {Place & Lasting} Film
 * @param {Film[]} films at least one
 * @param {number} position
 * @returns {Film}
 */
export function leaderAt(films, position) {
  const begun = films.filter(({ offset }) => offset <= position + 1e-6);
  const among = begun.length ? begun : films;
  return among.reduce((one, other) => (endOf(other) > endOf(one) + 1e-6 ? other : one));
}
