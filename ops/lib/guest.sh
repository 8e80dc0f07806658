# Sourced by the programs in ops/: booting the test guest in a QEMU of its own, without libvirt and without KVM.

# What the guest's kernel is told; the same for direct boot.
guest_cmdline='console=tty0 console=ttyS0 quiet panic=1 no_timer_check tsc=unstable random.trust_cpu=on'

# boot_guest direct|bios IMAGES FOLDER LINE…: boots IMAGES.{qcow2,vmlinuz,initrd} with a config drive made in FOLDER and
# QEMU's own user network, copies its console to stdout, and returns 0 once each LINE was seen in this order, 1 when
# that took longer than $guest_deadline_s (120).
boot_guest() {
  local how=$1 images=$2 folder=$3 console line seen='' pid deadline=$((SECONDS + ${guest_deadline_s:-120}))
  shift 3
  local -a boot=(-drive "file=$folder/disk.qcow2,if=virtio,format=qcow2")
  qemu-img create -q -f qcow2 -F qcow2 -b "$images.qcow2" "$folder/disk.qcow2"
  [[ $how == bios ]] || boot+=(-kernel "$images.vmlinuz" -initrd "$images.initrd" -append "$guest_cmdline")
  mkdir -p "$folder/drive/openstack/latest"
  printf '{"uuid":"0","name":"proof","hostname":"proof.novalocal"}' > "$folder/drive/openstack/latest/meta_data.json"
  printf '#!/bin/sh\necho user data ran\n' > "$folder/drive/openstack/latest/user_data"
  genisoimage -quiet -o "$folder/config.iso" -V config-2 -r -J "$folder/drive"
  exec {console}< <(exec qemu-system-x86_64 -accel tcg -machine q35 -m 128 -display none -no-reboot -serial stdio \
    -monitor none "${boot[@]}" -device virtio-scsi-pci -drive "file=$folder/config.iso,if=none,id=config,format=raw,readonly=on" \
    -device scsi-cd,drive=config -nic user,model=virtio-net-pci 2>&1 </dev/null)
  pid=$!
  while (( $# )); do
    if ! IFS= read -r -t $((deadline > SECONDS ? deadline - SECONDS : 1)) -u "$console" line; then
      echo "the guest never printed '$1'"; seen=no; break
    fi
    line=${line//$'\r'/}
    printf '%s %s\n' "$(date +%T.%3N)" "$line"
    [[ $line != *"$1"* ]] || shift
  done
  kill "$pid" 2>/dev/null || true
  exec {console}<&-
  [[ -z $seen ]]
}
