// One lasting connection: the socket comes back by itself, and can be replaced without anybody noticing.

import { PeerSocket } from "/_crosspeer/client.js";

// "?transport=sse" in the address of the page shows the chat on server-sent events.
const transport = new URLSearchParams(location.search).get("transport") ?? "auto";

export class Connection {
  #url = null;
  #socket = null;

  /**
   * @param onMessage called with each message, parsed
   * @param onState called with "connecting", "connected", "paused" (the server waits for us), "reconnecting" or
   *   "refused", and the time of the next attempt if one waits
   */
  constructor({ onMessage, onState }) {
    this.onMessage = onMessage;
    this.onState = onState;
    // The network is back: an open socket may be dead without knowing it.
    addEventListener("online", () => this.refresh());
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible" && this.#socket?.readyState !== PeerSocket.OPEN) this.refresh();
    });
  }

  /** Connect to a URL, and stay connected to it. The connection to the one before ends now. */
  open(url) {
    leave(this.#socket);
    this.#socket = null;
    this.refresh(url);
  }

  /** Replace the socket by a new one. The old one stays until the new one is open, so nobody sees us leave. */
  refresh(url = this.#url) {
    this.#url = url;
    if (!url) return;
    const before = this.#socket;
    forget(before);
    if (before?.readyState !== PeerSocket.OPEN) {
      leave(before);
      this.onState("connecting");
    }
    const socket = new PeerSocket(url, [], { transport });
    this.#socket = socket;
    socket.onopen = () => {
      leave(before);
      this.onState("connected");
    };
    socket.onmessage = ({ data }) => this.onMessage(JSON.parse(data));
    socket.onresumed = () => this.onState("connected");
    socket.onreconnecting = ({ detail }) => {
      leave(before);
      this.onState(socket.readyState === PeerSocket.OPEN ? "paused" : "reconnecting", detail.at);
    };
    socket.onclose = () => {
      leave(before);
      this.onState("refused");
    };
  }

  send(value) {
    if (this.#socket?.readyState === PeerSocket.OPEN) this.#socket.send(JSON.stringify(value));
  }
}

function forget(socket) {
  if (socket) socket.onopen = socket.onmessage = socket.onresumed = socket.onreconnecting = socket.onclose = null;
}

function leave(socket) {
  forget(socket);
  socket?.close();
}
