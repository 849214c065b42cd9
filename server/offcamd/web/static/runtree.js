// The list of runs as it is shown: in which order, and those of one folder together.
import { inOrder } from "./runlist.js";

/**
 * @import { Run } from "./api.js"
 * @typedef {{path: string, runs: Run[]}} Branch the runs of a folder; one that is alone in its own has an empty path
 */

/** @type {Record<string, {words: string, of: (run: Run) => string | number | null, falling: boolean}>} */
export const COLUMNS = {
  name: { words: "Run", of: (run) => run.folder, falling: false },
  state: { words: "State", of: (run) => STATES.indexOf(run.state), falling: false },
  return: { words: "Last 100", of: (run) => run.return.last100_mean, falling: true },
  best: { words: "Best", of: (run) => run.return.max, falling: true },
  episodes: { words: "Episodes", of: (run) => (run.problem ? null : run.episodes), falling: true },
  steps: { words: "Steps", of: (run) => (run.problem ? null : run.steps), falling: true },
  updated: { words: "Updated", of: (run) => run.updated, falling: true },
};
const STATES = ["live", "ended", "crashed", "lost"];

/**
 * Runs by a column, those without such a number last; by none, as in `inOrder`.
 * @param {Iterable<Run>} runs
 * @param {string} column
 * @param {boolean} turned whether the other way round than is usual for it
 */
export function sorted(runs, column, turned) {
  const order = inOrder(runs);
  const by = Object.hasOwn(COLUMNS, column) ? COLUMNS[column] : null;
  if (!by) return order;
  const way = by.falling === turned ? 1 : -1;
  /** @type {(one: Run, other: Run) => number} */
  const compare = (one, other) => {
    const [first, second] = [by.of(one), by.of(other)];
    if (first === null || second === null) return Number(first === null) - Number(second === null);
    if (typeof first === "string") return way * first.localeCompare(String(second), undefined, { numeric: true });
    return way * (first - Number(second));
  };
  return order.sort(compare);
}

/** @param {string} folder */
const parts = (folder) => folder.split("/").filter(Boolean);

/**
 * Runs in their order, those of one folder together where that is not the one that all are in: seeds of an experiment.
 * @param {Run[]} runs
 * @param {Iterable<{folder: string}>} all by whose common folder the names of the others are shortened
 * @returns {Branch[]}
 */
export function branches(runs, all = runs) {
  const above = [...all].map((run) => parts(run.folder).slice(0, -1));
  const first = above[0] ?? [];
  let common = 0;
  while (common < first.length && above.every((path) => path[common] === first[common])) common += 1;
  /** @type {Branch[]} */
  const tree = [];
  /** @type {Map<string, Branch>} */
  const found = new Map();
  for (const run of runs) {
    const path = parts(run.folder).slice(common, -1).join("/");
    let branch = path ? found.get(path) : undefined;
    if (!branch) {
      branch = { path, runs: [] };
      tree.push(branch);
      found.set(path, branch);
    }
    branch.runs.push(run);
  }
  return tree.map((branch) => (branch.runs.length > 1 ? branch : { ...branch, path: "" }));
}

/**
 * Where a query is wrong: what stands before, and what is marked. Nothing where the words do not say.
 * @param {string} query
 * @param {string} words of the recorder, which counts characters
 * @returns {[string, string] | null}
 */
export function placeOf(query, words) {
  const found = /at column (\d+): /.exec(words);
  if (!found) return null;
  const characters = [...query];
  const place = Number(found[1]) - 1;
  const behind = characters.slice(place).join("");
  return [characters.slice(0, place).join(""), /^\S+/.exec(behind)?.[0] ?? " "];
}

/**
 * What the recorder says of a query, without what stands beside it.
 * @param {string} words
 */
export const whatIsWrong = (words) => words.replace(/^.* is wrong (?=at column \d+: )/su, "").replace(/^at/, "At");
