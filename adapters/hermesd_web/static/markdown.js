// A tree of safe elements becomes DOM nodes. No HTML is ever parsed here, and only these tags can be built.

const TAGS = new Set(
  "p h1 h2 h3 h4 h5 h6 ul ol li blockquote pre code em strong s a br hr table thead tbody tr th td".split(" "),
);

export function build(nodes) {
  const fragment = document.createDocumentFragment();
  for (const node of nodes) fragment.append(typeof node === "string" ? node : element(node));
  return fragment;
}

function element([tag, attributes, children]) {
  if (!TAGS.has(tag)) return build(children);
  const made = document.createElement(tag);
  made.append(build(children));
  if (tag === "a") return link(made, attributes.href || "");
  if (tag === "pre") return code(made, attributes.lang);
  if (tag === "table") return wrapped("wide", made);
  if (tag === "ol" && attributes.start) made.start = Number(attributes.start);
  if (attributes.align) made.dataset.align = attributes.align;
  return made;
}

function link(made, href) {
  if (!/^(https?:\/\/|mailto:)/i.test(href)) return made;
  made.href = href;
  made.rel = "noopener noreferrer";
  made.target = "_blank";
  return made;
}

function wrapped(name, ...inside) {
  const made = document.createElement("div");
  made.className = name;
  made.append(...inside);
  return made;
}

function code(made, language) {
  made.tabIndex = 0;
  made.setAttribute("aria-label", language ? `${language} code` : "code");
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(made.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(made);
      button.textContent = "Press Ctrl+C";
    }
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  return wrapped("code", made, button);
}
