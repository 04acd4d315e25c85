//! The index against Python's, as sets of sets.

use std::collections::BTreeSet;

use super::*;
use proptest::prelude::*;

fn sorted(peers: &[PeerKey]) -> Vec<PeerKey> {
    let mut peers = peers.to_vec();
    peers.sort_unstable();
    peers
}

#[test]
fn names_are_checked_as_in_python() {
    assert_eq!(check_topic("room", 255), Ok(()));
    assert_eq!(check_topic("räume", 6), Ok(()));
    assert_eq!(check_topic("", 255), Err(TopicError::Empty));
    assert_eq!(check_topic("räume", 5), Err(TopicError::TooLong { length: 6, longest: 5 }));
    assert_eq!(check_topic("\n\n\n\n\n\n", 5), Err(TopicError::TooLong { length: 6, longest: 5 }));
    for bad in ["\0", "a\nb", "a\x1f", "\x7f"] {
        assert_eq!(check_topic(bad, 255), Err(TopicError::Control));
    }
    assert_eq!(check_topic("\u{80}__proto__", 255), Ok(()), "as in Python, and names are only names");
    assert!(TopicError::TooMany { most: 1 }.is_limit() && !TopicError::Empty.is_limit());
    assert!(TopicError::TooMany { most: 128 }.to_string().contains("128 topics"));
    assert!(TopicError::TooLong { length: 6, longest: 5 }.to_string().contains("max_topic_length is 5"));
    assert!(!TopicError::Control.to_string().contains('\n') && !TopicError::Empty.to_string().is_empty());
}

#[test]
fn one_topic_more_than_allowed_is_refused_but_not_one_that_is_there() {
    let limits = Limits { max_topics: 2, ..Limits::default() };
    let mut topics = Topics::new();
    topics.join(7, "/");
    assert_eq!(topics.subscribe(7, "a", &limits), Ok(true));
    assert_eq!(topics.subscribe(7, "b", &limits), Ok(true));
    assert_eq!(topics.subscribe(7, "c", &limits), Err(TopicError::TooMany { most: 2 }));
    assert_eq!(topics.subscribe(7, "a", &limits), Ok(false));
    assert_eq!(topics.subscribe(7, "", &limits), Err(TopicError::Empty));
    assert_eq!(topics.len(), 2, "a refused topic leaves nothing behind");
    assert!(topics.unsubscribe(7, "a"));
    assert!(!topics.unsubscribe(7, "a"));
    assert_eq!(topics.subscribe(7, "c", &limits), Ok(true));
}

#[test]
fn namespaces_do_not_see_each_other_and_vanish() {
    let limits = Limits::default();
    let mut topics = Topics::new();
    let (a, b) = (topics.join(1, "/a"), topics.join(2, "/b"));
    assert_ne!(a, b);
    assert_eq!(topics.namespace_of(1), Some(a));
    for peer in [1, 2] {
        topics.subscribe(peer, "room", &limits).unwrap();
    }
    assert_eq!((topics.of("room", a), topics.of("room", b)), (&[1][..], &[2][..]));
    assert_eq!(topics.everywhere("room").flatten().copied().collect::<Vec<_>>(), [1, 2]);
    topics.unsubscribe_all(1);
    assert_eq!(topics.namespace("/a"), Some(a), "the peer is still there");
    topics.leave(1);
    topics.leave(1);
    assert_eq!((topics.namespace("/a"), topics.namespace_of(1)), (None, None));
    assert_eq!(topics.everywhere("room").count(), 1);
    topics.leave(2);
    assert!(topics.is_empty());
    let again = topics.join(2, "/c");
    assert!(topics.of("room", again).is_empty(), "a number that is used again begins empty");
    topics.leave(99);
    assert_eq!(topics.topics_of(99).count(), 0);
    assert!(!topics.is_subscribed(99, "room"));
}

proptest! {
    #[test]
    fn it_does_what_sets_do(acts in prop::collection::vec((0u8..10, 0u32..6, 0u8..5), 0..200)) {
        let limits = Limits { max_topics: 4, ..Limits::default() };
        let mut topics = Topics::new();
        let mut joined: BTreeSet<u32> = BTreeSet::new();
        let mut model: BTreeSet<(String, String, u32)> = BTreeSet::new();
        let space = |peer: u32| format!("/{}", peer % 2);
        for (act, peer, topic) in acts {
            let topic = format!("topic {topic}");
            let entry = (topic.clone(), space(peer), peer);
            if joined.insert(peer) {
                topics.join(peer, &space(peer));
            }
            match act {
                0 => {
                    topics.leave(peer);
                    joined.remove(&peer);
                    model.retain(|entry| entry.2 != peer);
                }
                1 => {
                    topics.unsubscribe_all(peer);
                    model.retain(|entry| entry.2 != peer);
                }
                2..5 => prop_assert_eq!(topics.unsubscribe(peer, &topic), model.remove(&entry)),
                _ => {
                    let held = model.iter().filter(|entry| entry.2 == peer).count();
                    let expected = if model.contains(&entry) {
                        Ok(false)
                    } else if held >= limits.max_topics {
                        Err(TopicError::TooMany { most: limits.max_topics })
                    } else {
                        model.insert(entry);
                        Ok(true)
                    };
                    prop_assert_eq!(topics.subscribe(peer, &topic, &limits), expected);
                }
            }
            let names: BTreeSet<&String> = model.iter().map(|entry| &entry.0).collect();
            prop_assert_eq!(topics.len(), names.len());
            for name in (0..5).map(|at| format!("topic {at}")) {
                let all: Vec<u32> = topics.everywhere(&name).flatten().copied().collect();
                let wanted: Vec<&(String, String, u32)> = model.iter().filter(|entry| entry.0 == name).collect();
                prop_assert_eq!(sorted(&all), sorted(&wanted.iter().map(|entry| entry.2).collect::<Vec<_>>()));
                for at in ["/0", "/1"] {
                    let Some(namespace) = topics.namespace(at) else { continue };
                    let peers: Vec<u32> = wanted.iter().filter(|entry| entry.1 == at).map(|entry| entry.2).collect();
                    prop_assert_eq!(sorted(topics.of(&name, namespace)), peers);
                }
            }
            for &peer in &joined {
                let held: BTreeSet<&str> = topics.topics_of(peer).collect();
                let wanted: BTreeSet<&str> =
                    model.iter().filter(|entry| entry.2 == peer).map(|entry| &*entry.0).collect();
                prop_assert!(held.iter().all(|topic| topics.is_subscribed(peer, topic)));
                prop_assert_eq!(held, wanted);
            }
            prop_assert_eq!(topics.rooms.len() - topics.free.len(), topics.index.values().map(BTreeMap::len).sum::<usize>());
        }
    }
}

#[test]
fn whoever_watches_is_told_of_first_and_last_subscribers() {
    let limits = Limits::default();
    let mut topics = Topics::new();
    topics.join(1, "/a");
    topics.subscribe(1, "early", &limits).unwrap();
    assert_eq!(topics.take_changes(), []);
    topics.watch();
    topics.join(2, "/a");
    topics.join(3, "/b");
    for (peer, topic) in [(1, "x"), (2, "x"), (3, "x"), (2, "early")] {
        topics.subscribe(peer, topic, &limits).unwrap();
    }
    let told = |topics: &mut Topics| -> Vec<(String, String, bool)> {
        let changes = topics.take_changes();
        changes.into_iter().map(|it| (it.namespace.into(), it.topic.to_string(), it.begun)).collect()
    };
    let row = |namespace: &str, topic: &str, begun| (namespace.to_owned(), topic.to_owned(), begun);
    assert_eq!(told(&mut topics), [row("/a", "early", true), row("/a", "x", true), row("/b", "x", true)]);
    topics.unsubscribe(1, "x");
    topics.leave(3);
    assert!(topics.has_changes());
    topics.leave(2);
    assert_eq!(told(&mut topics), [row("/b", "x", false), row("/a", "x", false)]);
    assert!(!topics.has_changes());
}
