import assert from "node:assert/strict";
import { test } from "node:test";
import { markOf, marksOf } from "../../server/offcamd/web/static/marks.js";

const kind = (reason) => markOf(reason).kind;

test("a mark says the first thing of why its video was kept", () => {
  assert.equal(kind(null), "filmed");
  assert.deepEqual(["best(3)", "new_best()", "worst(3)", "surprising(4)"].map(kind), ["best", "best", "worst", "surprising"]);
  assert.equal(kind("worst(3), failures()"), "failure");
  assert.deepEqual(["saved: Went off-road!", "saved: failures()", "cut off"].map(kind), ["saved", "saved", "saved"]);
});

test("what somebody has pinned is marked so, whatever it was kept for", () => {
  assert.deepEqual([markOf(null, true), markOf("worst(3)", true)].map(({ kind }) => kind), ["pinned", "pinned"]);
  assert.deepEqual(marksOf(["worst(1)", null], [true, false]).map(({ words }) => words), ["filmed", "pinned"]);
});

test("what a rule is among is not what it says", () => {
  assert.equal(kind("spread(3, among=failures())"), "rule");
  assert.equal(kind("worst(3, among=best(9) | failures())"), "worst");
  assert.deepEqual(["percentile(1, 5)", "~failures()", "when(is_best)"].map(kind), ["rule", "rule", "rule"]);
});

test("a legend has those that are there, each once", () => {
  assert.deepEqual(marksOf(["worst(1)", null, "worst(1), best(2)", "cut off", null]).map(({ words }) => words), ["filmed", "best", "worst", "saved or cut off"]);
  assert.deepEqual(marksOf([]), []);
});
