"""How dsmip recognises in the kernel what it put on the links it manages."""

from __future__ import annotations

#: Protocol number of default routes (`ip route` shows `proto 190`) and of addresses (IFA_PROTO, Linux 5.18) that
#: come and go with the networks visited. It differs from that of the home address's own routes, so that either
#: can be cleaned up without the other. Not in any distribution's rt_protos.
LINK_PROTOCOL = 190
