// Server-sent events, read by hand: the browser's own EventSource cannot send a token.

/**
 * The events of a text/event-stream: [name, data] each.
 * @param {ReadableStream<BufferSource>} body
 * @param {() => void} alive called for whatever comes, comments too
 * @returns {AsyncGenerator<[string, string], void, void>}
 */
export async function* events(body, alive) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let name = "message";
  /** @type {string[]} */
  let data = [];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    alive();
    const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        if (data.length) yield [name, data.join("\n")];
        name = "message";
        data = [];
      } else if (line.startsWith("event:")) name = line.slice(6).trim();
      else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
    }
  }
}
