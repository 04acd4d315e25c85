// `PeerSocket`: the web's `WebSocket`, over a WebSocket or over server-sent events and POSTs, and connected again by
// itself. docs/sse.md tells what it does beyond a `WebSocket`.

const [CONNECTING, OPEN, CLOSING, CLOSED] = [0, 1, 2, 3];
const EVENTS = ["open", "message", "error", "close", "reconnecting", "resumed"];
const [FIRST_DELAY, MAX_DELAY, TIMEOUT] = [500, 10_000, 10_000]; // milliseconds, as all times here
const STABLE = 5_000; // a connection that lasted so long was a good one
const TRIES = 3; // before a transport that has worked is doubted
const FINAL = [400, 401, 403, 404, 410, 421]; // statuses after which another attempt is in vain
const [PING, PONG] = ["crosspeer:ping", "crosspeer:pong"]; // the heartbeat of a hub whose server has none
const TAG = /^\{"topic":("(?:[^"\\\x00-\x1f]|\\["\\])*"),"position":"([0-9a-f]{16}:\d+)"/; // of topics with history
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
/** Longer from attempt to attempt, and for each client another time, so that not all of them come at once. */
const pause = (attempt) => Math.min(MAX_DELAY, FIRST_DELAY * 2 ** attempt) * (0.4 + 0.6 * Math.random());
/** Whether a connection ended by a fault or a restart, and not by somebody's decision. */
const mayReturn = (code) =>
  [1001, 1005, 1006, 1011, 1012, 1013, 1014].includes(code) || (code >= 3000 && code < 5000 && code % 1000 < 500);

export class PeerSocket extends EventTarget {
  binaryType = "blob"; readyState = CONNECTING;
  #url; #options; #link;
  #working = null; // what was open last
  #opened = 0; // when this link was
  #tries = 0; #timer = 0;
  #listening = new AbortController();
  #positions = new Map(); // of tagged topics: a new peer is to get what came after them

  /** `transport`: "auto" (a WebSocket, or events where none can be had), "websocket" or "sse";
   *  `reconnect`: false to stay away after a connection that was not closed on purpose. */
  constructor(url, protocols = [], { transport = "auto", reconnect = true } = {}) {
    super();
    this.#url = new URL(url, globalThis.location?.href);
    this.#url.protocol = this.#url.protocol.replace("http", "ws");
    const kinds = { auto: [websocket, sse], websocket: [websocket], sse: [sse] }[transport];
    if (!kinds) throw new TypeError(`there is no transport ${transport}`);
    this.#options = { protocols, reconnect, kinds };
    for (const type of EVENTS) this.addEventListener(type, (event) => this[`on${type}`]?.(event));
    const { signal } = this.#listening;
    globalThis.addEventListener?.("online", () => this.#hurry(), { signal });
    globalThis.addEventListener?.("pagehide", () => this.#link.leave(), { signal });
    this.#connect();
  }

  get url() { return this.#url.href; }
  get protocol() { return this.#link.protocol ?? ""; }
  get extensions() { return this.#link.extensions ?? ""; }
  get bufferedAmount() { return this.#link.bufferedAmount; }
  get transport() { return this.#working?.name ?? ""; } // "websocket" or "sse", once it was open

  send(data) {
    if (this.readyState === CONNECTING) throw new DOMException("it is not open yet", "InvalidStateError");
    if (this.readyState === OPEN) this.#link.send(data);
  }

  close(code, reason = "") {
    const mayBeSent = code === undefined || code === 1000 || (code >= 3000 && code <= 4999);
    if (!mayBeSent) throw new DOMException("a page closes with 1000 or 3000 to 4999", "InvalidAccessError");
    if (new Blob([reason]).size > 123) throw new DOMException("the reason is too long", "SyntaxError");
    if (this.readyState >= CLOSING) return;
    clearTimeout(this.#timer);
    if (this.readyState === OPEN) this.#link.close(...(code === undefined ? [] : [code, reason]));
    else setTimeout(() => this.#end(1006, "", false));
    this.readyState = CLOSING;
  }

  #connect() {
    this.#timer = 0;
    this.#try(this.#working && this.#tries < TRIES ? [this.#working] : this.#options.kinds);
  }

  #try([open, ...others]) {
    this.#opened = 0;
    const link = (this.#link = open((scheme) => this.#standing(scheme), this.#options.protocols, {
      open: () => {
        [this.#working, this.#opened, this.readyState] = [open, Date.now(), OPEN];
        this.dispatchEvent(new Event("open"));
      },
      message: (data) => {
        if (data === PING) return link.send(PONG);
        const [, topic, position] = TAG.exec(data) ?? [];
        if (topic) this.#positions.delete(topic), this.#positions.set(topic, position);
        if (this.binaryType === "blob" && data instanceof ArrayBuffer) data = new Blob([data]);
        const event = new MessageEvent("message", { data, origin: this.#url.origin });
        if (this.readyState === OPEN) this.dispatchEvent(event);
      },
      paused: (delay) => this.#reconnecting(delay, 1006, ""),
      resumed: () => this.dispatchEvent(new Event("resumed")),
      close: (code, reason, wasClean, status) => {
        if (this.#opened || this.readyState !== CONNECTING) this.#closed(code, reason, wasClean);
        else if (others.length) this.#try(others);
        else if (FINAL.includes(status)) this.#end(1008, `HTTP ${status}`, false);
        else this.#closed(code, reason, wasClean);
      },
    }));
  }

  /** The URL, with where we stand in the topics that spoke last. */
  #standing(scheme) {
    const url = new URL(this.#url);
    url.protocol = url.protocol.replace("ws", scheme);
    const latest = [...this.#positions].slice(-128).map(([topic, position]) => [JSON.parse(topic), position]);
    if (latest.length) url.searchParams.set("crosspeer-positions", new URLSearchParams(latest));
    return url;
  }

  #closed(code, reason, wasClean) {
    const mayCome = this.readyState < CLOSING && this.#options.reconnect && mayReturn(code);
    if (!mayCome) return this.#end(code, reason, wasClean);
    this.readyState = CONNECTING;
    if (code === 1012 || (this.#opened && Date.now() - this.#opened > STABLE)) this.#tries = 0;
    const delay = pause(this.#tries++);
    this.#timer = setTimeout(() => this.#connect(), delay);
    this.#reconnecting(delay, code, reason);
  }

  #reconnecting(delay, code, reason) {
    this.dispatchEvent(new CustomEvent("reconnecting", { detail: { at: Date.now() + delay, code, reason } }));
  }

  #end(code, reason, wasClean) {
    if (this.readyState === CLOSED) return;
    this.readyState = CLOSED;
    this.#listening.abort();
    this.#link.drop();
    if (!wasClean) this.dispatchEvent(new Event("error"));
    this.dispatchEvent(new CloseEvent("close", { code, reason, wasClean }));
  }

  /** The network is back: wait no longer. */
  #hurry() {
    if (!this.#timer) return this.#link.hurry();
    clearTimeout(this.#timer);
    this.#connect();
  }
}

for (const known of [PeerSocket, PeerSocket.prototype]) Object.assign(known, { CONNECTING, OPEN, CLOSING, CLOSED });

function websocket(standing, protocols, on) {
  const socket = new WebSocket(standing("ws"), protocols);
  const tooLate = setTimeout(() => socket.close(), TIMEOUT);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => (clearTimeout(tooLate), on.open());
  socket.onmessage = ({ data }) => on.message(data);
  socket.onclose = ({ code, reason, wasClean }) => (clearTimeout(tooLate), on.close(code, reason, wasClean));
  // The browser closes it with its page, and knows best when it is lost.
  return Object.assign(socket, { drop: () => socket.close(), leave() {}, hurry() {} });
}

const sse = (standing, _protocols, on) => new Events(standing, on);

/** One peer over server-sent events and POSTs, over as many of both as it takes: the server waits for the next. */
class Events {
  bufferedAmount = 0;
  #on;
  #standing;
  #isOver = false;
  #isHeard = true; // Not while it closes: then only what was said is posted yet.
  #token = "";
  #lastId = "";
  #facts; // how many seconds the server waits, and its longest silence
  #queue = []; // what was not answered yet
  #number = 1; // of the first in it
  #isPosting = false;
  #stream = new AbortController();
  #watchdog = 0;

  constructor(standing, on) {
    this.#standing = standing;
    this.#on = on;
    this.#run();
  }

  send(data) {
    const isBinary = data instanceof Blob || data instanceof ArrayBuffer || ArrayBuffer.isView(data);
    this.#push(isBinary ? "b" : "t", new Blob([data]));
  }

  close(code, reason = "") {
    this.#isHeard = false;
    const payload = code === undefined ? [] : [new Uint8Array([code >> 8, code & 255]), reason];
    this.#push("c", new Blob(payload), () => this.#end(code ?? 1005, reason, true));
    setTimeout(() => this.#end(1006, "", false), TIMEOUT / 2);
  }

  drop() {
    [this.#isOver, this.#isHeard] = [true, false];
    this.#stream.abort();
    this.hurry();
  }

  leave() { // The page goes: nobody is to wait for it.
    if (this.#token) this.#postNow(["c2:", new Uint8Array([1001 >> 8, 1001 & 255])], { keepalive: true });
  }

  hurry() {} // Ends the pause before the next GET.

  async #run() {
    for (let attempt = 0, until = 0; this.#isHeard; attempt++) {
      const { code, reason, status, began } = await this.#read();
      if (code) return this.#end(code, reason, true);
      if (!this.#isHeard) return;
      if (began) [attempt, until] = [0, Date.now() + this.#facts.resume * 1000];
      if (!this.#token || status || Date.now() >= until) return this.#end(1006, "", false, status);
      const delay = Math.min(pause(attempt), until - Date.now());
      this.#on.paused(delay);
      await Promise.race([sleep(delay), new Promise((resolve) => (this.hurry = resolve))]);
    }
  }

  /** One GET, to its end: how it was refused, how the server closed, or that it was lost, and whether it had begun. */
  async #read() {
    let began = false;
    const { signal } = (this.#stream = new AbortController());
    this.#watch(TIMEOUT);
    try {
      const headers = { accept: "text/event-stream", ...(this.#lastId && { "last-event-id": this.#lastId }) };
      const response = await fetch(this.#standing("http"), { headers, signal, cache: "no-store" });
      if (!response.headers.get("content-type")?.startsWith("text/event-stream")) return { status: response.status };
      let [rest, event, end] = ["", {}];
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        const lines = (rest + part.value).split("\n");
        rest = lines.pop();
        for (const line of lines) {
          const [, name, value] = /^([^:]*):? ?(.*)$/s.exec(line);
          if (name === "data") event.data = event.data === undefined ? value : `${event.data}\n${value}`;
          else if (line) event[name] = value;
          else if ((end = this.#take(event))) return end;
          else event = {};
        }
        began = Boolean(this.#facts);
        this.#watch(this.#facts?.keepAlive * 3000 || 2 ** 30);
      }
    } catch { // It was cut, here or on the way.
    } finally {
      clearTimeout(this.#watchdog);
      this.#stream.abort();
    }
    return { began };
  }

  #take({ event = "message", data, id = this.#lastId }) {
    this.#lastId = id;
    if (this.#isOver || data === undefined) return;
    if (event === "message") this.#on.message(data);
    else if (event === "text") this.#on.message(JSON.parse(data));
    else if (event === "binary") this.#on.message(Uint8Array.from(atob(data), (char) => char.charCodeAt()).buffer);
    else if (event === "crossws-id") this.#token = data;
    else if (event === "close") return JSON.parse(data);
    else if (event === "start") {
      this.#facts = JSON.parse(data);
      if (!this.#facts.resumed) [this.#queue, this.#number, this.bufferedAmount] = [[], 1, 0];
      this.#on[this.#facts.resumed ? "resumed" : "open"]();
    }
  }

  #push(kind, payload, done) {
    this.#queue.push({ body: new Blob([`${kind}${payload.size}:`, payload]), size: payload.size, done });
    this.bufferedAmount += payload.size;
    if (!this.#isPosting) this.#post();
  }

  /** Post what waits, one POST after the other: under the same number again if there was no answer. */
  async #post() {
    this.#isPosting = true;
    for (let attempt = 0; this.#queue.length && !this.#isOver; ) {
      const queue = this.#queue;
      const batch = queue.map(({ body }) => body);
      const status = await this.#postNow(batch, { headers: { "x-crosspeer-number": `${this.#number}` } });
      if (queue !== this.#queue) continue; // This is another peer by now.
      if (status === 204) {
        [attempt, this.#number] = [0, this.#number + batch.length];
        queue.splice(0, batch.length).forEach(({ size, done }) => ((this.bufferedAmount -= size), done?.()));
      } else {
        if (FINAL.includes(status)) this.#stream.abort(); // The stream will find out what is wrong.
        await sleep(pause(attempt++));
      }
    }
    this.#isPosting = false;
  }

  /** The status of the answer, 0 if there was none. */
  #postNow(parts, { headers, keepalive }) {
    const way = { "x-crossws-id": this.#token, "content-type": "application/x-crosspeer-messages", ...headers };
    const answer = fetch(this.#standing("http"), { method: "POST", headers: way, body: new Blob(parts), keepalive });
    return answer.then(({ status }) => status, () => 0);
  }

  #watch(ms) {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#stream.abort(), ms);
  }

  #end(code, reason, wasClean, status) {
    if (this.#isOver) return;
    this.drop();
    this.#on.close(code, reason, wasClean, status);
  }
}
