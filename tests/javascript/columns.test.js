import assert from "node:assert/strict";
import { test } from "node:test";
import { leftOut } from "../../server/offcamd/web/static/columns.js";

test("columns are left out that were, of those that there are still", () => {
  assert.deepEqual(leftOut(null, ["best", "steps"]), []);
  assert.deepEqual(leftOut("steps age best", ["best", "steps"]), ["steps", "best"]);
  assert.deepEqual(leftOut("", ["best"]), []);
});
