// The compute agent's side of the boundary: which servers a node should run, which it has, and the
// single steps between. The libvirt driver and the simulated one both speak this.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "agents/core/driver.h"
#include "events/ids.h"

namespace reprise::compute {

// A disk that a server has: its boot disk (id = the server's id) or a volume.
struct DiskLink {
  AnyId id;
  Born born;                // of the server (boot disk) or of the volume
  bool boot = false;
  bool read_only = false;
  std::string device;       // vda, vdb …: its place on the bus, which it keeps over stop and start; empty: any that is free
  auto operator<=>(const DiskLink&) const = default;
};

// What one address of a port is, told to the guest.
struct NicAddress {
  Ipv4 address;
  std::uint8_t prefix = 24;  // bits of the mask
  Ipv4 gateway;              // none: no default route
  bool dhcp = true;          // it is given out by DHCP; else the guest has to set it itself
  std::vector<Ipv4> dns;
  auto operator<=>(const NicAddress&) const = default;
};

// A port that a server has. The tap's name is derived from the port: tap_name().
struct NicLink {
  PortId port;
  Born born;
  Mac mac;
  std::uint32_t mtu = 1500;
  std::vector<NicAddress> addresses;  // wanted ones only: a domain does not know them
  auto operator<=>(const NicLink&) const = default;
};
// "tap" + the first 11 hex digits of the port's id, as neutron names them (IFNAMSIZ is 16).
std::string tap_name(PortId port);

// What the guest learns through the config drive (and later through the metadata service).
struct GuestData {
  std::string hostname;
  std::vector<std::string> metadata;      // key, value, key, value …
  std::string key_name;
  std::string public_key;
  std::vector<std::uint8_t> user_data_sealed;   // sealed with the project's key; empty: none
  std::vector<std::uint8_t> admin_pass_sealed;  // as well
  ProjectId project;                      // whose key opens it
  std::string availability_zone;
  auto operator<=>(const GuestData&) const = default;
};

struct ServerWant {
  ServerId id;
  Born born;
  Seq since = 0;
  bool absent = false;               // must not be here: only id, born and since count then
  std::string name;
  std::uint32_t vcpus = 1;
  std::uint64_t ram_mib = 0;
  bool on = false;                   // power that is wanted
  Seq power_seq = 0;                 // the seq of the event that wished `on` as it is
  bool stop_hard = false;            // power off by pulling the plug
  Seq reboot_seq = 0;                // the seq of the last event that wished a reboot; 0: never
  bool reboot_hard = false;
  std::vector<DiskLink> disks;       // the boot disk first
  std::vector<NicLink> nics;
  std::optional<ImageId> kernel;     // direct boot: image properties kernel_id and ramdisk_id
  std::optional<ImageId> ramdisk;
  std::string kernel_arguments;      // image property os_command_line; empty: the driver's default
  bool config_drive = false;
  GuestData guest;
  Seq identity = 0;                  // under which its disks are opened in a storage pool; 0: the node's own disks
  auto operator<=>(const ServerWant&) const = default;
};

enum class StopCause : std::uint8_t {
  none = 0,       // it runs, or it never ran
  asked = 1,      // we stopped it
  guest = 2,      // the guest powered itself off
  killed = 3,     // its process died or was killed
  host = 4,       // the host went down under it (its boot id is another)
};

// Why a guest stands still that runs; what libvirt does on the way (starting up, migrating) is none.
enum class Pause : std::uint8_t {
  none = 0,
  by_hand = 1,    // somebody suspended it on its host
  io_error = 2,   // a disk of it could not be written: no room, mostly. It is resumed when there is
  other = 3,      // it crashed, its watchdog, …
};

// A domain of ours on the host. The marks (power_seq, reboot_seq, boot_id) stand in its metadata.
struct ServerHave {
  ServerId id;
  Born born;
  bool running = false;
  Pause pause = Pause::none;         // of one that runs
  std::string paused;                // in words, for people: which disk, what to do
  bool answers = true;               // false: its QEMU or libvirt hangs, and this is what was last seen of it
  StopCause cause = StopCause::none;
  Seq power_seq = 0;                 // of the last wish for power that was carried out
  Seq reboot_seq = 0;                // of the last reboot that was carried out
  Seq identity = 0;                  // under which its disks are opened, since it was last started
  std::string boot_id;               // the host's, when the domain was last started
  std::vector<DiskLink> disks;       // attached now
  std::vector<NicLink> nics;
  auto operator<=>(const ServerHave&) const = default;
};

struct Have {
  std::string boot_id;               // the host's boot now (/proc/sys/kernel/random/boot_id)
  // Keyed by id and born: a domain of a former life of the same id is another thing.
  std::map<std::pair<ServerId, Born>, ServerHave> servers;
  bool operator==(const Have&) const = default;
};

using Want = std::map<ServerId, ServerWant>;

enum class Step : std::uint8_t {
  define,        // make the domain, stopped, with all its marks
  start,         // start it; marks power_seq (and reboot_seq: a fresh boot satisfies it), identity and boot_id
  mark_power,    // only write power_seq: it is already as wished
  stop_soft,     // ask the guest (ACPI); the plan asks again until it is off or stop_hard is wished
  stop_hard,     // pull the plug; marks power_seq
  reboot_soft,   // ask the guest to reboot; marks reboot_seq after the effect
  reboot_hard,   // reset, and let it run if it was paused; marks reboot_seq after the effect
  resume,        // let it run that was paused by an error of its disk; paused again at once if there still is no room
  attach_disk,   // `disk`, while running or stopped
  detach_disk,   // `disk`; done only when it is really gone
  remove,        // stop if it runs, undefine, remove its config drive and console log
};
const char* step_name(Step step);

struct Action {
  Step step = Step::define;
  ServerWant server;                 // for `remove` only id and born count
  DiskLink disk;                     // attach_disk, detach_disk
  bool operator==(const Action&) const = default;
};

class Driver : public reprise::Driver<Have, Action> {
 public:
  // The last `bytes` of what the guest wrote to its console (bytes = 0: all that is kept).
  virtual Result<std::string> console(ServerId id, std::size_t bytes) = 0;
};

}  // namespace reprise::compute
