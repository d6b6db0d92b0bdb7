// Writing: Enter sends, Shift+Enter breaks the line, `/` offers the commands.

const $ = (id) => document.getElementById(id);

export class Composer {
  constructor({ send, changed }) {
    this.text = $("text");
    this.hints = $("hints");
    this.commands = [];
    this.limit = 32_000;
    this.chosen = -1;
    this.send = send;
    this.changed = changed;
    this.text.addEventListener("input", () => this.#typed());
    this.text.addEventListener("keydown", (event) => this.#key(event));
    this.text.addEventListener("blur", () => this.#hide());
    $("composer").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#typed();
  }

  /** Put words into the field and the cursor behind them. */
  fill(words) {
    this.text.value = words;
    this.#typed();
    this.#hide();
  }

  focus() {
    this.text.focus();
  }

  #typed() {
    this.changed(this.text.value);
    $("send").disabled = !this.text.value.trim();
    this.#fit();
    this.#offer();
  }

  /** Browsers without field-sizing grow the field here. */
  #fit() {
    if (CSS.supports("field-sizing", "content")) return;
    this.text.style.height = "auto";
    this.text.style.height = `${this.text.scrollHeight}px`;
  }

  #key(event) {
    if (event.isComposing) return;
    const offered = !this.hints.hidden;
    if (offered && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      const count = this.hints.children.length;
      this.#choose((this.chosen + (event.key === "ArrowDown" ? 1 : -1) + count) % count);
    } else if (offered && event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation();
      this.#hide();
    } else if (offered && event.key === "Tab" && !event.shiftKey) {
      event.preventDefault();
      this.#take();
    } else if (offered && event.key === "Enter" && !event.shiftKey && this.#unfinished()) {
      event.preventDefault();
      this.#take();
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      this.#submit();
    }
  }

  #submit() {
    const words = this.text.value.trim();
    if (!words || words.length > this.limit) return this.#tooLong(words);
    if (this.send(words)) this.fill("");
  }

  #tooLong(words) {
    if (!words) return;
    this.text.setCustomValidity(`${words.length} characters; ${this.limit} fit into one message`);
    this.text.reportValidity();
    this.text.setCustomValidity("");
  }

  #offer() {
    const typed = this.text.value;
    const found = /^\/\S*$/.test(typed) ? this.commands.filter(({ name }) => `/${name}`.startsWith(typed.toLowerCase())) : [];
    if (!found.length) return this.#hide();
    this.hints.replaceChildren(...found.map((command, index) => this.#hint(command, index)));
    this.hints.hidden = false;
    this.#choose(0);
  }

  #hint({ name, help }, index) {
    const made = document.createElement("li");
    const command = document.createElement("b");
    const words = document.createElement("span");
    made.id = `hint-${index}`;
    made.setAttribute("role", "option");
    made.dataset.command = `/${name}`;
    command.textContent = `/${name}`;
    words.textContent = help;
    made.append(command, words);
    // mousedown: a click would come after the field lost its focus and the list is gone
    made.addEventListener("mousedown", (event) => {
      event.preventDefault();
      this.#choose(index);
      this.#take();
    });
    return made;
  }

  #choose(index) {
    this.chosen = index;
    [...this.hints.children].forEach((made, place) => made.setAttribute("aria-selected", String(place === index)));
    this.hints.children[index].scrollIntoView({ block: "nearest" });
    this.text.setAttribute("aria-activedescendant", `hint-${index}`);
  }

  #unfinished() {
    return this.hints.children[this.chosen]?.dataset.command !== this.text.value;
  }

  #take() {
    this.fill(`${this.hints.children[this.chosen].dataset.command}`);
  }

  #hide() {
    this.hints.hidden = true;
    this.text.removeAttribute("aria-activedescendant");
  }
}
