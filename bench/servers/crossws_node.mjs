// crossws on Node: its node adapter (on ws).

import { createServer } from "node:http";
import nodeAdapter from "crossws/adapters/node";
import { options } from "./crossws_hooks.mjs";

const { handleUpgrade } = nodeAdapter(options);
const server = createServer((_request, response) => response.writeHead(404).end());
server.on("upgrade", handleUpgrade);
server.listen({ host: "127.0.0.1", port: Number(process.env.PORT), backlog: 4096 });
