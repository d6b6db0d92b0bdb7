// What this browser keeps: tokens, rooms added by hand, messages not yet taken. Nothing else, and nothing leaves it.

/** The page's own path, `/local/`: everything is kept per bot. */
export const HERE = location.pathname.endsWith("/") ? location.pathname : `${location.pathname}/`;

const BOT = "hermesd.bot:";
const OUT = `hermesd.out:${HERE}:`;
const PLACES = `hermesd.places:${HERE}`;
const DRAFT = `hermesd.draft:${HERE}:`;

function read(key, otherwise) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

function write(key, value) {
  try {
    localStorage.setItem(key, JSON.stringify(value));
    return true;
  } catch {
    return false; // storage is full or forbidden: the page works on, only without memory
  }
}

function keys(prefix) {
  return Array.from({ length: localStorage.length }, (_, index) => localStorage.key(index)).filter((key) => key.startsWith(prefix));
}

/** This bot's `{token, title}`. */
export const bot = () => read(BOT + HERE, {});
export const keepBot = (values) => write(BOT + HERE, { ...bot(), ...values });

/** Every bot this browser holds a token for: `[{path, title}]`. */
export function bots() {
  return keys(BOT)
    .map((key) => ({ path: key.slice(BOT.length), title: read(key, {}).title || key.slice(BOT.length) }))
    .sort((one, other) => one.path.localeCompare(other.path));
}

/** Rooms and threads added by hand: `[{room, thread}]`. */
export const places = () => read(PLACES, []);
export const keepPlaces = (value) => write(PLACES, value);

/** Messages not yet taken by hermesd, oldest first. One key each, so that two tabs never overwrite each other. */
export function waiting() {
  return keys(OUT)
    .map((key) => read(key, null))
    .filter((message) => message && typeof message.id === "string")
    .sort((one, other) => one.at - other.at);
}
export const keepWaiting = (message) => write(OUT + message.id, message);
export const forgetWaiting = (id) => localStorage.removeItem(OUT + id);
export const isWaitingKey = (key) => key !== null && key.startsWith(OUT);

export const draft = (place) => read(DRAFT + place, "");
export function keepDraft(place, text) {
  if (text) write(DRAFT + place, text);
  else localStorage.removeItem(DRAFT + place);
}

/** An id no other page makes. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
