import assert from "node:assert/strict";
import { test } from "node:test";
import { inOrder, namesOf } from "../../server/offcamd/web/static/runlist.js";

const run = (folder, more = {}) => ({ id: folder, folder, name: folder.split("/").at(-1), env_id: null, live: false, started: null, ...more });
const names = (...folders) => [...namesOf(folders.map((folder) => run(folder))).values()];

test("live runs come first, then the newest", () => {
  const runs = [run("/b"), run("/old", { started: 1 }), run("/new", { started: 9 }), run("/live", { live: true, started: 2 }), run("/a")];
  assert.deepEqual(inOrder(runs).map(({ id }) => id), ["/live", "/new", "/old", "/a", "/b"]);
});

test("a run is called by as much of its path as tells it apart", () => {
  assert.deepEqual(names("/runs/ppo", "/runs/dqn"), ["ppo", "dqn"]);
  assert.deepEqual(names("/x/ppo/1", "/x/dqn/1", "/x/other"), ["ppo/1", "dqn/1", "other"]);
  assert.deepEqual(names("/one/a/1", "/two/a/1", "/two/b/1"), ["one/a/1", "two/a/1", "b/1"]);
  assert.deepEqual(names("/a", "/b/a"), ["a", "b/a"]);
  assert.deepEqual(names(), []);
});
