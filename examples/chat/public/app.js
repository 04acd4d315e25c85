// The chat: what comes from the server goes to the page, and the other way round.

import { Connection } from "./connection.js";
import { clientId, rememberedName, rememberName, suggestName, uuid } from "./identity.js";
import { Log } from "./log.js";
import { Panel, roomOfAddress } from "./panel.js";

const TYPING_EVERY = 2_000;
const TYPING_LASTS = 4_000;
const BACK_WITHIN = 15_000;
const ROOMS_EVERY = 10_000;
const STATES = {
  connecting: "Connecting",
  connected: "Connected",
  paused: "Reconnecting",
  reconnecting: "Reconnecting",
  refused: "Not connected",
};

const $ = (id) => document.getElementById(id);
const composer = $("composer");
const panel = new Panel();
const log = new Log({ log: $("log"), entries: $("entries"), unsent: $("unsent"), chip: $("chip"), empty: $("empty") });
const connection = new Connection({ onMessage: receive, onState: showState });

let me = { id: "", name: "" }; // the id as the others see it, from the server
let room = roomOfAddress();
let isWelcome = false; // between the server's welcome and the end of the connection
let rooms = [];
let unseen = 0;
let lastTyped = 0;
let countdown = 0;
const people = new Map(); // id to person
const lastSeen = new Map(); // id to when they were last here, and the line that says that they left
const typing = new Map(); // id to { name, timer }
const outbox = new Map(); // id to what we said in which room, until its echo comes back

// From the server

const handlers = {
  welcome({ id, name, people: here, messages }) {
    me = { id, name };
    people.clear();
    for (const person of here) people.set(person.id, person);
    $("log").setAttribute("aria-busy", "true");
    for (const message of messages) showMessage(message);
    $("log").setAttribute("aria-busy", "false");
    panel.showMe(me);
    showPeople();
    refreshRooms();
    isWelcome = true;
    sendOutbox();
  },

  said(message) {
    stopTyping(message.from.id);
    if (showMessage(message) && message.from.id !== me.id && document.hidden) {
      unseen += 1;
      showTitle();
    }
  },

  joined({ id, name }) {
    const known = people.get(id);
    people.set(id, { id, name });
    showPeople();
    if (known) {
      if (known.name !== name) log.notice(`${known.name} is now ${name}`, "renamed");
      return;
    }
    // Who is back within some seconds never left: a reload, or a connection that broke.
    const before = lastSeen.get(id);
    lastSeen.delete(id);
    if (before && Date.now() - before.at < BACK_WITHIN) before.line?.remove();
    else log.notice(`${name} joined`, "joined");
  },

  left({ id, name }) {
    people.delete(id);
    stopTyping(id);
    showPeople();
    lastSeen.set(id, { at: Date.now(), line: log.notice(`${name} left`, "left") });
  },

  typing({ from }) {
    clearTimeout(typing.get(from.id)?.timer);
    typing.set(from.id, { name: from.name, timer: setTimeout(() => stopTyping(from.id), TYPING_LASTS) });
    showTyping();
  },

  error({ id, text }) {
    outbox.delete(id);
    log.refused(id);
    log.notice(text, "error");
  },
};

function receive(message) {
  handlers[message.type]?.(message);
}

// To the server

function say(text) {
  const message = { id: uuid(), room, text };
  outbox.set(message.id, message);
  log.waiting({ ...message, from: me, at: new Date().toISOString() });
  if (isWelcome) send(message);
}

/** Say again what has no echo yet. Under the same id: server and pages know it if it came through after all. */
function sendOutbox() {
  for (const message of outbox.values()) {
    if (message.room === room) send(message);
  }
}

function send({ id, text }) {
  connection.send({ type: "say", id, text });
}

function tellTyping() {
  if (!composer.value.trim() || Date.now() - lastTyped < TYPING_EVERY) return;
  lastTyped = Date.now();
  connection.send({ type: "typing" });
}

function address() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const query = new URLSearchParams({ name: me.name, id: clientId() });
  return `${scheme}//${location.host}/rooms/${room}?${query}`;
}

function enterRoom() {
  room = roomOfAddress();
  panel.show(false);
  isWelcome = false;
  people.clear();
  lastSeen.clear();
  for (const id of [...typing.keys()]) stopTyping(id);
  log.clear();
  for (const message of outbox.values()) {
    if (message.room === room) log.waiting({ ...message, from: me, at: new Date().toISOString() });
  }
  $("room-title").textContent = room;
  showTitle();
  showPeople();
  connection.open(address());
}

async function refreshRooms() {
  try {
    const response = await fetch("/api/rooms");
    if (response.ok) rooms = await response.json();
  } catch {
    // The server is away; the status says so already.
  }
  panel.showRooms(rooms, room, people.size);
}

// On the page

function showState(state, nextAttempt) {
  if (state === "reconnecting" && isWelcome) {
    for (const id of people.keys()) lastSeen.set(id, { at: Date.now() });
  }
  isWelcome &&= state === "connected" || state === "paused";
  $("status").dataset.state = state;
  $("status-text").textContent = STATES[state];
  const tick = () => {
    const seconds = Math.max(1, Math.ceil((nextAttempt - Date.now()) / 1000));
    $("countdown").textContent = nextAttempt ? ` in ${seconds} s` : "";
  };
  tick();
  clearInterval(countdown);
  if (nextAttempt) countdown = setInterval(tick, 500);
}

function showMessage(message) {
  outbox.delete(message.id);
  return log.said(message, { mine: message.from.id === me.id });
}

function showPeople() {
  panel.showPeople([...people.values()], me);
  panel.showRooms(rooms, room, people.size);
}

function stopTyping(id) {
  clearTimeout(typing.get(id)?.timer);
  if (typing.delete(id)) showTyping();
}

function showTyping() {
  const names = Array.from(typing.values(), ({ name }) => name);
  const [first, second] = names;
  const words = ["", `${first} is typing`, `${first} and ${second} are typing`][names.length];
  $("typing").textContent = words ?? "Several people are typing";
}

function showTitle() {
  document.title = `${unseen ? `(${unseen}) ` : ""}${room} · crosspeer chat`;
}

function growComposer() {
  composer.style.height = "auto";
  composer.style.height = `${composer.scrollHeight}px`;
  $("send").disabled = !composer.value.trim();
}

function submit(event) {
  event.preventDefault();
  const text = composer.value.trim();
  composer.focus();
  if (!text) return;
  composer.value = "";
  lastTyped = 0;
  growComposer();
  say(text);
}

/** Ask for a name, the first time or again. */
function askName() {
  $("name").value = me.name || suggestName();
  $("join").textContent = me.name ? "Change name" : "Join the room";
  $("start").returnValue = "";
  $("start").showModal();
  $("name").select();
}

function named() {
  const isFirst = !me.name;
  if (!isFirst && $("start").returnValue !== "join") return; // left with Escape
  const name = $("name").value.trim().replace(/\s+/g, " ") || me.name || suggestName();
  composer.focus();
  if (name === me.name) return;
  me = { ...me, name };
  rememberName(name);
  panel.showMe(me);
  if (isFirst) enterRoom();
  else connection.refresh(address());
}

function start() {
  $("form").addEventListener("submit", submit);
  $("send").addEventListener("mousedown", (event) => event.preventDefault()); // the keyboard of a phone stays up
  composer.addEventListener("input", () => (growComposer(), tellTyping()));
  composer.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
  });
  $("rename").addEventListener("click", askName);
  $("another-name").addEventListener("click", () => ($("name").value = suggestName()));
  $("start").addEventListener("close", named);
  $("copy-link").addEventListener("click", copyLink);
  addEventListener("hashchange", () => {
    if (!me.name) return;
    enterRoom();
    if (matchMedia("(pointer: fine)").matches) composer.focus(); // on a phone the keyboard would cover the room
  });
  document.addEventListener("visibilitychange", () => {
    unseen = 0;
    showTitle();
  });
  setInterval(() => isWelcome && !document.hidden && refreshRooms(), ROOMS_EVERY);

  me.name = rememberedName() ?? "";
  growComposer();
  if (!me.name) return askName();
  panel.showMe(me);
  enterRoom();
  composer.focus();
}

async function copyLink() {
  const link = `${location.origin}${location.pathname}#${room}`;
  try {
    await navigator.clipboard.writeText(link);
    $("copy-text").textContent = "Copied";
    setTimeout(() => ($("copy-text").textContent = "Copy link"), 2_000);
  } catch {
    prompt("The link to this room:", link);
  }
}

start();
