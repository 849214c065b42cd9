import assert from "node:assert/strict";
import { test } from "node:test";
import { tileOf } from "../../server/offcamd/web/static/tiles.js";

test("sub-environments stand row by row in the order in which they are shown", () => {
  const clip = { envs: [0, 1, 2, 3, 4], grid: [2, 3] };
  assert.deepEqual(tileOf(clip, 0), { left: 0, top: 0, width: 1 / 3, height: 1 / 2 });
  assert.deepEqual(tileOf(clip, 4), { left: 1 / 3, top: 1 / 2, width: 1 / 3, height: 1 / 2 });
  assert.deepEqual(tileOf({ envs: [7, 2], grid: [1, 2] }, 2), { left: 1 / 2, top: 0, width: 1 / 2, height: 1 });
});

test("nothing is outlined where one stands alone, is not shown, or nobody knows where", () => {
  assert.equal(tileOf({ envs: [3], grid: [1, 1] }, 3), null);
  assert.equal(tileOf({ envs: [0, 1], grid: [1, 2] }, 5), null);
  assert.equal(tileOf({ envs: [0, 1], grid: null }, 1), null);
});
