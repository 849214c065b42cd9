import assert from "node:assert/strict";
import { test } from "node:test";
import { askedBy, countOf, FILTERS, inWords, NO_FILTERS } from "../../server/offcamd/web/static/clipfilters.js";
import { parse, print } from "../../server/offcamd/web/static/view.js";

const asked = (search) => Object.fromEntries(Object.entries(askedBy(parse(search), "is_success")).filter(([, value]) => value !== null && value !== ""));

test("what the address says is what is asked for", () => {
  assert.deepEqual(asked(""), { sort: "newest" });
  assert.deepEqual(asked("?sort=return&order=asc&clip=rl&rmin=0&rmax=-1.5&lmin=3&end=truncated&kept=worst&env=0&seed=7&pinned=1"), {
    ...{ sort: "return", order: "asc", q: "rl", min_return: 0, max_return: -1.5, min_length: 3, end: "truncated", keep: "worst", env_index: 0, seed: "7", pinned: "true" },
  });
  assert.deepEqual(asked("?outcome=failure"), { sort: "newest", value: "is_success", max_value: 0.5 });
  assert.deepEqual(asked("?outcome=failure&value=distance&vmin=2"), { sort: "newest", value: "distance", min_value: 2 });
  assert.deepEqual(asked("?value=distance"), { sort: "newest" }, "without a limit it is none");
});

test("filters are told in words, and none is left once they are cleared", () => {
  const view = parse("?clip=a&outcome=success&rmin=1&lmin=2&lmax=9&end=aborted&kept=best&env=3&seed=5&pinned=1");
  assert.deepEqual(inWords(view), ["“a” in its name", "succeeded", "return of at least 1", "length from 2 to 9", "aborted", "kept as “best”", "env 3", "seed 5", "pinned"]);
  assert.equal(countOf(view), 7);
  assert.equal(print({ ...view, ...NO_FILTERS, clip: "", outcome: "" }), "");
  assert.equal(FILTERS.length, 12);
});
