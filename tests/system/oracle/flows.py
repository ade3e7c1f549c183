#!/usr/bin/python3
"""Does what examples/captures/flows.toml says of frames from a, with scapy: flows.py IN OUT."""

import sys

from scapy.all import Ether, IP, rdpcap, wrpcap

frames = []
for frame in rdpcap(sys.argv[1]):
    if IP in frame and frame[IP].underlayer.type == 0x0800:
        if frame[IP].ttl <= 1:
            continue
        frame[Ether].src = "02:00:00:00:00:01"
        frame[IP].ttl -= 1
        del frame[IP].chksum
    frames.append(Ether(bytes(frame)))
wrpcap(sys.argv[2], frames)
