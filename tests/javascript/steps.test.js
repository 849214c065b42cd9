import assert from "node:assert/strict";
import { test } from "node:test";
import { axisOf, beginningOf, nameOf, plotsOf, pointAt, remarksOf, RESET, TERMINATED, valueAt } from "../../server/offcamd/web/static/steps.js";

const column = (kind, name, min = [], max = null) => ({ kind, name, whole: false, min, max });

const STEPS = {
  env_id: "CartPole-v1", env_index: 0, envs: [0], rows: 5, found: 5, complete: true, why: null, bucket: 1,
  film: { clip: "ff-1", fps: 30, first_row: 12, frames: 3, gaps: [] }, row: [10, 11, 12, 13, 14], time: [null, null, 0, 1 / 30, 2 / 30],
  episode: [3, 3, 3, 4, 4], step: [7, 8, 9, 0, 1], flags: [0, 0, TERMINATED, RESET, 0], left_out: [],
  columns: [column("reward", "reward", [1, 1, null, 2, 3]), column("return", "return"), column("action", "action[0]"), column("action", "action[1]"), column("action", "action.arm[0]"), column("trace", "value")],
};

test("the components of an action share a plot, all else has one of its own", () => {
  const plots = plotsOf(STEPS).map(({ title, columns }) => [title, columns.length]);
  assert.deepEqual(plots, [["Reward", 1], ["Return so far", 1], ["action", 2], ["action.arm", 1], ["value", 1]]);
  const many = plotsOf({ ...STEPS, columns: Array.from({ length: 11 }, (_, place) => column("action", `action[${place}]`)) });
  assert.deepEqual(many.map(({ columns }) => columns.length), [9, 2]);
});

test("the axis is the video's, and goes on where it has no picture", () => {
  assert.deepEqual(axisOf(STEPS), { origin: 12, low: -2, high: 2, fps: 30 });
  assert.deepEqual(axisOf({ ...STEPS, film: { ...STEPS.film, first_row: 10, frames: 9 } }), { origin: 10, low: 0, high: 8, fps: 30 });
  assert.deepEqual(axisOf({ ...STEPS, film: null }), { origin: 10, low: 0, high: 4, fps: null });
});

test("a frame shows the row that is as far behind the first", () => {
  assert.deepEqual([-3, -2, 0, 2, 3].map((frame) => pointAt(STEPS, frame)), [-1, 0, 2, 4, -1]);
  const thinned = { ...STEPS, bucket: 4, rows: 18, row: [10, 14, 18, 22, 26] };
  assert.deepEqual([-2, 1, 2, 17].map((frame) => pointAt(thinned, frame)), [0, 0, 1, 4]);
  assert.deepEqual([beginningOf(STEPS, 4), beginningOf(STEPS, 3), beginningOf(STEPS, 9)], [1, -2, null]);
});

test("what is said of a point", () => {
  assert.deepEqual([0, 2, 3, -1].map((point) => nameOf(STEPS, point)), ["step 7", "step 9, terminated", "reset", "not in these steps"]);
  assert.equal(nameOf({ ...STEPS, step: [null] }, 0), "not recorded");
  assert.equal(nameOf({ ...STEPS, bucket: 4, step: [4, 8] }, 0), "step 4 to 7");
  assert.deepEqual([0, 2].map((point) => valueAt(STEPS.columns[0], point)), ["1", "–"]);
  assert.equal(valueAt(column("trace", "x", [-1, 2], [3, 2]), 0), "-1 to 3");
  assert.equal(valueAt(column("trace", "x", [-1, 2], [3, 2]), 1), "2");
});

test("what is not drawn is said", () => {
  assert.deepEqual(remarksOf(STEPS), []);
  assert.deepEqual(remarksOf({ ...STEPS, why: "lost" }), ["lost"]);
  assert.deepEqual(remarksOf({ ...STEPS, bucket: 2, found: 3, left_out: ["action.words"] }), ["5 steps; each point is the least and the most of 2", "2 of 5 steps are not there", "not drawn: action.words"]);
});
