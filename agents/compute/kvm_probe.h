// Whether KVM really works here. /dev/kvm may exist and answer, and yet a guest hangs or QEMU aborts
// (nested virtualization does that): so a guest of 512 bytes is booted. It waits for timer interrupts,
// goes to 64-bit mode with paging, counts to ten million and ends QEMU with a code that only it gives.
#pragma once

#include <string>

namespace reprise::compute {

struct KvmProbe {
  bool works = false;
  std::string reason;  // why not, for a person
};

// Takes a fraction of a second where KVM works, and at most five where it hangs. The result is kept in
// `folder` for this boot of the host.
KvmProbe probe_kvm(const std::string& folder, const std::string& boot_id, const std::string& emulator);

// The probe itself, under the accelerator `accel` (kvm, tcg): what the tests use.
KvmProbe boot_probe_guest(const std::string& folder, const std::string& accel, const std::string& emulator);

}  // namespace reprise::compute
