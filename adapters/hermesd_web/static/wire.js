// Talking to hermesd: one call to say something, one stream to hear. The token travels in a header only.

/** hermesd said no; `status` tells which no. */
export class Refused extends Error {
  constructor(status, words) {
    super(words);
    this.status = status;
  }
}

async function refusal(response) {
  const body = await response.json().catch(() => ({}));
  return new Refused(response.status, body.error || `answered ${response.status}`);
}

/** Hand a message over; resolves once it is on disk. The same id again changes nothing. */
export async function say(token, { id, room, thread, text }) {
  const response = await fetch("api/messages", {
    method: "POST",
    headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: JSON.stringify({ id, room, thread, text }),
    cache: "no-store",
    signal: AbortSignal.timeout(30_000),
  });
  if (!response.ok) throw await refusal(response);
}

/** Hear one place until the stream ends; calls `hear(event, data)` for each event. Throws when it cannot be opened. */
export async function listen(token, { room, thread }, cursor, signal, hear, alive) {
  const query = new URLSearchParams({ room });
  if (thread !== null) query.set("thread", thread);
  if (cursor !== null) query.set("after", cursor);
  const response = await fetch(`api/stream?${query}`, {
    headers: { Authorization: `Bearer ${token}`, Accept: "text/event-stream" },
    cache: "no-store",
    signal,
  });
  if (!response.ok) throw await refusal(response);
  alive();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    alive();
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) dispatch(block, hear);
  }
}

function dispatch(block, hear) {
  let name = "";
  let data = "";
  for (const line of block.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    else if (line.startsWith("data: ")) data += line.slice(6);
  }
  if (name) hear(name, JSON.parse(data));
}
