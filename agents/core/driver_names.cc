#include "agents/core/driver.h"

namespace reprise {

const char* agent_name(AgentKind kind) {
  switch (kind) {
    case AgentKind::compute: return "compute";
    case AgentKind::storage: return "storage";
    case AgentKind::network: return "network";
  }
  return "?";
}

}  // namespace reprise
