// The conversation on the page: messages, lines about people, and where the reader is in it.

import { paintAvatar } from "./identity.js";

const MOST_ENTRIES = 500;
const NEAR_THE_END = 60;
const SAME_BREATH = 5 * 60_000;
const LINK = /https?:\/\/[^\s<>"']+/gi;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

export class Log {
  #messages = new Map();
  #unsent = new Map();
  #atEnd = true;
  #unread = 0;

  constructor({ log, entries, unsent, chip, empty }) {
    Object.assign(this, { log, entries, unsentList: unsent, chip, empty });
    log.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    chip.addEventListener("click", () => this.toEnd());
    // A line more in the composer, or a keyboard on the screen, must not hide the last message.
    new ResizeObserver(() => this.#atEnd && this.toEnd()).observe(log);
  }

  clear() {
    this.#messages.clear();
    this.#unsent.clear();
    this.entries.replaceChildren();
    this.unsentList.replaceChildren();
    this.toEnd();
    this.#update();
  }

  /** Show a message once, however often it comes. True if it is new. */
  said(message, { mine }) {
    this.#take(this.#unsent, message.id);
    if (this.#messages.has(message.id)) return false;
    const item = this.#bubble(message, mine, this.entries.lastElementChild);
    this.#messages.set(message.id, item);
    this.#append(this.entries, item, mine);
    return true;
  }

  /** Show a message of ours that nobody has received yet. */
  waiting(message) {
    const before = this.unsentList.lastElementChild ?? this.entries.lastElementChild;
    const item = this.#bubble(message, true, before);
    item.classList.add("waiting");
    this.#unsent.set(message.id, item);
    this.#append(this.unsentList, item, true);
  }

  /** Take back a message that the server refused. */
  refused(id) {
    this.#take(this.#unsent, id);
  }

  /** Show a line about the room. Returns it, so that it can be taken back. */
  notice(text, kind) {
    const item = make("li", `notice ${kind}`, make("span", "", text), timeOf(new Date()));
    item.dataset.testid = "notice";
    this.#append(this.entries, item, false, false);
    return item;
  }

  toEnd() {
    this.log.scrollTop = this.log.scrollHeight;
    this.#atEnd = true;
    this.#unread = 0;
    this.#update();
  }

  #append(list, item, jump, counts = true) {
    list.append(item);
    if (jump || this.#atEnd) {
      this.#forgetOldest();
      this.toEnd();
    } else if (counts) {
      this.#unread += 1;
      this.#update();
    }
  }

  #take(map, id) {
    map.get(id)?.remove();
    map.delete(id);
  }

  #forgetOldest() {
    while (this.entries.childElementCount > MOST_ENTRIES) {
      const oldest = this.entries.firstElementChild;
      this.#messages.delete(oldest.dataset.id);
      oldest.remove();
    }
  }

  #bubble({ id, from, text, at }, mine, before) {
    const date = new Date(at);
    const head = make("p", "head", make("span", "author", mine ? "You" : from.name), timeOf(date));
    const bubble = make("p", "bubble", withLinks(text));
    bubble.title = calendar.format(date);
    bubble.dir = "auto";
    bubble.dataset.testid = "text";
    const item = make("li", "message", make("div", "words", head, bubble));
    if (!mine) item.prepend(paintAvatar(make("span"), from));
    item.classList.toggle("mine", mine);
    Object.assign(item.dataset, { testid: "message", id, from: from.id, at });
    item.classList.toggle("follows", goesOn(before, item));
    return item;
  }

  #scrolled() {
    this.#atEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < NEAR_THE_END;
    if (this.#atEnd) this.#unread = 0;
    this.#update();
  }

  #update() {
    this.chip.hidden = this.#unread === 0;
    this.chip.textContent = this.#unread === 1 ? "1 new message" : `${this.#unread} new messages`;
    this.empty.hidden = this.#messages.size + this.#unsent.size > 0;
  }
}

/** Whether a message goes on from the entry before: same person, soon after. */
function goesOn(before, { dataset: { from, at } }) {
  return before?.dataset.from === from && Date.parse(at) - Date.parse(before.dataset.at) < SAME_BREATH;
}

/** Text as it is, with its web addresses as links. Nothing in it is ever read as HTML. */
export function withLinks(text) {
  const parts = document.createDocumentFragment();
  let end = 0;
  for (const match of text.matchAll(LINK)) {
    const address = withoutTail(match[0]);
    if (!URL.canParse(address)) continue;
    const link = make("a", "", address);
    link.href = address;
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
    parts.append(text.slice(end, match.index), link);
    end = match.index + address.length;
  }
  parts.append(text.slice(end));
  return parts;
}

/** A web address without the end of the sentence that it stands in. */
function withoutTail(address) {
  const bare = address.replace(/[.,;:!?\]}]+$/, "");
  const opensAll = bare.split("(").length >= bare.split(")").length;
  return opensAll || !bare.endsWith(")") ? bare : withoutTail(bare.slice(0, -1));
}

function timeOf(date) {
  const time = make("time", "", clock.format(date));
  time.dateTime = date.toISOString();
  return time;
}

function make(tag, className = "", ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}
