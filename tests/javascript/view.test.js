import assert from "node:assert/strict";
import { test } from "node:test";
import { differences, MOST_CLIPS, MOST_RUNS, nextSpeed, parse, print, SPEEDS, split } from "../../server/offcamd/web/static/view.js";

const USUAL = parse("");

test("the usual view has an address without a word", () => {
  assert.equal(print(USUAL), "");
  assert.deepEqual([USUAL.runs, USUAL.x, USUAL.y, USUAL.sort, USUAL.order, USUAL.raw, USUAL.from, USUAL.speed], [[], "episode", "return", "newest", "desc", true, null, 1]);
});

test("an address is read as it was written", () => {
  const view = {
    ...USUAL, runs: ["0123456789ab", "ba9876543210"], filter: "env:a&b return>1 -c%", by: "return", turned: true, wall: true, y: "distance to goal", x: "time", smooth: 30, raw: false, band: true,
    from: -1.5, to: 0, tab: "ba9876543210", sort: "return", order: "asc", clip: "épisode+", outcome: "failure", pick: ["r:k-1"], play: ["r:k-1", "r:k-2"],
    align: "end", statistics: true, groups: ["a/ppo", "a/dqn"], enough: 475, asked: "r:12", at: 0, speed: 0.25,
  };
  assert.deepEqual(parse(print(view)), view);
  assert.deepEqual(differences(view, parse(print(view))), []);
});

test("lists stay readable in it", () => {
  assert.equal(print({ ...USUAL, runs: ["a", "b"], play: ["a:k-1"] }), "?runs=a,b&play=a:k-1");
});

test("what makes no sense is as usual", () => {
  const nonsense = "?y=&x=&smooth=-1&from=&to=never&at=1e99&speed=0&sort=__proto__&order=up&outcome=maybe&more=1";
  assert.deepEqual(parse(nonsense), USUAL);
});

test("zero is another value than none", () => {
  assert.deepEqual([parse("?from=0").from, parse("?at=0").at, print({ ...USUAL, at: 0 })], [0, 0, "?at=0"]);
});

test("lists have each thing once, and no more than are shown", () => {
  const many = Array.from({ length: 20 }, (_, place) => `r${place}`);
  assert.deepEqual(parse("?runs=a,,b,a").runs, ["a", "b"]);
  const { runs, pick, play } = parse(`?runs=${many}&pick=${many}&play=${many}`);
  assert.deepEqual([runs.length, pick.length, play.length], [MOST_RUNS, MOST_CLIPS, MOST_CLIPS]);
});

test("what differs between two views", () => {
  assert.deepEqual(differences(USUAL, { ...USUAL, at: 0, runs: ["a"] }), ["runs", "at"]);
});

test("an id falls apart at its first colon", () => {
  assert.deepEqual(split("run:key:with"), ["run", "key:with"]);
});

test("faster and slower go through the speeds, from wherever it stands", () => {
  assert.deepEqual(SPEEDS.map((speed) => nextSpeed(speed, 1)), [0.25, 0.5, 1, 2, 4, 8, 8]);
  assert.deepEqual(SPEEDS.map((speed) => nextSpeed(speed, -1)), [0.1, 0.1, 0.25, 0.5, 1, 2, 4]);
  assert.deepEqual([nextSpeed(1.5, 1), nextSpeed(1.5, -1), nextSpeed(16, 1), nextSpeed(16, -1)], [2, 1, 16, 8]);
});
