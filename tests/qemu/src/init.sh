#!/bin/busybox sh
# The first process of a guest. It loads the drivers, and then runs the commands that come through a port of
# virtio-serial, one a line. The answer is a line with exit code and number of bytes, and then the bytes.
/bin/busybox --install -s /bin
mount -t devtmpfs none /dev
mount -t proc none /proc
mount -t sysfs none /sys
# virtio_ring comes first: modules are loaded by name here, in the order in which they need each other.
for module in virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci \
    failover net_failover virtio_net virtio_console; do
    insmod /modules/$module.ko
done
ip link set lo up
until [ -e /dev/vport0p1 ]; do usleep 1000; done
exec 3<>/dev/vport0p1
while IFS= read -r command <&3; do
    # A file of its own: what an earlier command left running may still write to its own.
    rm -f /tmp/answer
    sh -c "$command" </dev/null >/tmp/answer 2>&1 3>&-
    code=$?
    size=$(stat -c %s /tmp/answer)
    echo "$code $size" >&3
    head -c "$size" /tmp/answer >&3
done
