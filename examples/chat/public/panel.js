// The side panel: rooms, people, and ourselves. On a phone it slides in over the conversation.

import { paintAvatar } from "./identity.js";

const ROOM = /^[A-Za-z0-9_-]{1,40}$/;
const LOBBY = "lobby";

/** The room that the address names: `/#books`. */
export function roomOfAddress() {
  const name = location.hash.slice(1);
  return ROOM.test(name) ? name : LOBBY;
}

export class Panel {
  constructor() {
    this.panel = byId("panel");
    this.opener = byId("open-panel");
    this.opener.addEventListener("click", () => this.show(true));
    byId("close-panel").addEventListener("click", () => this.show(false));
    byId("rooms").addEventListener("click", () => this.show(false));
    byId("scrim").addEventListener("click", () => this.show(false));
    byId("new-room").addEventListener("submit", (event) => this.#goTo(event));
    this.panel.addEventListener("keydown", (event) => event.key === "Escape" && this.show(false));
    matchMedia("(min-width: 48rem)").addEventListener("change", () => this.show(false));
  }

  /** Open or close it, where there is no room for it beside the conversation. */
  show(open) {
    if (open === this.panel.classList.contains("is-open")) return;
    this.panel.classList.toggle("is-open", open);
    this.opener.setAttribute("aria-expanded", String(open));
    byId("main").inert = open;
    (open ? byId("close-panel") : this.opener).focus();
  }

  /** Rooms that have people, the lobby and the current one. */
  showRooms(rooms, current, peopleHere) {
    const reachable = rooms.filter(({ name }) => ROOM.test(name));
    const counts = new Map([[LOBBY, 0], ...reachable.map(({ name, people }) => [name, people])]);
    counts.set(current, peopleHere);
    const names = [...counts.keys()].sort((a, b) => (b === LOBBY) - (a === LOBBY) || a.localeCompare(b));
    const list = byId("rooms");
    const focused = list.contains(document.activeElement) && document.activeElement.hash;
    list.replaceChildren(...names.map((name) => roomItem(name, counts.get(name), name === current)));
    if (focused) list.querySelector(`[href="${focused}"]`)?.focus();
  }

  showPeople(people, me) {
    const sorted = [...people].sort((a, b) => (b.id === me?.id) - (a.id === me?.id) || a.name.localeCompare(b.name));
    byId("people").replaceChildren(...sorted.map((person) => personItem(person, person.id === me?.id)));
    byId("people-count").textContent = sorted.length || "";
    byId("people-here").textContent = sorted.length > 1 ? `${sorted.length} here` : "";
  }

  showMe(me) {
    byId("my-name").textContent = me.name;
    paintAvatar(byId("my-avatar"), me);
  }

  #goTo(event) {
    event.preventDefault();
    const input = byId("new-room-name");
    const name = input.value.trim().toLowerCase().replace(/\s+/g, "-");
    if (!ROOM.test(name)) return;
    input.value = "";
    location.hash = name;
    this.show(false);
  }
}

function roomItem(name, people, isCurrent) {
  const item = document.createElement("li");
  const link = document.createElement("a");
  const label = document.createElement("span");
  label.className = "room-name";
  label.textContent = name;
  link.append(label);
  link.href = `#${name}`;
  if (isCurrent) link.setAttribute("aria-current", "page");
  if (people > 0) {
    const count = document.createElement("span");
    count.className = "count";
    count.textContent = people;
    count.setAttribute("aria-label", people === 1 ? "1 person" : `${people} people`);
    link.append(" ", count);
  }
  item.append(link);
  return item;
}

function personItem(person, isMe) {
  const item = document.createElement("li");
  const name = document.createElement("span");
  name.className = "person-name";
  name.textContent = person.name;
  item.append(paintAvatar(document.createElement("span"), person), name);
  if (isMe) {
    const you = document.createElement("small");
    you.textContent = "you";
    item.append(" ", you);
  }
  item.dataset.id = person.id;
  return item;
}

function byId(id) {
  return document.getElementById(id);
}
