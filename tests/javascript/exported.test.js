import assert from "node:assert/strict";
import { test } from "node:test";
import { clipsOf, curveOf, episodesOf, exported, fileOf, listOf, nearestOf, renderingOf, stepsOf } from "../../server/offcamd/web/static/exported.js";

const clip = (key, episode, more = {}) => ({ key, name: `rl-video-episode-${episode}`, return: episode, length: 10, info: {}, envs: [0], keep_reason: null, seed: null, state: "final", partial: false, pin: null, terminated: false, truncated: false, episodes: [{ number: episode, episode, whole: true }], ...more });
const TOLD = {
  curves: {
    "episode return": {
      ...{ total: 6, decimated: true, first: [0, 2, 4], count: [2, 2, 2], xs: [0, 2, 4], mean: [1, 2, 3], min: [1, 2, 3], max: [1, 2, 3] },
      ...{ averages: { 5: [7, 8, 9] }, recorded: { keys: ["a", "b"], reasons: [null, "best(1)"], pinned: [true, false], numbers: [0, 4], xs: [0, 4], ys: [1, 3] } },
    },
  },
  clips: { c: clip("c", 9, { return: null, envs: [1, 2] }), b: clip("b", 4, { info: { is_success: 1 }, truncated: true, keep_reason: "worst(1)", seed: 7 }), a: clip("a", 0, { state: "aborted", pin: { note: "", at: 1 } }) },
  steps: {},
  stages: { episodes: 0, stages: [] },
  episodes: { 3: { number: 3, episode: 3 } },
};
const query = (text) => new URLSearchParams(text);
const keys = (text) => clipsOf(TOLD, query(text)).clips.map((each) => each.key);

test("a page that was not exported is none", () => assert.equal(exported, false));

test("a part of a curve has what is in it", () => {
  const curve = curveOf(TOLD, query("x=episode&y=return&window=5&from=1&to=4"));
  assert.deepEqual([curve.xs, curve.average, curve.total, curve.recorded.keys, curve.recorded.reasons, curve.recorded.pinned], [[2, 4], [8, 9], 4, ["b"], ["best(1)"], [false]]);
  assert.deepEqual(curveOf(TOLD, query("x=episode&y=return&window=6")).average, [null, null, null]);
  assert.throws(() => curveOf(TOLD, query("x=episode&y=height&window=5")), /No episode/);
});

test("clips are filtered, ordered and in pages", () => {
  assert.deepEqual(keys(""), ["c", "b", "a"]);
  assert.deepEqual(keys("sort=oldest"), ["a", "b", "c"]);
  assert.deepEqual(keys("sort=return&order=desc"), ["b", "a", "c"], "what is not known comes last");
  assert.deepEqual(keys("sort=return&order=asc"), ["a", "b", "c"]);
  assert.deepEqual(keys("q=EPISODE-4"), ["b"]);
  assert.deepEqual(keys("value=is_success&min_value=0.5"), ["b"]);
  assert.deepEqual(keys("min_return=1&max_return=5"), ["b"]);
  assert.deepEqual([keys("min_length=11"), keys("max_length=10").length], [[], 3]);
  assert.deepEqual([keys("end=truncated"), keys("end=aborted"), keys("keep=WORST"), keys("seed=7"), keys("env_index=1"), keys("pinned=true")], [["b"], ["a"], ["b"], ["b"], ["c"], ["a"]]);
  assert.deepEqual(keys("offset=1&limit=1"), ["b"]);
  assert.equal(clipsOf(TOLD, query("offset=1&limit=1")).total, 3);
});

test("clips of episodes that came to no end are found", () => {
  const told = { ...TOLD, clips: { a: clip("a", 0, { unfinished: true }), b: clip("b", 1) } };
  assert.deepEqual(clipsOf(told, query("end=unfinished")).clips.map((each) => each.key), ["a"]);
});

test("the nearest clip is exact where it shows the episode", () => {
  assert.deepEqual(nearestOf(TOLD, 3), { episode: TOLD.episodes[3], clip: TOLD.clips.b, exact: false, distance: 1 });
  assert.deepEqual(nearestOf(TOLD, 0), { episode: { number: 0, episode: 0, whole: true }, clip: TOLD.clips.a, exact: true, distance: 0 });
  assert.throws(() => nearestOf(TOLD, 7), /not in this page/);
  assert.equal(renderingOf(TOLD, 4).clip, "b");
  assert.equal(renderingOf(TOLD, 3).clip, null);
});

test("the steps of a clip are those of the sub-environment that is asked for", () => {
  const told = { ...TOLD, steps: { c: { env_index: 1 }, "c 2": { env_index: 2 } } };
  assert.deepEqual([null, "1", "2"].map((env) => stepsOf(told, "c", env).env_index), [1, 1, 2]);
  for (const [key, env] of [["c", "3"], ["b", null]]) assert.throws(() => stepsOf(told, key, env), /not in this page/);
});

test("the episodes that clips show are found by their seed", () => {
  const seeded = (key, number, seed) => clip(key, number, { episodes: [{ number, episode: number, seed, whole: true }] });
  const told = { ...TOLD, clips: { b: seeded("b", 4, 7), a: seeded("a", 0, "7"), c: seeded("c", 1, null) } };
  assert.deepEqual(episodesOf(told, query("seed=7")).episodes.map((each) => each.clip), ["b", "a"]);
  assert.equal(episodesOf(told, query("")).total, 3);
});

test("files lie beside the page", () => {
  assert.equal(fileOf("/api/runs/ab@2/episodes.csv"), "runs/ab_2/episodes.csv");
  assert.equal(fileOf("runs/ab/1.mp4"), "runs/ab/1.mp4");
  assert.equal(fileOf("/api/runs/ab/clips/c-1/poster"), "runs/ab/c-1.jpg");
  assert.equal(fileOf("/api/runs/ab/clips/c-1/video"), "runs/ab/c-1.mp4");
});

test("runs are filtered by words", () => {
  const runs = [{ name: "ppo-1", folder: "/a/ppo-1", env_id: "CartPole-v1", state: "ended" }, { name: "dqn", folder: "/a/dqn", env_id: null, state: "crashed" }];
  const named = (/** @type {string} */ text) => listOf({ daemon: false, total: 2, runs }, text).runs.map(({ name }) => name);
  assert.deepEqual([named(""), named("cart ENDED"), named("crashed")], [["ppo-1", "dqn"], ["ppo-1"], ["dqn"]]);
  for (const text of ["return>3", "-crashed", "env:cart"]) assert.throws(() => named(text), /by words alone/);
});
