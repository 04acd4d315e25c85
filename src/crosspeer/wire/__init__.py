"""What travels: pure codecs and the rules of the protocols. No event loop, no sockets, no HTTP library."""
