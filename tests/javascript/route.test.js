import assert from "node:assert/strict";
import { test } from "node:test";
import { addressOf, Known, numberOf, unrendered, viewOf } from "../../server/offcamd/web/static/route.js";
import { parse } from "../../server/offcamd/web/static/view.js";

const USUAL = parse("");
const RUN = "0123456789ab";

function there(view, known = new Known()) {
  const address = addressOf({ ...USUAL, ...view }, known);
  const [path, search = ""] = address.split("?");
  return [address, viewOf(path, search && `?${search}`, known)];
}

test("without a clip it is the query alone", () => {
  const [address, view] = there({ runs: [RUN], x: "time" });
  assert.equal(address, `/?runs=${RUN}&x=time`);
  assert.deepEqual(view, { ...USUAL, runs: [RUN], x: "time" });
});

test("one clip is a path, with its time", () => {
  const [address, view] = there({ runs: [RUN], play: [`${RUN}:ff-3`], at: 0.9 });
  assert.equal(address, `/r/${RUN}/c/ff-3?t=0.9`);
  assert.deepEqual(view, { ...USUAL, runs: [RUN], play: [`${RUN}:ff-3`], at: 0.9 });
});

test("an episode without a clip is a path by its number", () => {
  const [address, view] = there({ runs: [RUN], play: [`${RUN}:${unrendered(101)}`], asked: `${RUN}:101` });
  assert.equal(address, `/r/${RUN}/e/101`);
  assert.deepEqual(view, { ...USUAL, runs: [RUN], play: [`${RUN}:~101`] });
});

test("a clip that is known to show an episode is that episode's path, and the clip again", () => {
  const known = new Known();
  known.learn(`${RUN}@1:ff-3`, 101);
  const view = { ...USUAL, runs: [`${RUN}@1`], play: [`${RUN}@1:ff-3`], at: 0, speed: 2 };
  const [address, read] = there(view, known);
  assert.equal(address, `/r/${RUN}@1/e/101?speed=2&t=0`);
  assert.deepEqual(read, view);
  assert.deepEqual(viewOf(`/r/${RUN}@1/e/101`, "", new Known()).play, [`${RUN}@1:~101`]);
});

test("other runs in the plot, and another episode that was asked for, stay in the query", () => {
  const view = { ...USUAL, runs: ["ba9876543210", RUN], play: [`${RUN}:ff-3`], asked: `${RUN}:9` };
  const [address, read] = there(view);
  assert.equal(address, `/r/${RUN}/c/ff-3?runs=ba9876543210,${RUN}&asked=${RUN}:9`);
  assert.deepEqual(read, view);
});

test("several side by side are in the query, as ever", () => {
  const view = { ...USUAL, runs: [RUN], play: [`${RUN}:ff-3`, `${RUN}:ff-4`], at: 2.35 };
  const [address, read] = there(view);
  assert.equal(address, `/?runs=${RUN}&play=${RUN}:ff-3,${RUN}:ff-4&at=2.35`);
  assert.deepEqual(read, view);
});

test("an old address shows what it showed", () => {
  const view = viewOf("/", `?runs=${RUN}&play=${RUN}:ff-3&at=1.5`, new Known());
  assert.deepEqual([view.play, view.at], [[`${RUN}:ff-3`], 1.5]);
  assert.equal(addressOf(view, new Known()), `/r/${RUN}/c/ff-3?t=1.5`);
  assert.deepEqual(viewOf("/", `?play=${RUN}:~4`, new Known()).play, [`${RUN}:~4`]);
});

test("a run alone is a path, too, and what makes no sense is as usual", () => {
  assert.deepEqual(viewOf(`/r/${RUN}`, "", new Known()), { ...USUAL, runs: [RUN] });
  assert.equal(viewOf(`/r/${RUN}/c/ff-3`, "?t=soon", new Known()).at, null);
  assert.deepEqual(viewOf("/r/%E0%A4%A/c/x", "", new Known()).play, ["%E0%A4%A:x"]);
  assert.deepEqual([numberOf("~12"), numberOf("12"), numberOf("ff-3")], ["12", null, null]);
});
