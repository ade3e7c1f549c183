#!/usr/bin/python3
"""Writes the captures that the tests of the examples send: frames.py FOLDER.

The captures are made with scapy. Every run writes the same frames."""
import sys
from scapy.utils import checksum
from scapy.all import (ARP, Dot1Q, Ether, ICMP, ICMPv6EchoRequest, IP, IPOption_NOP, IPv6, IPv6ExtHdrDestOpt,
                       IPv6ExtHdrFragment, IPv6ExtHdrHopByHop, Raw, TCP, UDP, fragment, raw, wrpcap)

ROUTER, HOST = "02:53:6c:75:69:01", "02:00:00:00:00:99"
NET4 = ["10.1.2.3", "10.1.200.9", "192.0.2.77", "198.51.100.5", "203.0.113.1"]
NET6 = ["2001:db8:1::5", "2001:db8:1:2::9", "2001:db8:2::1", "2001:db9::1"]


def patched(frame, at, new):
    """The bytes of `frame` with those at `at` replaced."""
    old = raw(frame)
    return Raw(old[:at] + new + old[at + len(new):])


def ip4(to=NET4[0], src="172.16.0.1", ttl=64, **fields):
    return Ether(src=HOST, dst=ROUTER) / IP(src=src, dst=to, ttl=ttl, id=7, **fields)


def ip6(to=NET6[0], src="2a00:f::1", hlim=64):
    return Ether(src=HOST, dst=ROUTER) / IPv6(src=src, dst=to, hlim=hlim)


def fragments4(to, payload):
    whole = ip4(to) / payload / Raw(bytes(range(256)) * 6)
    return [Ether(src=HOST, dst=ROUTER) / part for part in fragment(whole[IP], fragsize=600)]


def fragment6(to, offset, more, payload):
    return ip6(to) / IPv6ExtHdrFragment(nh=17, offset=offset, m=more, id=9) / payload


def ordinary():
    for to in NET4:
        yield ip4(to) / TCP(sport=40000, dport=80, flags="S")
        yield ip4(to) / TCP(sport=40000, dport=443) / Raw(b"x" * 700)
        yield ip4(to) / UDP(sport=53, dport=5353) / Raw(b"dns" * 9)
        yield ip4(to) / UDP(sport=9999, dport=53) / Raw(b"q" * 1472)
        yield ip4(to) / ICMP(id=1, seq=2) / Raw(b"ping")
        yield ip4(to, proto=47) / Raw(b"gre" * 10)
        yield ip4(to, options=[IPOption_NOP()] * 8) / UDP(sport=1, dport=53) / Raw(b"options")
        yield from fragments4(to, UDP(sport=9999, dport=53))
        yield from fragments4(to, TCP(sport=1, dport=80))
    for to in NET6:
        yield ip6(to) / TCP(sport=40000, dport=80, flags="S")
        yield ip6(to) / UDP(sport=9999, dport=53) / Raw(b"six" * 100)
        yield ip6(to) / ICMPv6EchoRequest(id=1, seq=2) / Raw(b"ping")
        yield ip6(to) / IPv6ExtHdrHopByHop(options=[]) / UDP(sport=9999, dport=53) / Raw(b"hop")
        yield ip6(to) / IPv6ExtHdrDestOpt() / TCP(sport=1, dport=80)
        yield fragment6(to, 0, 1, UDP(sport=9999, dport=53, len=1000, chksum=1) / Raw(b"f" * 504))
        yield fragment6(to, 64, 0, Raw(b"\x00\x35" * 100))


def odd():
    """What a VNF must not forward, or not change, and what has no field to look at."""
    for ttl in (0, 1, 2, 255):
        yield ip4(ttl=ttl) / UDP(sport=1, dport=2) / Raw(bytes([ttl]) * 20)
        yield ip6(hlim=ttl) / UDP(sport=1, dport=2) / Raw(bytes([ttl]) * 20)
    for src in ("127.0.0.1", "224.0.0.9", "0.0.0.0", "255.255.255.255"):
        yield ip4(src=src) / UDP(sport=1, dport=53) / Raw(b"martian")
    for to in ("127.0.0.1", "224.0.0.9", "0.1.2.3", "255.255.255.255", "100.64.0.1"):
        yield ip4(to) / UDP(sport=1, dport=53) / Raw(b"martian")
    martian = [("::1", NET6[0]), ("ff02::1", NET6[0]), ("fe80::9", NET6[0])]
    for src, to in martian + [("2a00:f::1", to) for to in ("fe80::9", "ff02::5", "2a00::1")]:
        yield ip6(to, src=src) / UDP(sport=1, dport=53) / Raw(b"martian")
    good = ip4() / UDP(sport=9999, dport=53) / Raw(b"p" * 30)
    six = ip6() / UDP(sport=9999, dport=53) / Raw(b"p" * 30)
    yield patched(good, 24, b"\x12\x34")                     # header checksum
    yield patched(good, 14, b"\x44")                         # header length of 16 bytes
    yield patched(good, 14, b"\x65")                         # version 6 in an IPv4 frame
    yield patched(good, 17, b"\xff")                         # a packet longer than the frame, and a wrong checksum
    yield ip4(len=400) / UDP(sport=9999, dport=53) / Raw(b"long")
    yield ip4(len=12) / UDP(sport=9999, dport=53) / Raw(b"less than a header")
    yield patched(six, 18, b"\x02")                          # IPv6 longer than the frame
    yield patched(six, 14, b"\x40")                          # version 4 in an IPv6 frame
    yield Raw(raw(good)[:30])                                # ends in the IPv4 header
    yield Raw(raw(six)[:50])
    yield Raw(raw(good)[:36])                                # ends in the UDP header
    yield Raw(raw(good)[:14])
    for dst in ("ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:09", "02:00:00:00:00:55"):
        packet = IP(src="172.16.0.1", dst=NET4[0], id=7) / UDP(sport=1, dport=53) / Raw(b"other address")
        yield Ether(src=HOST, dst=dst) / packet
    yield Ether(src=HOST, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=HOST, psrc="172.16.0.1", pdst="172.16.0.2")
    yield Ether(src=HOST, dst=ROUTER, type=0x88b5) / Raw(b"unknown EtherType" * 3)
    yield Ether(src=HOST, dst=ROUTER, type=46) / Raw(b"IEEE 802.3 length" + bytes(40))
    for tag in (Dot1Q(vlan=10), Dot1Q(vlan=4094, prio=7), Dot1Q(vlan=10) / Dot1Q(vlan=20)):
        yield Ether(src=HOST, dst=ROUTER) / tag / good[IP]
        yield Ether(src=HOST, dst=ROUTER) / tag / six[IPv6]


def jumbo():
    """The longest frame at an MTU of 9,000 bytes."""
    payload = bytes((at * 7 + at // 256) % 256 for at in range(9000 - 28))
    return Ether(src=HOST, dst=ROUTER) / IP(src="172.16.0.1", dst=NET4[0], id=7) / UDP(sport=1, dport=2) / Raw(payload)


def tcp(ip, payload, at=0, flags="FPACE"):
    """A TCP frame whose payload begins at byte `at` of a stream.

    Sequence numbers and IPv4's identification wrap around in the stream."""
    options = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]
    header = TCP(sport=40000, dport=80, seq=(0xffff8000 + at) % 2**32, ack=9, flags=flags, options=options)
    return Ether(src=HOST, dst=ROUTER) / ip / header / Raw(payload)


def left(frame):
    """The frame as its sender leaves it: TCP's checksum is the sum of the pseudo header, not complemented."""
    whole = Ether(raw(frame))
    segment = raw(whole[TCP])
    six = IPv6 in whole
    pseudo = raw(whole[IPv6])[8:40] if six else raw(whole[IP])[12:20]
    pseudo += len(segment).to_bytes(4, "big") + (6).to_bytes(4, "big")
    at = len(raw(whole)) - len(segment) + 16
    return patched(frame, at, (~checksum(pseudo) & 0xffff).to_bytes(2, "big"))


def long_frames(headers, ip, size):
    """A frame of 64,000 bytes, and its segments of `size` bytes of payload."""
    stream = bytes((at * 7 + at // 251) % 256 for at in range(64000 - headers))
    pieces = [(at, stream[at:at + size]) for at in range(0, len(stream), size)]
    last = pieces[-1][0]
    # Congestion Window Reduced is the first segment's alone; FIN and PSH are the last one's.
    flags = [(number, at, piece, "A" + "FP" * (at == last) + "C" * (at == 0) + "E")
             for number, (at, piece) in enumerate(pieces)]
    segments = [tcp(ip(number), piece, at, bits) for number, at, piece, bits in flags]
    return tcp(ip(0), stream), segments


def padded():
    """Packets with padding of the link behind them.

    Linux cuts it off on a bridge, too, so only the router's capture has such frames."""
    for packet in (ip4(), ip6()):
        yield Raw(raw(packet / UDP(sport=9999, dport=53) / Raw(b"p")) + bytes(17))


def checksums():
    """IPv4 headers with every sum around the carries of an incremental update."""
    for ident in (*range(0, 0x10000, 0x401), *range(0xc1d0, 0xc1e0), *range(0xc2d0, 0xc2e0)):
        yield Ether(src=HOST, dst=ROUTER) / IP(src="172.16.0.1", dst=NET4[0], id=ident, proto=253)


def pushed(frame):
    old = Ether(frame)
    tag = Dot1Q(vlan=10, prio=5, type=int.from_bytes(frame[12:14], "big"))
    return Ether(src=old.src, dst=old.dst) / tag / Raw(frame[14:])


def popped(frame):
    old = Ether(frame)
    if Dot1Q not in old:
        return Raw(frame)
    return Ether(src=old.src, dst=old.dst, type=old[Dot1Q].type) / Raw(frame[18:])


def write(name, frames):
    wrpcap(f"{sys.argv[1]}/{name}.pcap", [bytes(raw(frame)) for frame in frames], linktype=1)


# The last frame of each capture passes, so when it arrives all frames before it have been decided on.
LAST = [ip / TCP(sport=40000, dport=80) / Raw(b"the end") for ip in (ip4(), ip4(NET4[2]))]
write("packets", [*ordinary(), *odd(), *ordinary(), *LAST])
# tcprewrite changes the addresses of IPv6 frames, and ends at a damaged header.
write("ipv4", [frame for frame in [*ordinary(), *LAST] if IP in frame])
write("pushed", [pushed(raw(frame)) for frame in [*ordinary(), *odd(), *ordinary(), *LAST]])
write("popped", [popped(raw(frame)) for frame in [*ordinary(), *odd(), *ordinary(), *LAST]])
write("routed", [*padded(), *ordinary(), *odd(), *checksums(), *LAST])
numbered = lambda number: IP(src="172.16.0.1", dst=NET4[0], id=(0xfff0 + number) % 65536, flags="DF")
four, four_cut = long_frames(66, numbered, 1448)
six, six_cut = long_frames(86, lambda _: IPv6(src="2a00:f::1", dst=NET6[0]), 1428)
short = tcp(IP(src="172.16.0.1", dst=NET4[0], id=7), bytes(range(256)) * 5)
write("offloads", [jumbo(), left(four), left(six), left(short), ip4() / UDP(sport=1, dport=2) / Raw(b"the end")])
write("segments", [*four_cut, *six_cut, short, ip4() / UDP(sport=1, dport=2) / Raw(b"the end")])
