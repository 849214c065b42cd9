import assert from "node:assert/strict";
import { test } from "node:test";
import { bestOf, filmed, leadsTo, placeOf, rowsOf } from "../../server/offcamd/web/static/stagelist.js";

const clip = (number, value = number) => ({ clip: `c-${number}`, number, num_envs: 1, env_index: 0, episode: number, return: value, length: 9 });
const part = (first, last, best, median = best, worst = median) => ({ begin: first, end: last + 1, first, last, best, median, worst });
const STAGES = [part(0, 9, clip(3)), part(10, 19, null), part(20, 29, clip(21, 50), clip(25, 7), clip(28, null)), part(30, 39, clip(35, 50))];

test("an episode is in the part between whose numbers it is", () => {
  assert.deepEqual([0, 9, 10, 39].map((number) => placeOf(STAGES, number)), [0, 0, 1, 3]);
  assert.deepEqual([40, null].map((number) => placeOf(STAGES, number)), [-1, -1]);
});

test("one goes to the nearest part that has a clip", () => {
  const led = (place, way, pick = "median") => leadsTo(STAGES, place, way, pick)?.number ?? null;
  assert.deepEqual([led(0, 1), led(2, 1), led(3, 1)], [25, 35, null], "over the part without one, and not beyond the last");
  assert.deepEqual([led(3, -1, "worst"), led(2, -1), led(0, -1)], [28, 3, null]);
  assert.deepEqual([led(-1, 1), led(-1, -1, "best")], [3, 35], "from nowhere to the first, and to the last");
});

test("the best of all is the first of equals, and one without a return is the least", () => {
  assert.equal(bestOf(STAGES)?.number, 21);
  assert.equal(bestOf([part(0, 1, clip(1, null))])?.number, 1);
  assert.equal(bestOf([part(0, 1, null)]), null);
});

test("a row that would show the medians again is left out", () => {
  assert.deepEqual(rowsOf(STAGES), ["best", "median", "worst"]);
  assert.deepEqual(rowsOf(STAGES.slice(0, 2)), ["median"]);
  assert.deepEqual(rowsOf([part(0, 9, clip(1), clip(2))]), ["best", "median"]);
  assert.equal(filmed(STAGES).length, 3);
});
