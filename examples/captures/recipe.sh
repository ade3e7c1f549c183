#!/bin/bash
# Makes mixed.pcap: real traffic of two Linux network stacks, joined by a veth
# pair between two network namespaces and captured at the server's end.
#
#   sudo ./recipe.sh [out.pcap]        (default: mixed.pcap beside this script)
#
# Debian packages: iproute2 ethtool tcpdump iputils-ping iputils-arping curl
#                  dnsmasq-base bind9-dnsutils python3
#
# The VLAN sub-interfaces are TAP devices with a small relay (below) that puts
# the 802.1Q tag on and takes it off, so the kernel needs no 8021q module.
set -euo pipefail

out=$(realpath -m "${1:-$(dirname "$0")/mixed.pcap}")
PY=/usr/bin/python3
A=cap-client B=cap-server          # the namespaces
VID=10                             # the VLAN
work=$(mktemp -d)
pids=()

cleanup() {
    for p in "${pids[@]}"; do kill "$p" 2>/dev/null || true; done
    wait 2>/dev/null || true
    ip netns del $A 2>/dev/null || true
    ip netns del $B 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

a() { ip netns exec $A "$@" >>"$work/log"; }
in_background() { ip netns exec "$@" >>"$work/log" 2>&1 & pids+=($!); }   # NS COMMAND...

# ---- the 802.1Q relay: TAP device <-> tagged frames on the veth -------------
cat >"$work/vlan.py" <<'PYEOF'
import fcntl, os, select, socket, struct, sys
dev, tap_name, vid = sys.argv[1], sys.argv[2], int(sys.argv[3])
IFF_TAP, IFF_NO_PI, TUNSETIFF = 0x0002, 0x1000, 0x400454CA
SOL_PACKET, PACKET_AUXDATA, VLAN_VALID, ETH_P_ALL = 263, 8, 0x10, 3
tap = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH14x", tap_name.encode(), IFF_TAP | IFF_NO_PI))
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
s.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
s.bind((dev, ETH_P_ALL))
while True:
    for ready in select.select([tap, s], [], [])[0]:
        if ready == tap:
            try:
                f = os.read(tap, 4096)
            except OSError:            # the device is not up yet
                continue
            s.send(f[:12] + struct.pack("!HH", 0x8100, vid) + f[12:])
        else:
            f, aux, _, addr = s.recvmsg(4096, 256)
            if addr[2] == socket.PACKET_OUTGOING:
                continue
            for level, kind, d in aux:  # the kernel hands the tag over beside the frame
                if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                    status, _, _, _, _, tci, _ = struct.unpack("IIIHHHH", d[:20])
                    if status & VLAN_VALID and tci & 0xFFF == vid:
                        try:
                            os.write(tap, f)
                        except OSError:
                            pass
PYEOF

# ---- a UDP echo server and its client --------------------------------------
cat >"$work/udp.py" <<'PYEOF'
import socket, sys
role, host, port, sizes = sys.argv[1], sys.argv[2], 9999, [int(n) for n in sys.argv[3:]]
s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
if role == "serve":
    s.bind((host, port))
    while True:
        d, peer = s.recvfrom(2048)
        s.sendto(d, peer)
s.settimeout(2)
for n in sizes:
    d = bytes(i & 0xFF for i in range(n))
    s.sendto(d, (host, port))
    assert s.recvfrom(2048)[0] == d
PYEOF

# ---- two namespaces and the link -------------------------------------------
ip netns add $A
ip netns add $B
ip link add name veth0 netns $A type veth peer name veth0 netns $B
for ns in $A $B; do
    if [ $ns = $A ]; then host=1; else host=2; fi
    n() { ip netns exec $ns "$@" >>"$work/log"; }
    n sysctl -qw net.ipv6.conf.default.router_solicitations=0 \
        net.ipv6.conf.default.accept_ra=0
    n ip link set lo up
    n ip link set veth0 address 02:00:00:00:00:0$host mtu 1500
    # No offloads: what is captured is what would be on the wire.
    n ethtool -K veth0 rx off tx off sg off tso off gso off gro off
    n sysctl -qw net.ipv6.conf.veth0.router_solicitations=0
    n ip link set veth0 up
    n ip addr add 192.0.2.$host/24 dev veth0
    n ip addr add 2001:db8::$host/64 dev veth0 nodad
    in_background $ns $PY "$work/vlan.py" veth0 vlan$VID $VID
    for _ in $(seq 50); do n ip link show vlan$VID >/dev/null 2>&1 && break; sleep 0.1; done
    n ip link set vlan$VID address 02:00:00:00:00:0$host mtu 1500
    n ethtool -K vlan$VID gro off gso off
    n ip link set vlan$VID up
    n ip addr add 198.51.100.$host/24 dev vlan$VID
    n ip addr add 2001:db8:$VID::$host/64 dev vlan$VID nodad
done

# ---- the servers ------------------------------------------------------------
mkdir "$work/www"
seq 1 2000 >"$work/www/numbers.txt"
seq 1 180 >"$work/www/short.txt"
for host in 192.0.2.2 2001:db8::2 198.51.100.2; do
    in_background $B $PY -m http.server -d "$work/www" -b $host 8080
    in_background $B $PY "$work/udp.py" serve $host
done
in_background $B dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts \
    --user=root --pid-file= --local=/example/ \
    --address=/www.example/192.0.2.2 --address=/www.example/2001:db8::2 \
    --txt-record=text.example,"$(printf 'x%.0s' $(seq 200))"
sleep 4                            # link-local addresses and servers settle
for ns in $A $B; do ip netns exec $ns ip neigh flush all; done

# ---- the capture ------------------------------------------------------------
ip netns exec $B tcpdump -i veth0 -n -s 0 -U --immediate-mode -Z root --time-stamp-precision=micro \
    -w "$work/mixed.pcap" 2>"$work/tcpdump.log" &
dump=$!; pids+=($dump)
for _ in $(seq 50); do grep -q listening "$work/tcpdump.log" && break; sleep 0.1; done

# ARP, and ICMP/ICMPv6 echoes of many sizes (payload + 42 or 62 bytes of headers)
a arping -q -c 3 -w 5 -I veth0 192.0.2.2
for n in 18 22 56 86 214 470 982 1472; do a ping -q -c 1 -W 2 -M do -s $n 192.0.2.2; done
for n in 8 56 450 1452; do a ping -q -6 -c 1 -W 2 -s $n 2001:db8::2; done
a ping -q -c 1 -W 2 -s 2000 192.0.2.2              # IPv4 fragments
a ping -q -6 -c 1 -W 2 -s 2000 2001:db8::2         # IPv6 fragments
# DNS over IPv4, over IPv6, and over TCP
for q in "www.example A" "www.example AAAA" "text.example TXT" "none.example A"; do
    a dig +tries=1 +time=2 @192.0.2.2 $q
    a dig +tries=1 +time=2 @2001:db8::2 $q
done
a dig +tcp +tries=1 +time=2 @192.0.2.2 text.example TXT
# UDP
a $PY "$work/udp.py" ask 192.0.2.2 18 64 200 700 1472
a $PY "$work/udp.py" ask 2001:db8::2 0 100 900 1452
a $PY -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"closed port", ("192.0.2.2", 9))'
# HTTP over TCP
a curl -fsS -A curl -o "$work/got4" http://192.0.2.2:8080/numbers.txt
a curl -fsS -A curl -o "$work/got6" "http://[2001:db8::2]:8080/numbers.txt"
a curl -fsS -A curl -o "$work/gots" http://192.0.2.2:8080/short.txt
a curl -sS -A curl -o /dev/null http://192.0.2.2:8081/ || true      # refused: RST
# The same kinds on the VLAN: 1500 bytes of IP are a frame of 1518
for n in 14 56 300 1472; do a ping -q -c 1 -W 2 -M do -s $n 198.51.100.2; done
for n in 56 1452; do a ping -q -6 -c 1 -W 2 -s $n 2001:db8:$VID::2; done
a dig +tries=1 +time=2 @198.51.100.2 www.example A
a $PY "$work/udp.py" ask 198.51.100.2 18 500 1472
a curl -fsS -A curl -o "$work/gotv" http://198.51.100.2:8080/numbers.txt
sleep 6                            # the neighbours are checked again (ARP, ND)

kill $dump; wait $dump || true
for f in got4 got6 gotv; do cmp "$work/$f" "$work/www/numbers.txt"; done
cat "$work/tcpdump.log" >&2
install -m 644 "$work/mixed.pcap" "$out"
