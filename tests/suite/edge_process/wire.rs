//! Lines of the control socket, there and back.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;

use phoenixd::edge::control::wire::{
    Asked, Backend, Balance, Forwarding, Key, LISTENERS, Listener, NAME_BYTES, Probed, Protocol,
    ProxyProtocol, Rate, Report, Said, Socket, Stage, Stamp, TEXT_BYTES, Table, Target, Transport,
    Unbound, WireError, decode, decode_hello, encode,
};

/// The same numbers in every run (`SplitMix64`).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn number(&mut self) -> u64 {
        // Also those at the ends, and beyond what a double holds.
        let all = self.next();
        all >> self.below(64)
    }

    fn port(&mut self) -> u16 {
        u16::try_from(self.below(65_536)).unwrap()
    }

    fn ip(&mut self) -> IpAddr {
        let bits = u128::from(self.next()) << 64 | u128::from(self.next());
        match self.below(2) {
            0 => IpAddr::V4(u32::try_from(bits & 0xFFFF_FFFF).unwrap().into()),
            _ => IpAddr::V6(bits.into()),
        }
    }

    fn address(&mut self) -> SocketAddr {
        SocketAddr::new(self.ip(), self.port())
    }

    fn text(&mut self) -> String {
        let signs = [
            'a', '9', '-', '"', '\\', '\n', '\u{0}', '\u{202e}', 'é', '🐦', '{',
        ];
        let length = self.below(12);
        let sign = |_| signs[usize::try_from(self.below(11)).unwrap()];
        (0..length).map(sign).collect()
    }

    fn some<T>(&mut self, one: impl FnOnce(&mut Self) -> T) -> Option<T> {
        (self.below(2) == 0).then(|| one(self))
    }

    fn list<T>(&mut self, mut one: impl FnMut(&mut Self, u16) -> T) -> Vec<T> {
        let length = u16::try_from(self.below(4)).unwrap();
        (0..length).map(|index| one(self, index)).collect()
    }

    /// One for each index.
    fn key(&mut self, index: u16) -> Key {
        Key {
            host_ip: self.some(Self::ip),
            host_port: index,
            target: self.port(),
            transport: [Transport::Tcp, Transport::Udp][self.choice(2)],
        }
    }

    fn forwarding(&mut self) -> Forwarding {
        let some = NonZeroU32::new(u32::try_from(self.number() >> 32).unwrap() | 1).unwrap();
        Forwarding {
            protocol: [Protocol::Tcp, Protocol::Http][self.choice(2)],
            balance: [Balance::LeastConn, Balance::RoundRobin][self.choice(2)],
            idle_timeout_ms: self.some(Self::number),
            max_connections: self.some(|_| some),
            rate: self.some(|_| Rate {
                average: some,
                burst: some,
            }),
            proxy_protocol: self
                .some(|numbers| [ProxyProtocol::V1, ProxyProtocol::V2][numbers.choice(2)]),
        }
    }

    fn choice(&mut self, of: u64) -> usize {
        usize::try_from(self.below(of)).unwrap()
    }

    fn table(&mut self) -> Table {
        Table {
            stamp: Stamp {
                session: self.number(),
                epoch: self.number(),
            },
            listeners: self.list(|numbers, index| Listener {
                key: numbers.key(index),
                bind: numbers.list(|numbers, _| numbers.address()),
                forwarding: numbers.forwarding(),
                backends: numbers.list(|numbers, _| Backend {
                    service: numbers.text(),
                    serial: numbers.number(),
                    container: numbers.text(),
                    address: numbers.address(),
                }),
            }),
            draining: self.list(|numbers, _| numbers.text()),
            cut: self.list(|numbers, _| numbers.text()),
        }
    }

    fn asked(&mut self) -> Asked {
        match self.below(5) {
            0 => Asked::Table(self.table()),
            1 => Asked::Targets(self.list(|numbers, index| Target {
                service: numbers.text(),
                serial: numbers.number(),
                container: format!("{index}{}", numbers.text()),
                address: numbers.address(),
                path: numbers.some(Self::text),
                interval_ms: numbers.number(),
                timeout_ms: numbers.number(),
            })),
            2 => Asked::TakeOver {
                from: self.number(),
            },
            3 => Asked::Give { to: self.number() },
            _ => Asked::Taken {},
        }
    }

    fn said(&mut self) -> Said {
        match self.below(7) {
            0 => Said::Report(self.report()),
            1 => Said::Probed(Probed {
                container: self.text(),
                asked_at_us: self.number(),
                failure: self.some(Self::text),
            }),
            2 => Said::Handing {
                table: self.some(Self::table),
            },
            3 => Said::Sockets(self.list(|numbers, index| Socket {
                key: numbers.key(index),
                address: numbers.address(),
            })),
            4 => Said::AllSent {
                count: usize::try_from(self.below(LISTENERS as u64 + 1)).unwrap(),
            },
            5 => Said::Released {},
            _ => Said::Refused { why: self.text() },
        }
    }

    fn report(&mut self) -> Report {
        let stages = [Stage::Idle, Stage::Serving, Stage::Draining, Stage::Drained];
        Report {
            serial: self.number(),
            stamp: self.some(|numbers| Stamp {
                session: numbers.number(),
                epoch: numbers.number(),
            }),
            stage: stages[usize::try_from(self.below(4)).unwrap()],
            open: self
                .list(|numbers, _| (numbers.text(), numbers.number()))
                .into_iter()
                .collect(),
            unbound: self.list(|numbers, index| Unbound {
                key: numbers.key(index),
                address: numbers.address(),
                why: numbers.text(),
            }),
            took_over: self.some(Self::number),
            takeover_error: self.some(Self::text),
            cut: self.number(),
        }
    }
}

#[test]
fn whatever_is_said_is_one_line_and_read_as_the_same() {
    let mut numbers = Numbers(33);
    for _ in 0..5000 {
        let asked = numbers.asked();
        let line = encode(&asked).unwrap();
        let (end, text) = line.split_last().unwrap();
        assert!(*end == b'\n' && !text.contains(&b'\n'));
        assert_eq!(decode::<Asked>(text).unwrap(), asked);
        let said = numbers.said();
        let line = encode(&said).unwrap();
        let (end, text) = line.split_last().unwrap();
        assert!(*end == b'\n' && !text.contains(&b'\n'));
        assert_eq!(decode::<Said>(text).unwrap(), said);
        // No part of a line is another line.
        let cut = usize::try_from(numbers.below(text.len() as u64)).unwrap();
        assert!(decode::<Said>(&text[..cut]).is_err());
    }
}

#[test]
fn what_a_newer_one_says_beyond_is_ignored_and_a_version_is_found() {
    let line = br#"{"take_over":{"from":3,"gently":true}}"#;
    assert_eq!(decode::<Asked>(line).unwrap(), Asked::TakeOver { from: 3 });
    for (hello, version) in [
        (r#"{"hello":{"version":1}}"#, Some(1)),
        (r#"{"hello":{"version":4,"oldest":1,"name":"x"}}"#, Some(1)),
        (r#"{"hello":{"version":4,"oldest":2}}"#, None),
        (r#"{"hello":{"version":2}}"#, None),
        (r#"{"hello":{"version":0}}"#, None),
    ] {
        let found = decode_hello(hello.as_bytes());
        assert_eq!(found.ok().map(|(version, _)| version), version, "{hello}");
    }
}

#[test]
fn nothing_without_a_bound_is_said_or_heard() {
    let bounded = |asked: &Asked| {
        let heard = decode::<Asked>(&serde_json::to_vec(asked).unwrap());
        matches!(heard, Err(WireError::TooMany { .. })) && encode(asked).is_err()
    };
    let table = |change: &dyn Fn(&mut Table)| {
        let mut table = Numbers(1).table();
        change(&mut table);
        Asked::Table(table)
    };
    let listener = |port| Listener {
        key: Key {
            host_ip: None,
            host_port: port,
            target: 80,
            transport: Transport::Tcp,
        },
        bind: Vec::new(),
        forwarding: Numbers(u64::from(port)).forwarding(),
        backends: Vec::new(),
    };
    let many = u16::try_from(LISTENERS).unwrap();
    assert!(!bounded(&table(&|table| {
        table.listeners = (0..many).map(listener).collect();
    })));
    assert!(bounded(&table(&|table| {
        table.listeners = (0..=many).map(listener).collect();
    })));
    assert!(bounded(&table(&|table| {
        table.draining = vec!["x".repeat(NAME_BYTES + 1)];
    })));
    let why = "x".repeat(TEXT_BYTES + 1);
    assert!(encode(&Said::Refused { why }).is_err());
}
