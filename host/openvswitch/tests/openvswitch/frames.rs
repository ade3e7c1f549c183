//! Frames: some that say what they are, and random ones, of which many are malformed.

/// Numbers that are the same in each run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        // See: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators".
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    pub fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize].clone()
    }
}

pub fn mac(last: u8) -> [u8; 6] {
    [2, 0, 0, 0, 0, last]
}

/// Returns a frame with this EtherType.
pub fn ethernet(to: u8, from: u8, kind: u16, payload: &[u8]) -> Vec<u8> {
    [&mac(to)[..], &mac(from), &kind.to_be_bytes(), payload].concat()
}

/// Returns the frame with a tag in front of its EtherType.
pub fn tagged(frame: &[u8], tpid: u16, control: u16) -> Vec<u8> {
    [&frame[..12], &tpid.to_be_bytes(), &control.to_be_bytes(), &frame[12..]].concat()
}

/// Returns a packet of IPv4, from 10.0.0.`from` to 10.0.0.`to`, with a right checksum.
pub fn ipv4([from, to]: [u8; 2], protocol: u8, ttl: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let len = (20 + payload.len() as u16).to_be_bytes();
    let [high, low] = fragment.to_be_bytes();
    let mut packet = vec![0x45, 0, len[0], len[1], 0, 0, high, low, ttl, protocol, 0, 0, 10, 0, 0, from, 10, 0, 0, to];
    fill_in(&mut packet, 10, 0);
    packet.extend(payload);
    packet
}

/// Returns a packet of IPv6, from fd00::`from` to fd00::`to`.
pub fn ipv6([from, to]: [u8; 2], next: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u16).to_be_bytes();
    let address = |last| [&[0xfd; 1][..], &[0; 14], &[last]].concat();
    [&[0x60, 0, 0, 0, len[0], len[1], next, ttl][..], &address(from), &address(to), payload].concat()
}

pub fn udp(from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &(8 + payload.len() as u16).to_be_bytes(), &[0, 0], payload].concat()
}

pub fn tcp(from: u16, to: u16, flags: u8) -> Vec<u8> {
    [&from.to_be_bytes()[..], &to.to_be_bytes(), &[0; 8], &[0x50, flags, 0, 9, 0, 0, 0, 0], b"payload"].concat()
}

/// Returns a network service header of MD type 1 around a frame.
pub fn nsh(path: u32, ttl: u8, inner: &[u8]) -> Vec<u8> {
    let first = (u16::from(ttl) << 6 | 6).to_be_bytes();
    [&first[..], &[1, 3], &path.to_be_bytes(), &[0; 16], inner].concat()
}

/// Writes to `at` the checksum of `bytes`, to whose sum `more` belongs.
fn fill_in(bytes: &mut [u8], at: usize, more: u32) {
    bytes[at..at + 2].fill(0);
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from));
    let mut sum = words.sum::<u32>() + more;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    bytes[at..at + 2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

/// Returns a frame whose values are of few kinds, so that rules and flows match many of them; one in three is damaged.
pub fn any(random: &mut Random) -> Vec<u8> {
    let (kind, mut payload) = network(random);
    if random.one_in(6) {
        damage(random, &mut payload);
    }
    let mut frame = ethernet(random.of(&[2, 3, 0xf9]), random.of(&[1, 4]), kind, &payload);
    for _ in 0..random.of(&[0, 0, 0, 0, 1, 1, 2, 3]) {
        let control = random.of(&[10, 10 | 3 << 13, 100, 0, 0xfff, 0x1000 | 10]);
        frame = tagged(&frame, random.of(&[0x8100, 0x8100, 0x88a8]), control);
    }
    match random.below(12) {
        0 => frame.truncate(14 + random.below(frame.len() as u64 - 13) as usize),
        // More padding than one octet can say: CVE-2020-35498.
        1 => frame.resize(frame.len() + 300, 0),
        2 => frame.resize(frame.len() + random.below(40) as usize, 0xa5),
        _ => {}
    }
    frame
}

fn network(random: &mut Random) -> (u16, Vec<u8>) {
    let ends = [random.of(&[1, 2, 129]), random.of(&[1, 2, 3, 9])];
    let ttl = random.of(&[64, 64, 63, 2, 1, 0]);
    match random.below(16) {
        0..=5 => (0x0800, any_ipv4(random, ends, ttl)),
        6..=10 => (0x86dd, any_ipv6(random, ends, ttl)),
        11 => (0x0806, arp(random, ends)),
        12 => {
            let inner = ethernet(2, 1, 0x0800, &ipv4(ends, 17, ttl, 0, &udp(1, 2, b"inner")));
            (0x894f, nsh(random.of(&[0x1234fe, 0x1234fd, 0x5678fe]), random.of(&[63, 1]), &inner))
        }
        13 => {
            let stack = random.of(&[&[0x00, 0x06, 0x41, 64][..], &[0x00, 0x06, 0x40, 64, 0, 0x07, 0x41, 64]]);
            (random.of(&[0x8847, 0x8848]), [stack, &ipv4(ends, 17, ttl, 0, &udp(1, 2, b""))].concat())
        }
        14 => {
            // IEEE 802.3, with a header of SNAP.
            let packet = ipv4(ends, 17, ttl, 0, &udp(1000, 53, b""));
            let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0][..], &packet].concat();
            (snap.len() as u16, snap)
        }
        _ => (random.of(&[0x88b6, 0x8100, 0x0600, 0x05dc]), vec![random.next() as u8; 46]),
    }
}

fn any_ipv4(random: &mut Random, ends: [u8; 2], ttl: u8) -> Vec<u8> {
    let (protocol, segment) = transport(random, false);
    let fragment = random.of(&[0, 0, 0, 0, 0x4000, 0x2000, 100, 0x2064, 0x8000]);
    let mut packet = ipv4(ends, protocol, ttl, fragment, &segment);
    packet[1] = random.of(&[0, 0, 0x20, 0xb8, 0x03]);
    if random.one_in(8) {
        // Options.
        packet[0] = 0x46;
        packet.splice(20..20, [1, 1, 1, 0]);
        let len = packet.len() as u16;
        packet[2..4].copy_from_slice(&len.to_be_bytes());
    }
    let header = 4 * usize::from(packet[0] & 15);
    fill_in(&mut packet[..header], 10, 0);
    packet
}

fn any_ipv6(random: &mut Random, ends: [u8; 2], ttl: u8) -> Vec<u8> {
    let (mut next, mut payload) = transport(random, true);
    for _ in 0..random.of(&[0, 0, 0, 1, 1, 2, 9]) {
        let kind = random.of(&[0, 43, 44, 51, 60]);
        let more = match kind {
            44 => random.of(&[[0, 0], [0, 1], [0, 0x40], [0, 0x41], [0, 2], [0, 6]]),
            _ => [0, 0],
        };
        let len = if kind == 44 { 0 } else { random.of(&[0, 0, 0, 0, 1, 40]) };
        payload = [&[next, len, more[0], more[1], 0, 0, 0, 0][..], &payload].concat();
        next = kind;
    }
    let mut packet = ipv6(ends, next, ttl, &payload);
    packet[1] = random.of(&[0, 0, 0xb0]);
    packet[3] = random.of(&[0, 0, 5]);
    packet
}

fn transport(random: &mut Random, v6: bool) -> (u8, Vec<u8>) {
    let [from, to] = [random.of(&[1000, 1001, 53]), random.of(&[53, 80, 8080])];
    match random.below(12) {
        0..=3 => (17, udp(from, to, b"four")),
        4..=7 => (6, tcp(from, to, random.of(&[2, 0x12, 0x10, 4]))),
        8 if v6 => {
            let target = [&[0xfd; 1][..], &[0; 14], &[2]].concat();
            let option = [random.of(&[1, 2]), 1, 2, 0, 0, 0, 0, 1];
            let kind = random.of(&[128, 135, 136]);
            (58, [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &target, &option.repeat(random.of(&[0, 1, 2]))].concat())
        }
        8 => (1, vec![random.of(&[8, 0, 3]), 0, 0, 0, 0, 1, 0, 1]),
        9 => (132, [&from.to_be_bytes()[..], &to.to_be_bytes(), &[0; 8]].concat()),
        10 => (random.of(&[47, 50, 59, 2, 33, 136, 58, 1]), vec![0; 24]),
        // Too short for any.
        _ => (random.of(&[6, 17, 1, 58, 132]), vec![0, 53, 0, 80, 0, 8, 0]),
    }
}

fn arp(random: &mut Random, [from, to]: [u8; 2]) -> Vec<u8> {
    let operation = random.of(&[[0, 1], [0, 2], [1, 1]]);
    let mut packet =
        [&[0, 1, 8, 0, 6, 4][..], &operation, &mac(1), &[10, 0, 0, from], &[0; 6], &[10, 0, 0, to]].concat();
    if random.one_in(5) {
        packet[4] = 7;
    }
    packet
}

/// Makes a length lie, or a byte another one.
fn damage(random: &mut Random, payload: &mut Vec<u8>) {
    let at = match random.below(4) {
        0 => random.of(&[0, 2, 3, 4, 5]),
        1 => random.of(&[20, 24, 25, 32, 40, 41, 44, 52]),
        2 => random.below(payload.len() as u64) as usize,
        _ => {
            payload.truncate(random.below(payload.len() as u64 + 1) as usize);
            return;
        }
    };
    if let Some(byte) = payload.get_mut(at) {
        *byte = random.of(&[byte.wrapping_add(1), byte.wrapping_sub(1), 0, 0xff, random.0 as u8]);
    }
}
