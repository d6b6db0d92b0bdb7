// The side bar: bots, rooms and their threads, adding one.

import * as keep from "./keep.js";

const $ = (id) => document.getElementById(id);

export const keyOf = ({ room, thread }) => JSON.stringify([room, thread ?? null]);

export class Rooms {
  constructor({ go }) {
    this.go = go;
    this.offered = [];
    this.news = new Set();
    this.current = { room: "home", thread: null };
    this.target = null;
    $("add").addEventListener("submit", (event) => this.#add(event));
    $("add-name").addEventListener("keydown", (event) => event.key === "Escape" && this.#aim(null));
    $("side-open").addEventListener("click", () => this.open(true));
    for (const id of ["side-close", "scrim"]) $(id).addEventListener("click", () => this.open(false));
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.open(false));
  }

  /** Slide the side bar in or out; only a phone notices. */
  open(on) {
    const app = $("app");
    if (app.classList.contains("open") === on) return;
    app.classList.toggle("open", on);
    $("side-open").setAttribute("aria-expanded", String(on));
    if (on) $("side-close").focus();
    else $("side-open").focus();
  }

  offer(places) {
    this.offered = places;
    this.draw();
  }

  enter(place) {
    this.current = place;
    this.news.delete(keyOf(place));
    $("place-room").textContent = place.room;
    $("place-thread").textContent = place.thread ?? "";
    this.#remember(place);
    this.draw();
  }

  stirred(place) {
    this.#remember(place);
    this.news.add(keyOf(place));
    this.draw();
  }

  draw() {
    const own = keep.places();
    const offered = new Set(this.offered.map(keyOf));
    const rooms = new Map();
    for (const { room, thread } of [...this.offered, ...own, this.current]) {
      if (!rooms.has(room)) rooms.set(room, new Set());
      if (thread !== null) rooms.get(room).add(thread);
    }
    const items = [];
    for (const [room, threads] of rooms) {
      items.push(this.#item({ room, thread: null }, offered));
      for (const thread of threads) items.push(this.#item({ room, thread }, offered));
    }
    const focused = document.activeElement?.dataset?.key;
    $("rooms").replaceChildren(...items);
    if (focused) $("rooms").querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
    const bots = keep.bots();
    $("bots").hidden = bots.length < 2;
    $("bots").replaceChildren(...bots.map((bot) => this.#bot(bot)));
  }

  #bot({ path, title }) {
    const made = document.createElement("a");
    made.href = path;
    made.textContent = title;
    if (path === keep.HERE) made.setAttribute("aria-current", "page");
    return made;
  }

  #item(place, offered) {
    const made = document.createElement("li");
    const button = document.createElement("button");
    const name = document.createElement("span");
    const key = keyOf(place);
    made.className = place.thread === null ? "room" : "thread";
    button.type = "button";
    button.className = "go";
    button.dataset.key = key;
    name.className = "name";
    name.textContent = place.thread ?? place.room;
    button.append(name);
    if (key === keyOf(this.current)) button.setAttribute("aria-current", "true");
    if (this.news.has(key)) {
      button.dataset.news = "";
      button.setAttribute("aria-label", `${name.textContent}, new messages`);
    }
    button.addEventListener("click", () => {
      this.open(false);
      this.go(place);
    });
    made.append(button);
    if (place.thread === null) made.append(this.#mini("+", `New thread in ${place.room}`, () => this.#aim(place.room)));
    else if (!offered.has(key)) made.append(this.#mini("×", `Take ${place.thread} off the list`, () => this.#forget(place)));
    return made;
  }

  #mini(sign, words, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = "mini";
    made.textContent = sign;
    made.setAttribute("aria-label", words);
    made.title = words;
    made.addEventListener("click", act);
    return made;
  }

  /** The form at the bottom adds a thread to this room, or a room. */
  #aim(room) {
    this.target = room;
    $("add-label").textContent = room === null ? "New room" : `New thread in ${room}`;
    if (room !== null) $("add-name").focus();
  }

  #add(event) {
    event.preventDefault();
    const name = $("add-name").value.trim();
    if (!name) return;
    const place = this.target === null ? { room: name, thread: null } : { room: this.target, thread: name };
    $("add-name").value = "";
    this.#aim(null);
    this.open(false);
    this.go(place);
  }

  #remember(place) {
    const known = new Set([...this.offered, ...keep.places()].map(keyOf));
    if (!known.has(keyOf(place))) keep.keepPlaces([...keep.places(), place].slice(-200));
  }

  #forget(place) {
    keep.keepPlaces(keep.places().filter((other) => keyOf(other) !== keyOf(place)));
    if (keyOf(place) === keyOf(this.current)) this.go({ room: place.room, thread: null });
    else this.draw();
  }
}
