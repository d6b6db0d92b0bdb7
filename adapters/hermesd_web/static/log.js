// The conversation on the screen: messages, days, those that wait, who is writing.

import { build } from "./markdown.js";

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });
const dayName = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
/** Messages of one speaker closer than this, in seconds, stand together. */
const TOGETHER = 300;
/** Messages kept on the screen. */
const MOST = 1000;

const $ = (id) => document.getElementById(id);

export class Log {
  constructor({ discard }) {
    this.box = $("log");
    this.scroll = $("scroll");
    this.newer = $("newer");
    this.discard = discard;
    this.title = "hermesd";
    this.shown = new Map();
    this.last = null;
    this.newer.addEventListener("click", () => this.toEnd());
    this.scroll.addEventListener("scroll", () => this.#atEnd() && (this.newer.hidden = true), { passive: true });
    new ResizeObserver(() => this.stick && this.toEnd()).observe(this.scroll);
    this.stick = true;
    this.scroll.addEventListener("scroll", () => (this.stick = this.#atEnd()), { passive: true });
  }

  /** Empty the screen for another place. */
  clear() {
    this.box.setAttribute("aria-live", "off");
    this.box.replaceChildren();
    this.shown.clear();
    this.last = null;
    this.newer.hidden = true;
    this.stick = true;
    this.typing(false);
  }

  /** From now on new messages are read out. */
  ready() {
    requestAnimationFrame(() => this.box.setAttribute("aria-live", "polite"));
  }

  get empty() {
    return this.shown.size === 0;
  }

  /** Show entries of the transcript; one already shown stays where it is, a waiting one takes its place. */
  add(entries) {
    const follow = this.#atEnd();
    let fresh = false;
    for (const entry of entries) {
      const known = this.shown.get(entry.id);
      if (known && !known.classList.contains("waiting")) continue;
      known?.remove();
      this.shown.delete(entry.id);
      this.#append(entry).classList.toggle("still", Boolean(known));
      fresh = true;
      if (entry.from === "out") this.typing(false);
    }
    while (this.shown.size > MOST) {
      const [id, oldest] = this.shown.entries().next().value;
      oldest.remove();
      this.shown.delete(id);
    }
    this.#tail();
    if (follow) this.toEnd();
    else if (fresh) this.newer.hidden = false;
  }

  /** Show a message that hermesd has not shown back yet. */
  wait(message, words, refused = false) {
    if (this.shown.has(message.id) && !this.shown.get(message.id).classList.contains("waiting")) return;
    let made = this.shown.get(message.id);
    if (!made) {
      made = this.#message({ ...message, from: "in" });
      made.classList.add("waiting");
      const fate = document.createElement("p");
      fate.className = "fate";
      made.append(fate);
      this.shown.set(message.id, made);
      this.box.append(made);
      this.toEnd();
    }
    made.classList.toggle("refused", refused);
    const fate = made.querySelector(".fate");
    if (fate.dataset.words === words) return;
    fate.dataset.words = words;
    fate.replaceChildren(words);
    if (refused) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Discard";
      button.addEventListener("click", () => this.discard(message.id));
      fate.append(" ", button);
    }
  }

  /** Take a message off the screen. */
  drop(id) {
    this.shown.get(id)?.remove();
    this.shown.delete(id);
  }

  typing(on) {
    clearTimeout(this.fading);
    const follow = this.#atEnd();
    $("typing").hidden = !on;
    $("typing-words").textContent = on ? `${this.title} is writing…` : "";
    if (!on) return;
    this.fading = setTimeout(() => this.typing(false), 8000);
    if (follow) this.toEnd();
  }

  toEnd() {
    this.scroll.scrollTop = this.scroll.scrollHeight;
    this.newer.hidden = true;
  }

  #atEnd() {
    return this.scroll.scrollHeight - this.scroll.scrollTop - this.scroll.clientHeight < 80;
  }

  /** Messages that wait stand below everything that was said. */
  #tail() {
    for (const made of [...this.box.querySelectorAll(".waiting")]) this.box.append(made);
  }

  #append(entry) {
    const moment = new Date(entry.at * 1000);
    const before = this.last;
    if (!before || new Date(before.at * 1000).toDateString() !== moment.toDateString()) this.#day(moment);
    else if (before.from === entry.from && entry.at - before.at < TOGETHER) entry = { ...entry, again: true };
    this.last = entry;
    const made = this.#message(entry);
    this.shown.set(entry.id, made);
    this.box.append(made);
    return made;
  }

  #day(moment) {
    const made = document.createElement("p");
    made.className = "day";
    const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(moment).setHours(0, 0, 0, 0)) / 86_400_000);
    made.textContent = days === 0 ? "Today" : days === 1 ? "Yesterday" : dayName.format(moment);
    this.box.append(made);
  }

  #message(entry) {
    const made = document.createElement("article");
    made.className = `message ${entry.from === "in" ? "you" : "bot"}${entry.again ? " again" : ""}`;
    made.dataset.id = entry.id;
    const who = document.createElement("p");
    who.className = "who";
    const name = document.createElement("b");
    name.textContent = entry.from === "in" ? "You" : this.title;
    const time = document.createElement("time");
    const moment = new Date(entry.at * 1000);
    time.dateTime = moment.toISOString();
    time.textContent = clock.format(moment);
    time.title = full.format(moment);
    who.append(name, time);
    const body = document.createElement("div");
    body.className = "body";
    body.append(entry.tree ? build(entry.tree) : entry.text);
    made.append(who, body);
    return made;
  }
}
