import assert from "node:assert/strict";
import { test } from "node:test";
import { pathOf } from "../../server/offcamd/web/static/sparkline.js";

test("values go from left to right, the highest at the top", () => {
  assert.equal(pathOf([0, 10, 5], [0, 10]), "M0 22L50 2L100 12");
  assert.equal(pathOf([3, 3], [3, 3]), "M0 12L100 12");
  assert.equal(pathOf([], [Infinity, -Infinity]), "");
});

test("where there is none the line has a gap, and one alone is a dot", () => {
  assert.equal(pathOf([null, 1, 0, null, 1], [0, 1]), "M25 2L50 22M100 2h0.1");
  assert.equal(pathOf([7], [7, 7]), "M50 12h0.1");
  assert.equal(pathOf([null, null], [Infinity, -Infinity]), "");
});

test("the largest numbers that there are have a span", () => {
  assert.equal(pathOf([-1.7e308, 1.7e308], [-1.7e308, 1.7e308]), "M0 22L100 2");
});
