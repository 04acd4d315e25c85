// crossws's own client for event streams, told by lines of JSON what to send, and telling by lines what it gets.

import { createInterface } from "node:readline";
import { EventSource } from "eventsource";

globalThis.EventSource = EventSource;
const { WebSocketSSE } = await import("crossws/websocket/sse");

const [, , url, options] = process.argv;
const socket = new WebSocketSSE(url, JSON.parse(options));
const tell = (line) => console.log(JSON.stringify(line));

socket.addEventListener("open", () => tell({ type: "open" }));
socket.addEventListener("message", ({ data }) => tell({ type: "message", data }));
socket.addEventListener("close", () => tell({ type: "close", readyState: socket.readyState }));
socket.addEventListener("error", () => tell({ type: "error" }));

for await (const line of createInterface({ input: process.stdin })) socket.send(JSON.parse(line));
process.exit(0);
