#!/bin/busybox sh
# First process of the guest: the host's root file system, read-only, under a layer of memory that takes what is
# written; then one command, whose exit status goes to the host by way of the shared directory.
/bin/busybox --install -s /bin
mount -t proc proc /proc
for module in $(cat /modules/order); do
    insmod "/modules/$module" || echo "guest: cannot load $module"
done
mkdir -p /host /memory /new /shared
options=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o "ro,cache=loose,$options" root /host
mount -t tmpfs memory /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work overlay /new
mount -t proc proc /new/proc
mount -t sysfs sysfs /new/sys
mount -t devtmpfs devtmpfs /new/dev
mkdir -p /new/dev/pts /new/dev/shm /new/dev/net
# Opening it loads the module.
mknod /new/dev/net/tun c 10 200
mount -t devpts devpts /new/dev/pts
mount -t tmpfs tmpfs /new/dev/shm
mount -t tmpfs tmpfs /new/run
mount -t tmpfs tmpfs /new/tmp
mkdir -p /new/run/shared "/new/lib/modules/$(uname -r)"
mount -t 9p -o "rw,cache=none,$options" shared /new/run/shared
mount -t 9p -o "ro,cache=loose,$options" modules "/new/lib/modules/$(uname -r)"
# The kernel starts its module loader in the first file system, where there is none.
printf '#!/bin/sh\nexec chroot /new /sbin/modprobe "$@"\n' >/bin/load
chmod 755 /bin/load
echo /bin/load >/proc/sys/kernel/modprobe
hostname guest
ip link set lo up
chroot /new /bin/sh /run/shared/command >/new/run/shared/output 2>&1
echo $? >/new/run/shared/status
sync
poweroff -f
