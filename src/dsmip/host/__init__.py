"""What Linux must be told and asked: netlink, sysctl, neighbour proxying, DHCP, signalling sockets."""
