#!/bin/bash
# init.sh ROOT CONSOLE: in new namespaces, make of ROOT a machine and become its PID 1. Called by machine.py.
set -e
root=$1
mount --make-rprivate /
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
touch "$root/dev/console"
mount --bind "$2" "$root/dev/console"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs tmpfs "$root/dev/shm"
# Each boot has an id of its own, as on a real machine.
cat /proc/sys/kernel/random/uuid >"$root/run/boot-id"
mount --bind "$root/run/boot-id" "$root/proc/sys/kernel/random/boot_id"
# A shop's network, with nobody else on it.
ip link set lo up
ip link add shop0 type veth peer name shop1
ip link set shop1 up
ip address add 192.168.77.2/24 dev shop0
ip link set shop0 multicast on up
cd "$root"
pivot_root . mnt
umount -l /mnt
# As systemd has it on a machine, and leaves it to others in a container: credentials are mounted by a process of its own.
mount --make-rshared /
exec env -i container=storebox PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --show-status=no
