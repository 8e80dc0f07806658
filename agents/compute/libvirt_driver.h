// Compute driver `libvirt`: servers as persistent domains of QEMU (KVM where a probe guest really boots
// under it, else TCG).
//
// A domain's UUID is the server's id, its name reprise-<id>; who it is and what was carried out on it
// stands in its metadata (domain_metadata.h). Files of a server: <state>/servers/<id>.<born>/ with
// console.log, config.iso, kernel, ramdisk.
//
// Promises: domains without our metadata are neither shown nor touched. The definition is made anew at
// each start, so that what changed while a server was stopped is in force; while it runs, its disks are
// those of the running domain. Asking a guest (stop_soft, reboot_soft, a detach that it has not answered)
// gives `again`: the effect arrives as an event and wakes, and so does the time to ask again. A libvirtd that
// is away gives `unreachable`. Autostart is never set.
//
// Calls come from any thread: perform() of several servers at once, of one server at most two, the second
// of which is stop_hard or remove; observe() from one, at any time. A QEMU that hangs holds the step that
// asked it something until it goes on or is ended; stop_hard, remove and reboot_hard end it. The step that
// hung changes nothing any more then. observe() waits for no domain: one that does not answer is shown as
// it was last seen, with answers = false.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "agents/compute/driver.h"
#include "agents/storage/driver.h"

namespace reprise::compute {

enum class Virtualization : std::uint8_t { automatic = 0, kvm = 1, tcg = 2 };

using DiskSourceOf = std::function<storage::DiskSource(AnyId id, Born born)>;
using OpenSealed =
    std::function<Result<std::vector<std::uint8_t>>(ProjectId project, const std::vector<std::uint8_t>&)>;

struct LibvirtConfig {
  std::string uri = "qemu:///system";
  std::string state;  // absolute folder of this driver's own; made if it is not there
  DiskSourceOf disk_source;
  storage::ImagePath image_path;  // for kernel and ramdisk
  OpenSealed open_sealed;         // user data and admin passwords
  std::string bridge = "br-int";
  Virtualization virtualization = Virtualization::automatic;
  std::string emulator = "/usr/bin/qemu-system-x86_64";
  std::string boot_id;                                // empty: the kernel's. The lab's hosts bring their own
  std::function<bool()> host_is_going_down;           // empty: host_state.h's
  std::string domain_logs = "/var/log/libvirt/qemu";  // where libvirt writes a log a domain; removed with it
};

Result<std::unique_ptr<Driver>> open_libvirt_driver(LibvirtConfig config);

}  // namespace reprise::compute
