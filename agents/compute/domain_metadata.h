// What we write into a domain of ours, as the metadata element `urn:reprise:1`: who it is, and which
// wishes were carried out on it. It lives and dies with the domain, so it cannot disagree with it.
// A domain without the element is an operator's own.
#pragma once

#include <string>

#include "agents/compute/driver.h"

namespace reprise::compute {

inline constexpr const char* metadata_uri = "urn:reprise:1";
inline constexpr const char* metadata_prefix = "reprise";

struct Marks {
  ServerId id;
  Born born;
  Seq power_seq = 0;                  // of the last wish for power that was carried out
  Seq reboot_seq = 0;                 // of the last reboot that was carried out
  Seq stop_asked = 0;                 // the power_seq for which we asked it to stop; 0: not since it started
  std::string boot_id;                // the host's, when it was last started; empty: it never ran
  StopCause cause = StopCause::none;  // why it stopped, once that is known
  Seq identity = 0;                   // under which it opened its disks in a storage pool; 0: the node's own disks
  bool operator==(const Marks&) const = default;
};

// The element with its namespace, for a whole domain definition.
std::string marks_xml(const Marks& marks);
// Without it, as virDomainSetMetadata wants it.
std::string marks_bare_xml(const Marks& marks);

const char* cause_name(StopCause cause);
StopCause parse_cause(const std::string& name);

}  // namespace reprise::compute
