#!/bin/sh
# A machine in a container: this one's file system under a layer of memory that takes what is written, and systemd as
# the first process. Runs in namespaces of its own. $1 is an empty directory, $2 what is laid over /usr, $3 and $4
# what is put into /etc and /var, $5 a Python environment, $6 where `dsmip` is imported from.
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
root=$1/root
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" overlay "$root"
mount -t overlay -o "lowerdir=$2:/usr" overlay "$root/usr"
mount -t tmpfs -o mode=755 tmpfs "$root/usr/local"
cp -a "$3/." "$root/etc/"
cp -a "$4/." "$root/var/"
# What it finds here is what its tests put there.
rm -rf "$root/etc/dsmip" "$root/var/lib/dsmip" "$root/etc/machine-id" "$root/var/log/journal"
touch "$root/etc/machine-id"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir -p "$root/dev/pts" "$root/dev/shm" "$root/dev/net"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
while read -r device major minor; do
    mknod -m 666 "$root/dev/$device" c "$major" "$minor"
done <<DEVICES
null 1 3
zero 1 5
full 1 7
random 1 8
urandom 1 9
tty 5 0
net/tun 10 200
DEVICES
# Python, its packages and the program: where a service without a home can read them.
mkdir -p "$root/opt/venv" "$root/opt/code"
mount --bind "$5" "$root/opt/venv"
mount --bind "$6" "$root/opt/code"
# udev is not there, which programs tell by a /sys that cannot be written to.
mount -o remount,bind,ro "$root/sys"
mkdir "$root/old"
cd "$root"
pivot_root . old
umount -l /old
exec env -i container=dsmip PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=machine.target
