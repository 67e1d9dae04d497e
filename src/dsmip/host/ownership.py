"""How dsmip recognises in the kernel what it put there itself."""

from __future__ import annotations

#: Routing protocol number of our routes (RTA protocol, `ip route` shows `proto 191`) and of our addresses
#: (IFA_PROTO, Linux 5.18). Not in any distribution's rt_protos.
DSMIP_PROTOCOL = 191
