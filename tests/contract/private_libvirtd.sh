#!/bin/bash
# A libvirtd of the test's own, with folders, processes and network of its own. The test speaks to it on
# standard input and gets one line an answer; when the input ends, or this shell dies, all of it is gone.
#   unshare --net --mount --pid --ipc --fork --kill-child --mount-proc bash private_libvirtd.sh FOLDER
set -u
D=$1
fail() { echo "failed: $*"; exit 1; }
mkdir -p "$D"/{etc/qemu,lib,cache,log,run} || fail "cannot make folders in $D"
chmod 711 "$D" "$D/lib" || fail "cannot open $D to QEMU's user"
cat > "$D/etc/libvirtd.conf" <<C
auth_unix_ro = "none"
auth_unix_rw = "none"
unix_sock_group = "root"
host_uuid = "00000000-1111-4222-8333-444455556666"
log_outputs = "3:file:$D/log/libvirtd.log"
C
cat > "$D/etc/qemu.conf" <<C
security_driver = "none"
user = "libvirt-qemu"
group = "libvirt-qemu"
dynamic_ownership = 1
remember_owner = 0
namespaces = [ ]
cgroup_controllers = [ ]
stdio_handler = "file"
C
# Once this is executable and libvirtd started again: while there is a file `hold-NAME`, libvirt does not get on with that guest, and holds its lock.
mkdir -p "$D/etc/hooks"
cat > "$D/etc/hooks/qemu" <<C
#!/bin/sh
[ "\$2" = prepare ] || exit 0
while [ -e "$D/hold-\$1" ]; do sleep 0.1; done
C
mount --make-rprivate / || fail "cannot have mounts of its own (root is needed)"
mkdir -p /run/libvirt /etc/libvirt /var/lib/libvirt /var/cache/libvirt /var/log/libvirt
for pair in etc:/etc/libvirt lib:/var/lib/libvirt cache:/var/cache/libvirt log:/var/log/libvirt run:/run/libvirt; do
  mount --bind "$D/${pair%%:*}" "${pair#*:}" || fail "cannot bind ${pair#*:}"
done
# Hidden, not replaced by /dev/null: libvirt would probe QEMU anew at every define.
if [ -e /dev/kvm ]; then
  : > "$D/no-kvm"
  mount --bind "$D/no-kvm" /dev/kvm && mount -o remount,bind,ro /dev/kvm || fail "cannot hide /dev/kvm"
fi
# QEMU runs under its package's user, as in production.
if ! getent passwd libvirt-qemu >/dev/null; then
  { cat /etc/passwd; echo 'libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin'; } > "$D/passwd"
  { cat /etc/group; echo 'libvirt-qemu:x:64055:'; } > "$D/group"
  mount --bind "$D/passwd" /etc/passwd && mount --bind "$D/group" /etc/group || fail "cannot bind /etc/passwd"
fi
mount -t sysfs sys /sys
exec 2>"$D/log/host.err"
ip link set lo up
daemon=
guest_pid() { cat "/run/libvirt/qemu/$1.pid" 2>/dev/null || fail "no guest $1"; }
while read -r command name; do
  case $command in
  start) libvirtd -p /run/libvirt/test.pid </dev/null >"$D/log/libvirtd.out" 2>&1 & daemon=$!; echo started ;;
  kill) kill -9 "$daemon"; wait "$daemon" 2>/dev/null; echo killed ;;
  hang) kill -STOP "$daemon"; echo hangs ;;
  go-on) kill -CONT "$daemon"; echo goes on ;;
  kill-guest) kill -9 "$(guest_pid "$name")"; echo killed ;;
  hang-guest) kill -STOP "$(guest_pid "$name")"; echo hangs ;;
  wake-guest) kill -CONT "$(guest_pid "$name")"; echo goes on ;;
  end-guests) kill -9 $(cat /run/libvirt/qemu/*.pid) 2>/dev/null; echo ended ;;
  end-guest) kill -TERM "$(guest_pid "$name")"; echo ended ;;
  # As a power cut does it: every process but this one, and what is in /run.
  power-cut) kill -9 -1; wait; rm -rf /run/libvirt/*; echo dark ;;
  # A bridge in userspace for the guests' taps; libvirt itself asks ovs-vsctl to plug them.
  ovs)
    mkdir -p "$D/ovs" /run/openvswitch && mount --bind "$D/ovs" /run/openvswitch || fail "cannot bind /run/openvswitch"
    ovsdb-tool create "$D/ovs/conf.db" /usr/share/openvswitch/vswitch.ovsschema || fail "no OVS database"
    ovsdb-server --detach --no-chdir --pidfile --log-file="$D/log/ovsdb.log" --remote=punix:/run/openvswitch/db.sock \
      "$D/ovs/conf.db" && ovs-vsctl --no-wait init || fail "no ovsdb-server"
    ovs-vswitchd --detach --no-chdir --pidfile --log-file="$D/log/vswitchd.log" || fail "no ovs-vswitchd"
    ovs-vsctl --timeout=20 add-br br-int -- set bridge br-int datapath_type=netdev fail_mode=secure || fail "no br-int"
    echo bridged ;;
  ports) echo $(ovs-vsctl --timeout=20 list-ports br-int) ;;
  iface) echo $(ovs-vsctl --timeout=20 get Interface "$name" external_ids:iface-id mtu) ;;
  *) fail "unknown command $command" ;;
  esac
done
