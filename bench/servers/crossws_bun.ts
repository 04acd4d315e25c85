// crossws on Bun: its bun adapter (on uWebSockets).

import bunAdapter from "crossws/adapters/bun";
import { options } from "./crossws_hooks.mjs";

const { websocket, handleUpgrade } = bunAdapter(options);

Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.env.PORT),
  websocket: { ...websocket, perMessageDeflate: false },
  fetch: (request, server) => handleUpgrade(request, server),
});
