import assert from "node:assert/strict";
import { test } from "node:test";
import { branches, placeOf, sorted, whatIsWrong } from "../../server/offcamd/web/static/runtree.js";

const NONE = { last100_mean: null, max: null };
const run = (folder, more = {}) => ({ id: folder, folder, problem: null, live: false, started: 0, state: "ended", updated: null, episodes: 0, steps: 0, return: NONE, ...more });
const returning = (folder, mean, more = {}) => run(folder, { return: { last100_mean: mean, max: mean * 2 }, ...more });
const tree = (runs, all) => branches(runs, all).map(({ path, runs }) => [path, ...runs.map(({ folder }) => folder.split("/").at(-1))]);

test("runs of one folder stand together, where the first of them does", () => {
  const runs = ["/x/ppo/1", "/x/dqn", "/x/sac/walker/a", "/x/ppo/0", "/x/alone/0", "/x/sac/walker/b"].map((folder) => run(folder));
  assert.deepEqual(tree(runs), [["ppo", "1", "0"], ["", "dqn"], ["sac/walker", "a", "b"], ["", "0"]]);
});

test("runs that are all in one folder have no head above them", () => {
  assert.deepEqual(tree([run("/x/ppo/1"), run("/x/ppo/0")]), [["", "1"], ["", "0"]]);
  assert.deepEqual(tree([run("/x")]), [["", "x"]]);
  assert.deepEqual(tree([]), []);
});

test("folders are named below what all runs have in common, not only those that are shown", () => {
  const shown = [run("/x/ppo/1"), run("/x/ppo/0")];
  assert.deepEqual(tree(shown, [...shown, run("/x/dqn/0")]), [["ppo", "1", "0"]]);
});

test("runs are sorted by a column, what is not known comes last", () => {
  const runs = [returning("/b", 5), run("/none"), returning("/a", 50, { live: true, state: "live" }), returning("/c10", -3, { state: "lost" }), returning("/c9", 7, { state: "crashed" })];
  const order = (by, turned) => sorted(runs, by, turned).map(({ folder }) => folder.slice(1));
  assert.deepEqual(order("return", false), ["a", "c9", "b", "c10", "none"]);
  assert.deepEqual(order("return", true), ["c10", "b", "c9", "a", "none"]);
  assert.deepEqual(order("name", false), ["a", "b", "c9", "c10", "none"]);
  assert.deepEqual(order("state", false), ["a", "b", "none", "c9", "c10"]);
  for (const by of ["", "size", "toString"]) assert.equal(order(by, false)[0], "a"); // the live one
});

test("the place at which a query is wrong is marked", () => {
  const words = "The query 'live retrun>5 x' is wrong at column 6: unknown field 'retrun'; did you mean `return`?";
  assert.deepEqual(placeOf("live retrun>5 x", words), ["live ", "retrun>5"]);
  assert.deepEqual(placeOf("return>", "It is wrong at column 8: nothing follows."), ["return>", " "]);
  assert.deepEqual(placeOf("𝔸𝔹 x:1", "It is wrong at column 4: unknown."), ["𝔸𝔹 ", "x:1"]);
  assert.equal(placeOf("live", "The recorder does not answer."), null);
  assert.equal(whatIsWrong(words), "At column 6: unknown field 'retrun'; did you mean `return`?");
});
