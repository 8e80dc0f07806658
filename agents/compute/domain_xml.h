// A server's wants as libvirt's domain XML, and the XML of a domain of ours read back. Pure: no
// libvirt, no files. Disks and NICs carry their identity (id and born) in their device aliases, which
// libvirt keeps in the running and in the stopped domain and names in its events.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agents/compute/domain_metadata.h"
#include "agents/compute/driver.h"
#include "agents/storage/driver.h"

namespace reprise::compute {

// What the node adds to a server's wants.
struct DomainHost {
  bool kvm = false;      // else TCG
  std::string emulator;  // empty: libvirt's choice
  std::string bridge;    // the OVS bridge of the taps
  std::string console_log;
  std::string config_drive;  // empty: none
  std::string kernel;        // empty: boots from its disk
  std::string ramdisk;
};

struct DomainDisk {
  DiskLink link;
  storage::DiskSource source;
};

std::string domain_name(ServerId id);
std::string disk_alias(const DiskLink& link);

// invalid: something in it cannot be said in XML or to the kernel; the text names the field.
Result<std::string> domain_xml(const ServerWant& server, const std::vector<DomainDisk>& disks,
                               const DomainHost& host, const Marks& marks);
// `target` is the device's name: vda, vdb, …, and with it, in a domain that has our `fixed_places`, its
// place on the PCI bus.
Result<std::string> disk_xml(const DomainDisk& disk, const std::string& target, bool fixed_place);
// The name of each disk: its own, or, where it has none or another has it, the first that is free;
// empty: none is.
std::vector<std::string> disk_targets(const std::vector<DiskLink>& disks);

// A domain of ours as its XML tells.
struct SeenDomain {
  Marks marks;
  std::vector<DiskLink> disks;  // the boot disk first; not the config drive
  std::vector<NicLink> nics;
  std::vector<std::string> targets;          // vda, vdb, …: all that are taken
  std::map<std::string, std::string> paths;  // by target, the file of each disk
  bool fixed_places = false;                 // its PCI bus is as we lay it out now
};

// Nothing: not ours, or not readable.
std::optional<SeenDomain> read_domain_xml(const std::string& xml);

// The first name for a disk that none of `taken` has; empty: all are taken.
std::string free_target(const std::vector<std::string>& taken);

}  // namespace reprise::compute
