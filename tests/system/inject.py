"""Sends packets given on standard input, one a line: run inside a namespace.

`6 HEX` is a whole IPv6 packet, `4 HEX` a whole IPv4 packet, `u ADDRESS HEX` a datagram to port 4191.
"""

from __future__ import annotations

import socket
import sys


def main() -> None:
    raw6 = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
    raw4 = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for line in sys.stdin:
        kind, *rest = line.split()
        data = bytes.fromhex(rest[-1]) if rest else b""
        if kind == "6":
            raw6.sendto(data, (socket.inet_ntop(socket.AF_INET6, data[24:40]), 0))
        elif kind == "4":
            raw4.sendto(data, (socket.inet_ntoa(data[16:20]), 0))
        else:
            udp.sendto(data, (rest[0], 4191))


if __name__ == "__main__":
    main()
