// Answers as Markdown: no raw HTML, no images, links to http(s) only, and the result sanitised once more before it
// enters the page. While an answer streams, its finished blocks stay as they are and only the last one is drawn again.

const md = window.markdownit({ html: false, linkify: false, breaks: false, typographer: false });
md.disable(["image"]);
md.validateLink = (address) => /^(https?:|mailto:)/i.test(address.trim());
const ALLOWED = {
  ALLOWED_TAGS: ["p", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "pre", "code", "em", "strong", "s", "a", "table", "thead", "tbody", "tr", "th", "td"],
  ALLOWED_ATTR: ["href", "class", "start"],
  ALLOW_DATA_ATTR: false, ALLOW_ARIA_ATTR: false, RETURN_DOM_FRAGMENT: true,
};

export const language = (info) => (info || "").trim().split(/[\s{,:]/)[0].toLowerCase();

const draw = (source, onBlock) => {
  const clean = window.DOMPurify.sanitize(md.render(source), ALLOWED);
  for (const link of clean.querySelectorAll("a")) {
    link.rel = "noopener noreferrer nofollow";
    link.target = "_blank";
  }
  for (const block of clean.querySelectorAll("pre > code")) {
    const name = language([...block.classList].find((one) => one.startsWith("language-"))?.slice(9));
    block.parentElement.replaceWith(onBlock(block.textContent, name));
  }
  return clean;
};

// Code highlighted as nodes: highlight.js escapes its input, and what it returns is sanitised like everything else.
export const highlighted = (code, name) => {
  const element = document.createElement("code");
  if (name && window.hljs.getLanguage(name) && code.length < 60_000) {
    const html = window.hljs.highlight(code, { language: name, ignoreIllegals: true }).value;
    element.append(window.DOMPurify.sanitize(html, { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], ALLOW_DATA_ATTR: false, ALLOW_ARIA_ATTR: false, RETURN_DOM_FRAGMENT: true }));
  } else element.textContent = code;
  return element;
};

// Where the last blank line outside a fence ends: what is before it will not change any more.
const settled = (source) => {
  let fence = null, at = 0, end = 0;
  for (const line of source.split("\n")) {
    const found = /^ {0,3}(`{3,}|~{3,})/.exec(line);
    if (found && fence === null) fence = found[1];
    else if (found && line.trim().startsWith(fence) && line.trim() === found[1]) fence = null;
    at += line.length + 1;
    if (fence === null && line.trim() === "" && !/^[ \t]*([-*+]|\d+[.)])[ \t]/m.test(source.slice(end, at))) end = at;
  }
  return Math.min(end, source.length);
};

export class Growing {
  constructor(element, onBlock) {
    Object.assign(this, { element, onBlock, source: "", frozen: 0 });
    this.done = element.appendChild(Object.assign(document.createElement("div"), { className: "frozen" }));
    this.tail = element.appendChild(Object.assign(document.createElement("div"), { className: "tail" }));
  }
  set(source) {
    this.source = source;
    const end = settled(source);
    if (end > this.frozen) {
      this.done.append(draw(source.slice(this.frozen, end), this.onBlock));
      this.frozen = end;
    }
    this.tail.replaceChildren(draw(source.slice(this.frozen), this.onBlock));
  }
  finish() {
    this.element.replaceChildren(draw(this.source, this.onBlock));
  }
}

export const whole = (source, onBlock) => draw(source, onBlock);
