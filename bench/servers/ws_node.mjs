// ws on Node: plain, with a room by hand.

import { WebSocketServer } from "ws";

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.env.PORT),
  backlog: 4096,
  perMessageDeflate: false,
});

server.on("connection", (peer, request) => {
  const path = request.url;
  peer.on("message", (data, isBinary) => {
    if (path === "/echo") {
      peer.send(data, { binary: isBinary });
      return;
    }
    for (const other of server.clients) {
      if (path === "/chat" || other !== peer) other.send(data, { binary: isBinary });
    }
  });
  peer.send("ready");
});
