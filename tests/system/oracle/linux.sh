#!/bin/bash
# Shows what Linux makes of the frames of a capture: its routing, or the rules of nftables on its bridge.
#
#   linux.sh router IN.pcap FOLDER ROUTES    writes FOLDER/b.pcap and FOLDER/c.pcap: what leaves to either side by the
#                                              table that is the router example's, too
#   linux.sh firewall IN.pcap FOLDER RULES.nft writes FOLDER/b.pcap: what the chain of RULES.nft lets pass
#
# As root. All interfaces are in a network namespace of this script's own, which ends with it.
set -euo pipefail
if [ "${1:-}" != inside ]; then
    exec unshare --net taskset --cpu-list 0 "$0" inside "$@"
fi
shift
what=$1 in=$2 folder=$3
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$work"' EXIT

set_all() { for name in "${@:2}"; do sysctl -qw "net.$name=$1"; done; }
# A pair of interfaces; v$1 is Linux's, p$1 has nobody behind it but this script.
pair() {
    ip link add "v$1" address "$2" mtu 1500 type veth peer name "p$1"
    set_all 1 "ipv6.conf.p$1.disable_ipv6"
    ip link set "p$1" up promisc on
    ip link set "v$1" up
}
# Captures what leaves by v$1.
captures=()
capture() {
    captures+=("$1")
    # The multicast reports of Linux itself are left out. A short snapshot length makes a buffer of many frames: with
    # the longest length there are eight.
    tcpdump -i "p$1" --direction=in -n -s 2048 -B 16384 -U --immediate-mode -Z root -w "$folder/$1.pcap" \
        'not (ip6 and ip6[6] = 0 and ip6[40] = 58)' 2>"$work/$1.log" &
    for _ in $(seq 600); do grep -q listening "$work/$1.log" && return; sleep 0.05; done
    cat "$work/$1.log" >&2
    exit 1
}

set_all 0 ipv6.conf.default.accept_ra ipv6.conf.default.router_solicitations ipv6.conf.default.accept_dad
set_all 1 ipv6.conf.default.addr_gen_mode # no link-local address
ip link set lo up
case $what in
router)
    set_all 0 ipv4.conf.all.rp_filter ipv4.conf.default.rp_filter ipv4.conf.all.send_redirects
    # The VNF has one address, that of VM 1.
    pair a 02:53:6c:75:69:01
    pair b 02:53:6c:75:69:01
    pair c 02:53:6c:75:69:01
    set_all 1 ipv4.ip_forward ipv6.conf.all.forwarding
    ip addr add 10.255.0.1/24 dev vb
    ip addr add 10.255.1.1/24 dev vc
    ip addr add fd00::0:1/112 dev vb nodad
    ip addr add fd00::1:1/112 dev vc nodad
    # PREFIX MAC PEER: the same table as the router's; each next hop has an address of its own.
    number=1
    while read -r prefix mac peer; do
        number=$((number + 1))
        dev=v$peer
        case $prefix in
        *:*) hop=fd00::$([ "$peer" = b ] && echo 0 || echo 1):$number family=-6 ;;
        *) hop=10.255.$([ "$peer" = b ] && echo 0 || echo 1).$number family=-4 ;;
        esac
        ip "$family" neigh replace "$hop" lladdr "$mac" dev "$dev" nud permanent
        ip "$family" route add "$prefix" via "$hop" dev "$dev"
    done < <(grep -v '^#' "$4" | grep .)
    capture b
    capture c
    ;;
firewall)
    pair a 02:53:6c:75:69:21
    pair b 02:53:6c:75:69:22
    ip link add br0 type bridge mcast_snooping 0
    set_all 1 ipv6.conf.br0.disable_ipv6 ipv6.conf.va.disable_ipv6 ipv6.conf.vb.disable_ipv6
    ip link set va master br0
    ip link set vb master br0
    ip link set br0 up
    nft -f "$4"
    capture b
    ;;
esac
# Neighbour discovery and multicast reports of the interfaces are over before the first frame.
sleep 2
/usr/bin/python3 - "$in" <<'PY'
import socket, sys, time
from scapy.all import RawPcapReader
port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
port.bind(("pa", 0))
for frame, _ in RawPcapReader(sys.argv[1]):
    port.send(frame)
    time.sleep(0.002)  # tcpdump shares the processor
PY
# The last frames hold these words, and pass.
for name in "${captures[@]}"; do
    for _ in $(seq 600); do grep -q "the end" "$folder/$name.pcap" && continue 2; sleep 0.1; done
    echo "the last frame did not come to $name" >&2
    exit 1
done
