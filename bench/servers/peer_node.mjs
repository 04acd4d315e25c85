// The PeerJS broker of npm, as its README embeds it, with room for many clients.
import { PeerServer } from "peer";

PeerServer({ host: "127.0.0.1", port: Number(process.env.PORT), alive_timeout: 12_000, concurrent_limit: 20_000 });
