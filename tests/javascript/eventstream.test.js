import assert from "node:assert/strict";
import { test } from "node:test";
import { events } from "../../server/offcamd/web/static/eventstream.js";

const bytes = (text) => new TextEncoder().encode(text);

/** The events of a body that comes in these pieces, and how many pieces were heard. */
async function read(...pieces) {
  let heard = 0;
  const found = [];
  const body = ReadableStream.from(pieces);
  for await (const event of events(body, () => (heard += 1))) found.push(event);
  return { found, heard };
}

const TEXT = "retry: 2000\n\nevent: stats\ndata: {\"a\": 1}\n\n: still here\n\nevent: run\ndata: one\ndata: two\n\ndata: unnamed\n\n";
const EVENTS = [["stats", '{"a": 1}'], ["run", "one\ntwo"], ["message", "unnamed"]];

test("events are told with their names, comments are not", async () => {
  assert.deepEqual((await read(bytes(TEXT))).found, EVENTS);
});

test("it does not matter where it is cut, nor how lines end", async () => {
  for (const end of ["\n", "\r\n", "\r"]) {
    const whole = bytes(`${TEXT.replaceAll("\n", end)}: the end${end}`);
    for (let cut = 1; cut < whole.length; cut += 1) {
      const { found } = await read(whole.slice(0, cut), whole.slice(cut));
      assert.deepEqual(found, EVENTS, `cut at ${cut}, lines end with ${JSON.stringify(end)}`);
    }
  }
});

test("a letter of several bytes may be cut, too", async () => {
  const whole = bytes("data: épée\n\n");
  assert.deepEqual((await read(...[...whole].map((byte) => new Uint8Array([byte])))).found, [["message", "épée"]]);
});

test("a comment is a sign of life", async () => {
  assert.equal((await read(bytes(": a\n\n"), bytes(": b\n\n"))).heard, 2);
});

test("what is cut off by the end was no event", async () => {
  assert.deepEqual((await read(bytes("data: whole\n\ndata: half\n"))).found, [["message", "whole"]]);
});
