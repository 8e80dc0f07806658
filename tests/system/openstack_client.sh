#!/bin/bash
# tests/system/openstack_client.sh OPENRC: what the unmodified openstack client does with a running cloud of real
# drivers, from its first token to nothing left. Prints a line a check; exit 1 at the first that fails.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
openrc=${1:?usage: openstack_client.sh OPENRC}
images=${REPRISE_IMAGES:-/var/cache/reprise/images}
. "$openrc"
work=$(mktemp -d)
passed=0
trap 'rm -rf "$work"' EXIT

check() {  # WHAT COMMAND…: the command's output is kept in $out
  local what=$1 begun=$EPOCHREALTIME; shift
  if out=$("$@" 2>"$work/err"); then
    passed=$((passed + 1))
    printf 'ok   %5.1f s  %s\n' "$(awk "BEGIN {print $EPOCHREALTIME - $begun}")" "$what"
  else
    printf 'FAIL          %s\n  %s\n%s\n%s\n' "$what" "$*" "$out" "$(tail -5 "$work/err")"
    printf '%d passed, 1 failed\n' "$passed"; exit 1
  fi
}
value() { openstack "$@" -f value; }
within() {  # SECONDS COMMAND…: tried again until it succeeds
  local until=$((SECONDS + $1)); shift
  until "$@"; do (( SECONDS < until )) || return 1; read -rt 0.3 <> <(:) || true; done
}
in_net() { ip netns exec "$ns" "$@"; }
in_guest() { in_net timeout 15 ssh -i "$work/key" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=5 "root@$address" "$@"; }
console_has() { openstack console log show "$1" | grep -q "$2"; }
pings() { in_net ping -c 1 -W 1 "$1" > /dev/null; }
guest_pings() { in_guest ping -c 2 -W 2 "$1" > /dev/null; }
no_guest_pings() { ! guest_pings "$1"; }
absent() { ! openstack server show "$1" > /dev/null 2>&1; }
status_is() { [[ $(value "$1" show "$2" -c status) == "$3" ]]; }
address_of() { value server show "$1" -c addresses | grep -oE '([0-9]{1,3}\.){3}[0-9]{1,3}' | head -1; }
namespace_of() { echo "rp-$(value network show "$1" -c id | tr -d - | cut -c1-12)"; }

check 'token issue' openstack token issue
check 'catalog list' openstack catalog list
check 'flavor list' openstack flavor list
check 'image create --file (kernel)' value image create e2e-kernel --file "$images/reprise-guest.vmlinuz" --disk-format aki --container-format aki -c id
kernel=$(value image show e2e-kernel -c id)
check 'image create --file (ramdisk)' value image create e2e-ramdisk --file "$images/reprise-guest.initrd" --disk-format ari --container-format ari -c id
ramdisk=$(value image show e2e-ramdisk -c id)
check 'image create --file' openstack image create e2e-guest --file "$images/reprise-guest.qcow2" --disk-format qcow2 \
  --container-format bare --property "kernel_id=$kernel" --property "ramdisk_id=$ramdisk"
check 'image is active' status_is image e2e-guest active
check 'network create' openstack network create e2e-a
check 'subnet create' openstack subnet create e2e-a --network e2e-a --subnet-range 10.77.1.0/24
check 'network create (another)' openstack network create e2e-b
check 'subnet create (another)' openstack subnet create e2e-b --network e2e-b --subnet-range 10.77.1.0/24
ssh-keygen -q -t ed25519 -N '' -f "$work/key"
check 'keypair create' openstack keypair create e2e-key --public-key "$work/key.pub"
printf '#!/bin/sh\necho "user data ran as $(hostname)"\n' > "$work/user-data"
begun=$EPOCHREALTIME
check 'server create --wait' openstack server create one --wait --image e2e-guest --flavor m1.nano --network e2e-a --key-name e2e-key --user-data "$work/user-data"
ns=$(namespace_of e2e-a)
address=$(address_of one)
check "console log show: ready with its address $address" within 30 console_has one "reprise-guest ready one $address"
printf 'info %5.1f s  from POST to ready\n' "$(awk "BEGIN {print $EPOCHREALTIME - $begun}")"
check 'console log show: the user data ran' within 10 console_has one 'user data ran as one'
check 'server list' openstack server list
check 'server show' openstack server show one
check 'ping from the network' within 10 pings "$address"
check 'ssh login' within 20 in_guest true
check 'server create (same network)' openstack server create two --wait --image e2e-guest --flavor m1.nano --network e2e-a --key-name e2e-key
net_b=$(value network show e2e-b -c id)
check 'server create (another network, same range)' openstack server create three --wait --image e2e-guest --flavor m1.nano \
  --nic "net-id=$net_b,v4-fixed-ip=10.77.1.77" --key-name e2e-key
two=$(address_of two) three=$(address_of three)
check "the second is ready" within 40 console_has two "reprise-guest ready two $two"
check "the third is ready" within 40 console_has three "reprise-guest ready three $three"
check "one reaches two" within 10 guest_pings "$two"
check "one does not reach three at $three, in its own range but on another network" no_guest_pings "$three"
check 'volume create' openstack volume create e2e-volume --size 1
check 'volume is available' within 20 status_is volume e2e-volume available
check 'server add volume' openstack server add volume one e2e-volume
check 'volume is in-use' within 20 status_is volume e2e-volume in-use
check 'the disk is seen in the guest' within 10 in_guest 'test "$(cat /sys/block/vdc/size)" = 2097152'
check 'server remove volume' openstack server remove volume one e2e-volume
check 'volume is available again' within 30 status_is volume e2e-volume available
check 'the disk is gone from the guest' within 10 in_guest 'test ! -e /sys/block/vdc'
check 'server stop' openstack server stop one
check 'it is SHUTOFF' within 90 status_is server one SHUTOFF
check 'server start' openstack server start one
check 'it is ACTIVE' within 20 status_is server one ACTIVE
check 'ping after the start' within 30 pings "$address"
check 'ssh after the start' within 30 in_guest true
check 'server reboot (soft)' openstack server reboot one --wait
check 'ping after the reboot' within 40 pings "$address"
check 'server reboot --hard' openstack server reboot one --hard --wait
check 'ping after the hard reboot' within 40 pings "$address"
check 'volume delete' openstack volume delete e2e-volume
for server in one two three; do check "server delete --wait $server" openstack server delete --wait "$server"; done
check 'the servers are gone' absent one
for network in e2e-a e2e-b; do
  check "subnet delete $network" openstack subnet delete "$network"
  check "network delete $network" openstack network delete "$network"
done
check 'keypair delete' openstack keypair delete e2e-key
check 'image delete' openstack image delete e2e-guest e2e-kernel e2e-ramdisk
check 'no namespace is left' within 10 bash -c "! ip netns | grep -q '^$ns'"
printf '%d passed, 0 failed\n' "$passed"
