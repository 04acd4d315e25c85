"""WebRTC behind one small port: `port` is what the client knows, and each engine is a file of its own."""
