"""One module a server, each with an `Adapter` that takes hooks or a hub."""
