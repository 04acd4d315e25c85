//! The engine over real sockets, polled by hand.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::*;
use crate::frame::{Header, Kind, Opcode, write};
use crate::limits::Limits;

/// A message for which `Engine` has a bug, in tests.
pub(super) const POISON: &[u8] = b"a bug in the engine";

/// What was told, for comparing.
#[derive(Debug, PartialEq)]
enum Told {
    Asked,
    Message(Key, Vec<u8>),
    Closed(Key, u16),
    Other,
}

struct Scene {
    engine: Engine,
    address: std::net::SocketAddr,
    started: Instant,
}

impl Scene {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let mut engine = Engine::new(Limits::default(), None).unwrap();
        engine.listen(OwnedFd::from(listener)).unwrap();
        Self { engine, address, started: Instant::now() }
    }

    /// Poll until something is told that `wanted` takes.
    fn wait<R>(&mut self, wanted: impl Fn(&Told) -> Option<R>) -> R {
        loop {
            assert!(self.started.elapsed() < Duration::from_secs(20), "it is not told");
            self.engine.poll(self.started.elapsed());
            while let Some((key, told)) = self.engine.next(|event| match event {
                NetEvent::Asked(key, ..) => (Some(key), Told::Asked),
                NetEvent::Message(key, _, payload) => (None, Told::Message(key, payload.to_vec())),
                NetEvent::Closed(key, end, _) => (None, Told::Closed(key, end.code)),
                _ => (None, Told::Other),
            }) {
                if let Some(key) = key {
                    assert!(self.engine.accept(key, "/", None, None, []).unwrap());
                    self.engine.subscribe(key, "all").unwrap();
                }
                if let Some(found) = wanted(&told) {
                    self.engine.flush();
                    return found;
                }
            }
            self.engine.flush();
        }
    }

    fn connect(&mut self) -> TcpStream {
        let mut client = TcpStream::connect(self.address).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
            sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        client.write_all(request.as_bytes()).unwrap();
        self.wait(|told| (*told == Told::Asked).then_some(()));
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            client.read_exact(&mut byte).unwrap();
            answer.push(byte[0]);
        }
        client
    }
}

fn say(client: &mut TcpStream, payload: &[u8]) {
    let mut bytes = Vec::new();
    let key = Some([1, 2, 3, 4]);
    write(&mut bytes, Header { fin: true, rsv1: false, opcode: Opcode::Binary, key, len: 0 }, payload);
    client.write_all(&bytes).unwrap();
}

#[test]
fn a_bug_ends_one_connection_and_no_other() {
    let mut scene = Scene::new();
    let (mut bad, mut good) = (scene.connect(), scene.connect());
    say(&mut good, b"before");
    let theirs = scene.wait(|told| match told {
        Told::Message(key, _) => Some(*key),
        _ => None,
    });
    say(&mut bad, POISON);
    let (key, code) = scene.wait(|told| match told {
        Told::Closed(key, code) => Some((*key, *code)),
        _ => None,
    });
    assert_ne!(key, theirs);
    assert_eq!(code, 1011);
    assert_eq!(bad.read(&mut [0]).unwrap_or(0), 0, "the connection is gone");

    say(&mut good, b"after");
    scene.wait(|told| (*told == Told::Message(theirs, b"after".to_vec())).then_some(()));
    let frame = crate::Frame::message(Kind::Text, b"to all");
    let all = Publication { topic: "all", namespace: None, frame: &frame, compress: None };
    scene.engine.publish(&all, u32::MAX, &mut Vec::new());
    scene.engine.flush();
    let mut received = [0; 8];
    good.read_exact(&mut received).unwrap();
    assert_eq!(&received, b"\x81\x06to all");
    assert_eq!(scene.engine.len(), 1);
}

#[test]
fn who_comes_with_one_of_the_last_descriptors_is_told_to_come_later() {
    let mut scene = Scene::new();
    let mut guest = scene.connect();
    scene.engine.reserve_from(0);
    let mut late = TcpStream::connect(scene.address).unwrap();
    late.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    while scene.engine.take_turned_away() == 0 {
        assert!(scene.started.elapsed() < Duration::from_secs(20), "it is not turned away");
        scene.engine.poll(scene.started.elapsed());
    }
    let mut answer = String::new();
    late.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");

    say(&mut guest, b"still here");
    scene.wait(|told| matches!(told, Told::Message(_, payload) if payload == b"still here").then_some(()));
}
