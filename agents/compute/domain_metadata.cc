#include "agents/compute/domain_metadata.h"

#include <fmt/format.h>

namespace reprise::compute {
namespace {

// Every value is made of hex digits, numbers and words of our own: nothing needs escaping. The boot
// id comes from a file or the configuration and is checked there.
std::string attributes(const Marks& marks) {
  return fmt::format(
      "id='{}' born='{}' power_seq='{}' reboot_seq='{}' stop_asked='{}' boot_id='{}' cause='{}'{}",
      marks.id.str(), marks.born.str(), marks.power_seq, marks.reboot_seq, marks.stop_asked, marks.boot_id,
      cause_name(marks.cause), marks.identity ? fmt::format(" identity='{}'", marks.identity) : std::string());
}

}  // namespace

std::string marks_xml(const Marks& marks) {
  return fmt::format("<{0}:server xmlns:{0}='{1}' {2}/>", metadata_prefix, metadata_uri, attributes(marks));
}

std::string marks_bare_xml(const Marks& marks) { return fmt::format("<server {}/>", attributes(marks)); }

const char* cause_name(StopCause cause) {
  switch (cause) {
    case StopCause::none:
      return "none";
    case StopCause::asked:
      return "asked";
    case StopCause::guest:
      return "guest";
    case StopCause::killed:
      return "killed";
    case StopCause::host:
      return "host";
  }
  return "none";
}

StopCause parse_cause(const std::string& name) {
  for (const auto cause : {StopCause::asked, StopCause::guest, StopCause::killed, StopCause::host})
    if (name == cause_name(cause)) return cause;
  return StopCause::none;
}

}  // namespace reprise::compute
