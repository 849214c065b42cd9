import assert from "node:assert/strict";
import { test } from "node:test";
import { firstDifference, firstReward, overlaid } from "../../server/offcamd/web/static/overlaid.js";

const column = (kind, name, min) => ({ kind, name, whole: false, min, max: null });

/** Steps of a clip at 10 fps that shows an episode from its reset on. */
function stepsOf(rewards, actions, { bucket = 1, firstRow = 100 } = {}) {
  return {
    env_id: "", env_index: 0, envs: [0], rows: rewards.length * bucket, found: rewards.length * bucket, complete: true, why: null, bucket, left_out: [],
    film: { clip: "", fps: 10, first_row: firstRow, frames: rewards.length * bucket, gaps: [] },
    row: rewards.map((_, place) => firstRow + place * bucket), step: rewards.map((_, place) => place * bucket),
    time: [], episode: rewards.map(() => 0), flags: rewards.map(() => 0),
    columns: [column("reward", "reward", rewards), column("action", "action", actions)],
  };
}

test("the first reward that is not zero is the event", () => {
  assert.equal(firstReward(stepsOf([null, 0, 0, -1, 1], [])), 0.3);
  assert.equal(firstReward(stepsOf([null, 0, 0], [])), null);
  assert.equal(firstReward(null), null);
  assert.equal(firstReward({ ...stepsOf([null, 1], []), film: null }), null);
});

test("clips lie on one axis, each where the timeline has it", () => {
  const [long, short] = [stepsOf([null, 1, 2, 3], [0, 1, 2, 3]), stepsOf([null, 7], [0, 8])];
  const part = (steps, offset) => ({ steps, offset, rate: 1, fps: 10, frames: steps.row.length });
  const found = overlaid([part(long, 0), part(short, 0.2)], 10, 4);
  assert.deepEqual(found.columns.map(({ name, min }) => [name, min]), [
    ["Reward[1]", [null, 1, 2, 3]], ["Reward[2]", [null, null, null, 7]],
    ["action[1]", [0, 1, 2, 3]], ["action[2]", [null, null, 0, 8]],
  ]);
  assert.deepEqual(found.row, [0, 1, 2, 3]);
  const slow = overlaid([part(long, 0), { ...part(short, 0), rate: 0.5 }], 10, 4);
  assert.deepEqual(slow.columns[3].min, [0, 0, 8, 8]);
});

test("nothing is drawn where fewer than two have steps", () => {
  const part = { steps: stepsOf([null, 1], [0, 1]), offset: 0, rate: 1, fps: 10, frames: 2 };
  assert.equal(overlaid([part, { ...part, steps: null }], 10, 2), null);
});

test("two episodes differ first in an action, in a reward, or in their length", () => {
  const base = stepsOf([null, 1, 1, 1], [0, 5, 5, 5]);
  const differ = (rewards, actions, options) => firstDifference(base, stepsOf(rewards, actions, options));
  assert.equal(differ([null, 1, 1, 1], [0, 5, 5, 5], { firstRow: 7 }), null);
  assert.deepEqual(differ([null, 1, 1, 2], [0, 5, 6, 5]), { step: 2, frames: [2, 2], what: ["action"], exact: true });
  assert.deepEqual(differ([null, 1, 0, 1], [0, 5, 5, 5]), { step: 2, frames: [2, 2], what: ["reward"], exact: true });
  assert.deepEqual(differ([null, 1], [0, 5]), { step: 2, frames: [2, 1], what: ["length"], exact: true });
  assert.equal(differ([null, 1, 1, 1], [0, 5, 5, 5], { bucket: 2 }), null);
});
