import assert from "node:assert/strict";
import { test } from "node:test";

globalThis.sessionStorage = { getItem: () => null };
const { nearestTo, presetsOf, shareOf, siblingsOf } = await import("../../server/offcamd/web/static/presets.js");

const curve = (total, numbers, ys) => ({ total, first: [0], recorded: { keys: numbers.map((number) => `k${number}`), numbers, xs: numbers, ys } });

test("the same stage of another run is where as much of it was over", () => {
  assert.equal(shareOf(curve(11, [], []), 5), 0.5);
  assert.equal(nearestTo(curve(101, [0, 40, 90], [1, 1, 1]), 0.5), "k40");
  assert.equal(nearestTo(curve(0, [], []), 0.5), null);
});

test("a preset is offered where it can be made", () => {
  const run = (folder, clips = { final: 3 }) => ({ folder, clips, env_id: "CartPole-v1", problem: null });
  const [one, two, other] = [run("/a/seed-1"), run("/a/seed-2"), run("/b/seed-1")];
  const names = (from) => presetsOf({ clip: { episodes: [{ seed: 3 }] }, runs: [one, two, other], ...from }).map(([name]) => name);
  assert.deepEqual(names({ run: one }), ["stages", "extremes", "seed", "others"]);
  assert.deepEqual(names({ run: other, clip: { episodes: [] } }), ["stages", "extremes"]);
  assert.deepEqual(names({ run: run("/c/d", { final: 1 }), clip: { episodes: [{ seed: null }] } }), []);
  assert.deepEqual(siblingsOf(one, [one, two, other, { ...two, env_id: "Other-v0" }]), [one, two]);
});
