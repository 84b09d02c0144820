#!/bin/busybox sh
# First process of the guest: loads what the host's files need, puts a writable layer over them, and runs the host's script
# there. Everything the guest writes is gone with it, but for the shared folder.
/bin/busybox --install -s /bin
export PATH=/bin
fail() { echo "vm: $*"; poweroff -f; }
mount -t devtmpfs dev /dev && mount -t proc proc /proc && mount -t sysfs sys /sys || fail "no kernel file systems"
while read -r module; do insmod "/mods/$module" || fail "$module does not load"; done < /mods/order
mkdir -p /lower /upper /node
share() { mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache="$3" "$1" "$2" || fail "no share $1"; }
share root /lower loose
mount -t tmpfs -o mode=755 upper /upper && mkdir /upper/up /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/up,workdir=/upper/work root /node || fail "no overlay"
for place in dev proc sys; do mount --move /$place /node/$place || fail "moving /$place"; done
mount -t tmpfs -o mode=755 run /node/run
mkdir -p /node/dev/pts /node/dev/shm
mount -t devpts devpts /node/dev/pts
mount -t tmpfs shm /node/dev/shm
mount -t cgroup2 cgroup2 /node/sys/fs/cgroup
mount -t bpf bpf /node/sys/fs/bpf
mount -t securityfs security /node/sys/kernel/security
mkdir -p /node/lib/modules
mount --bind "/node$(cat /modules-folder)" /node/lib/modules || fail "no modules"
# The kernel looks for modprobe in the root of its first process.
for module in loop ext4; do chroot /node /sbin/modprobe $module || fail "no $module"; done
# Tests write to /tmp: a file system such as nodes have, since older kernels idmap no tmpfs.
truncate -s 3G /upper/disk
mount --bind /upper /node/mnt && chroot /node /sbin/mke2fs -q -t ext4 -F /mnt/disk && umount /node/mnt
mount -t ext4 -o loop /upper/disk /node/tmp && chmod 1777 /node/tmp || fail "no /tmp"
mkdir /node/tmp/share
share share /node/tmp/share none
ip link set lo up
mount --make-rshared /node
# Not chroot: a process whose root is not its namespace's may neither pivot nor make user namespaces.
exec switch_root -c /dev/console /node /bin/bash -c '
  bash /tmp/share/run.sh < /dev/null
  echo $? > /tmp/share/exit
  sync
  echo o > /proc/sysrq-trigger
  sleep 60'
