// Who we are in this browser, and how people look.

const NAME_KEY = "crosspeer-chat-name";
const ID_KEY = "crosspeer-chat-id";
const TINTS = 10;

const MOODS = ["Quiet", "Sunny", "Curious", "Gentle", "Brave", "Merry", "Patient", "Swift", "Kind", "Bright"];
const ANIMALS = ["Heron", "Otter", "Badger", "Wren", "Fox", "Lynx", "Robin", "Hare", "Seal", "Marten"];

/** A random UUID. (`crypto.randomUUID` is missing on plain http pages of other machines.) */
export function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

/** The id of this tab: it outlives reconnects and reloads, and a second tab is a second person. */
export function clientId() {
  const known = read("sessionStorage", ID_KEY);
  if (known) return known;
  const id = uuid();
  write("sessionStorage", ID_KEY, id);
  return id;
}

/** The name in this tab, else the one that was last used in this browser; null if nobody was asked yet. */
export function rememberedName() {
  return read("sessionStorage", NAME_KEY) ?? read("localStorage", NAME_KEY);
}

export function rememberName(name) {
  write("sessionStorage", NAME_KEY, name);
  write("localStorage", NAME_KEY, name);
}

export function suggestName() {
  const pick = (words) => words[Math.floor(Math.random() * words.length)];
  return `${pick(MOODS)} ${pick(ANIMALS)}`;
}

/** The first letters of the first and the last word. */
export function initials(name) {
  const words = name.split(" ").filter(Boolean);
  const letters = [words.at(0), words.length > 1 ? words.at(-1) : ""].map((word) => Array.from(word ?? "")[0] ?? "");
  return letters.join("").toUpperCase();
}

/** A round picture of a person: initials on the colour that belongs to the id. */
export function paintAvatar(element, { id, name }) {
  element.className = "avatar";
  element.textContent = initials(name);
  element.dataset.tint = parseInt(id.slice(0, 8), 16) % TINTS;
  element.setAttribute("aria-hidden", "true");
  return element;
}

// Storage may be switched off: then nothing is remembered, and all else works.

function read(storage, key) {
  try {
    return window[storage].getItem(key);
  } catch {
    return null;
  }
}

function write(storage, key, value) {
  try {
    window[storage].setItem(key, value);
  } catch {
    // Not remembered.
  }
}
