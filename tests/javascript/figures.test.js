import assert from "node:assert/strict";
import { test } from "node:test";
import { scale } from "../../server/offcamd/web/static/figures.js";

test("values lie between the edges, and what is always the same in the middle", () => {
  const x = scale([2, null, 4], 10, 30);
  assert.deepEqual([2, 3, 4].map(x), [10, 20, 30]);
  assert.equal(scale([5, 5], 10, 30)(5), 20);
  assert.equal(scale([], 0, 1)(0.5), 0.5);
});
