#!/bin/busybox sh
# First process of the guest: loads what the host's files need, puts a writable layer over them, and runs the host's script
# there. Everything the guest writes is gone with it, but for the shared folder.
/bin/busybox --install -s /bin
export PATH=/bin
fail() { echo "vm: $*"; poweroff -f; }
mount -t devtmpfs dev /dev && mount -t proc proc /proc && mount -t sysfs sys /sys || fail "no kernel file systems"
while read -r module; do insmod "/mods/$module" || fail "$module does not load"; done < /mods/order
mkdir -p /lower /upper /root
share() { mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache="$3" "$1" "$2" || fail "no share $1"; }
share root /lower loose
mount -t tmpfs -o mode=755 upper /upper && mkdir /upper/up /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/up,workdir=/upper/work root /root || fail "no overlay"
for place in dev proc sys; do mount --move /$place /root/$place || fail "moving /$place"; done
mount -t tmpfs -o mode=755 run /root/run
mkdir -p /root/dev/pts /root/dev/shm
mount -t devpts devpts /root/dev/pts
mount -t tmpfs shm /root/dev/shm
mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
mount -t bpf bpf /root/sys/fs/bpf
mount -t securityfs security /root/sys/kernel/security
mkdir -p /root/lib/modules
mount --bind "/root$(cat /modules-folder)" /root/lib/modules || fail "no modules"
# The kernel looks for modprobe in the root of its first process.
for module in loop ext4; do chroot /root /sbin/modprobe $module || fail "no $module"; done
# Tests write to /tmp: a file system such as nodes have, since older kernels idmap no tmpfs.
truncate -s 3G /upper/disk
mount --bind /upper /root/mnt && chroot /root /sbin/mke2fs -q -t ext4 -F /mnt/disk && umount /root/mnt
mount -t ext4 -o loop /upper/disk /root/tmp && chmod 1777 /root/tmp || fail "no /tmp"
mkdir /root/tmp/share
share share /root/tmp/share none
ip link set lo up
mount --make-rshared /root
# Not chroot: a process whose root is not its namespace's may neither pivot nor make user namespaces.
exec switch_root -c /dev/console /root /bin/bash -c '
  bash /tmp/share/run.sh < /dev/null
  echo $? > /tmp/share/exit
  sync
  echo o > /proc/sysrq-trigger
  sleep 60'
