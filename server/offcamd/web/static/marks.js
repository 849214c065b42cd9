// The marks of episodes that have a video: their shapes say why it was kept. Nothing here knows the browser.

/**
 * @typedef {{kind: string, words: string, path: string, holds: RegExp | null}} Mark
 *   `path`: its shape as of SVG, around 0 0 and about 5 wide each way; `holds`: of the reasons that it stands for
 */

/** @type {(...rules: string[]) => RegExp} of one of the parts of a reason, not of what is among */
const rule = (...rules) => new RegExp(`(^|, )(${rules.join("|")})\\(`);

/**
 * The one that says most first: a video may be kept for several reasons.
 * @type {Mark[]}
 */
const MARKS = [
  { kind: "failure", words: "failure", path: "M-4-4L4 4M4-4L-4 4", holds: rule("failures") },
  { kind: "saved", words: "saved or cut off", path: "M-1.500-5H1.500V1H-1.500ZM-1.500 2.500H1.500V5H-1.500Z", holds: /^(saved: |cut off)/ },
  { kind: "best", words: "best", path: "M0-5L5 3.700H-5Z", holds: rule("best", "new_best") },
  { kind: "worst", words: "worst", path: "M0 5L-5-3.700H5Z", holds: rule("worst") },
  { kind: "surprising", words: "surprising", path: "M0-5L5 0L0 5L-5 0Z", holds: rule("surprising") },
  { kind: "rule", words: "another rule", path: "M-3.700-3.700H3.700V3.700H-3.700Z", holds: /./ },
];

/** @type {Mark} */
const FILMED = { kind: "filmed", words: "filmed", path: "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0Z", holds: null };

/** @type {Mark} */
const PINNED = { kind: "pinned", words: "pinned", path: "M0-6L1.700-2.200 5.800-1.800 2.700 .900 3.600 5 0 2.800-3.600 5-2.700 .900-5.800-1.800-1.700-2.200Z", holds: null };

/**
 * @param {string | null} reason of a clip; none of one that is kept in any case
 * @param {boolean} pinned by somebody, which says more than any rule
 * @returns {Mark}
 */
export const markOf = (reason, pinned = false) => (pinned && PINNED) || (reason && MARKS.find(({ holds }) => holds?.test(reason))) || FILMED;

/**
 * Which marks there are, in the order in which a legend has them.
 * @param {(string | null)[]} given reasons
 * @param {boolean[]} pinned whether each is
 * @returns {Mark[]}
 */
export function marksOf(given, pinned = []) {
  const there = new Set(given.map((reason, place) => markOf(reason, pinned[place])));
  return [FILMED, ...MARKS.slice(2), ...MARKS.slice(0, 2), PINNED].filter((mark) => there.has(mark));
}
