import assert from "node:assert/strict";
import { test } from "node:test";
import { keyFor, nameOf } from "../../server/offcamd/web/static/keys.js";

test("a key does what it does where it counts, and else nothing", () => {
  let playing = true;
  const group = (title, when, ...keys) => ({ title, when, keys: keys.map((names) => ({ keys: names, says: `${title} ${names}`, act: () => {} })) });
  const groups = [group("everywhere", () => true, ["?"]), group("player", () => playing, ["j", "n"], ["x"]), group("page", () => !playing, ["/"], ["x"])];
  const says = (key) => keyFor(groups, key)?.says ?? null;
  assert.deepEqual(["?", "n", "x", "/"].map(says), ["everywhere ?", "player j,n", "player x", null]);
  playing = false;
  assert.deepEqual(["?", "n", "x", "/"].map(says), ["everywhere ?", null, "page x", "page /"]);
  assert.equal(keyFor(groups, "constructor"), null);
});

test("keys are named as they are written on a keyboard", () => {
  assert.deepEqual([" ", "ArrowLeft", "Escape", "?", "j"].map(nameOf), ["space", "←", "esc", "?", "j"]);
});
