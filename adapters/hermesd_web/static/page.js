// The page's life: take the token from the address, hear the current place for ever, hand over what waits.

import { Composer } from "./composer.js";
import * as keep from "./keep.js";
import { Log } from "./log.js";
import { keyOf, Rooms } from "./rooms.js";
import { listen, Refused, say } from "./wire.js";

const $ = (id) => document.getElementById(id);
/** Milliseconds without a sign of life after which a stream counts as dead. */
const SILENCE = 45_000;
/** A tab nobody looks at gives its connection back after this long: browsers allow only six to one place. */
const UNSEEN = 30_000;
const PAUSES = [300, 700, 1500, 3000];
/** Places whose messages stay in memory. */
const CACHED = 20;

let place = { room: "home", thread: null };
let stream = null;
let failures = 0;
let pumping = false;
let locked = false;
let wake = () => {};
const refused = new Map();
const memory = new Map();

const log = new Log({ discard });
const rooms = new Rooms({ go: (next) => enter(next, true) });
const composer = new Composer({ send, changed: (words) => keep.keepDraft(keyOf(place), words) });

function readAddress() {
  const fragment = new URLSearchParams(location.hash.slice(1));
  const token = fragment.get("token");
  if (token) {
    keep.keepBot({ token });
    locked = false;
  }
  const next = { room: fragment.get("room") || place.room, thread: fragment.get("thread") ?? (fragment.get("room") ? null : place.thread) };
  // the token must not stay in the address bar, the history, or a screenshot
  history.replaceState(null, "", addressOf(next));
  return next;
}

function addressOf({ room, thread }) {
  const fragment = new URLSearchParams({ room });
  if (thread !== null) fragment.set("thread", thread);
  return `#${fragment}`;
}

function enter(next, byHand) {
  if (byHand) history.pushState(null, "", addressOf(next));
  place = next;
  log.clear();
  rooms.enter(place);
  composer.fill(keep.draft(keyOf(place)));
  const known = memory.get(keyOf(place));
  if (known) {
    log.add(known.entries);
    log.ready();
  }
  showWaiting();
  showEmpty(Boolean(known));
  stream?.abort();
  wake();
  if (byHand) composer.focus();
}

function hear(name, data, from) {
  const here = keyOf(from) === keyOf(place);
  if (name === "entries") {
    const known = memory.get(keyOf(from)) ?? { entries: [], cursor: null };
    memory.delete(keyOf(from));
    memory.set(keyOf(from), known);
    while (memory.size > CACHED) memory.delete(memory.keys().next().value);
    known.entries = [...known.entries, ...data.entries].slice(-500);
    known.cursor = data.entries.at(-1)?.cursor ?? known.cursor;
    for (const { id } of data.entries) keep.forgetWaiting(id);
    if (here) log.add(data.entries);
  } else if (name === "bot") {
    log.title = data.bot.title;
    composer.commands = data.commands;
    composer.limit = data.text_limit;
    document.title = data.bot.title;
    $("bot-title").textContent = data.bot.title;
    keep.keepBot({ title: data.bot.title });
    rooms.offer(data.rooms);
  } else if (name === "elsewhere") {
    rooms.stirred(data);
  } else if (name === "typing" && here) {
    log.typing(true);
  } else if (name === "now" && here) {
    log.ready();
    showEmpty(true);
  }
}

async function hearForEver() {
  for (;;) {
    if (locked || document.hidden) await pause(null);
    const from = place;
    let reason = "";
    const control = (stream = new AbortController());
    let silence;
    const alive = () => {
      clearTimeout(silence);
      silence = setTimeout(() => control.abort(), SILENCE);
    };
    alive();
    try {
      const cursor = memory.get(keyOf(from))?.cursor ?? null;
      await listen(keep.bot().token ?? "", from, cursor, control.signal, (name, data) => hear(name, data, from), () => {
        alive();
        if (failures || $("link").dataset.state !== "live") connected();
      });
      if (!control.signal.aborted) failures += 1;
    } catch (error) {
      if (error instanceof Refused && error.status === 401) lock();
      else if (!control.signal.aborted) {
        failures += 1;
        reason = error instanceof Refused ? error.message : "";
      }
    } finally {
      clearTimeout(silence);
      control.abort();
    }
    if (keyOf(from) !== keyOf(place) || locked) continue;
    if (failures) {
      lost(reason);
      await pause(PAUSES[Math.min(failures, PAUSES.length) - 1]);
    }
  }
}

/** Sleep that long, or until something happens that makes another try worth it. */
function pause(milliseconds) {
  return new Promise((resolve) => {
    wake = resolve;
    if (milliseconds !== null) setTimeout(resolve, milliseconds);
  });
}

function connected() {
  failures = 0;
  show("live", "Connected");
  notice("");
  void pump();
}

function lost(reason) {
  show("waiting", "Reconnecting…");
  log.typing(false);
  if (failures > 2) notice(reason ? `hermesd refuses: ${reason}.` : "hermesd is not running. Messages you send will wait here.");
  showWaiting();
}

function lock() {
  locked = true;
  show("locked", "Not signed in");
  notice("This page needs the link that hermesd prints when it starts (hermesd status shows it again). Open that link once in this browser.");
  showEmpty(false);
}

function show(state, words) {
  $("link").dataset.state = state;
  if ($("link-words").textContent !== words) $("link-words").textContent = words;
}

function notice(words) {
  if ($("notice").textContent !== words) $("notice").textContent = words;
  $("notice").hidden = !words;
}

function showEmpty(sure) {
  $("empty").hidden = !(sure && log.empty);
  $("empty-title").textContent = place.thread === null ? `This is ${place.room}` : `${place.thread}, in ${place.room}`;
}

function send(text) {
  const message = { id: keep.newId(), room: place.room, thread: place.thread, text, at: Date.now() / 1000 };
  if (!keep.keepWaiting(message)) {
    notice("This browser's storage is full, so the message cannot be kept safe until it is sent.");
    return false;
  }
  showWaiting();
  showEmpty(false);
  wake();
  void pump();
  return true;
}

function discard(id) {
  refused.delete(id);
  keep.forgetWaiting(id);
  log.drop(id);
  showEmpty(true);
}

function showWaiting() {
  const words = failures ? "waiting for hermesd" : "sending…";
  for (const message of keep.waiting()) {
    if (keyOf(message) !== keyOf(place)) continue;
    const why = refused.get(message.id);
    log.wait(message, why ? `not taken: ${why}` : words, Boolean(why));
  }
}

/** Hand over what waits, oldest first, each under its own id until hermesd has it on disk. */
async function pump() {
  if (pumping || locked) return;
  pumping = true;
  try {
    for (;;) {
      const next = keep.waiting().find(({ id }) => !refused.has(id));
      if (!next) return;
      try {
        await say(keep.bot().token ?? "", next);
        keep.forgetWaiting(next.id);
        if (keyOf(next) === keyOf(place)) log.wait(next, "sent");
      } catch (error) {
        if (error instanceof Refused && error.status === 401) return lock();
        if (!(error instanceof Refused) || error.status === 429 || error.status >= 500) return retryLater();
        refused.set(next.id, error.message);
        showWaiting();
      }
    }
  } finally {
    pumping = false;
  }
}

function retryLater() {
  showWaiting();
  setTimeout(() => void pump(), 2000);
}

for (const button of document.querySelectorAll("[data-try]")) {
  button.addEventListener("click", () => {
    composer.fill(button.dataset.try);
    composer.focus();
  });
}
addEventListener("hashchange", () => {
  const next = readAddress();
  if (keyOf(next) !== keyOf(place)) enter(next, false);
  wake();
});
addEventListener("popstate", () => {
  const next = readAddress();
  if (keyOf(next) !== keyOf(place)) enter(next, false);
});
addEventListener("online", () => wake());
addEventListener("storage", (event) => {
  if (keep.isWaitingKey(event.key)) {
    if (event.newValue !== null) showWaiting();
  } else {
    locked = false;
    rooms.draw();
    wake();
  }
});
let unseen;
document.addEventListener("visibilitychange", () => {
  clearTimeout(unseen);
  if (document.hidden) unseen = setTimeout(() => stream?.abort(), UNSEEN);
  else wake();
});

enter(readAddress(), false);
if (matchMedia("(min-width: 761px)").matches) composer.focus();
void hearForEver();
