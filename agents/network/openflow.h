// The flows of br-int: what the switch has, what differs from what is wanted, and one bundle that makes
// it so, all or nothing.
//
// Promises: all calls run on the OvsLoop's thread and end by their deadline, even when ovs-vswitchd hangs.
// br-int is ours whole: a flow that is not wanted goes. Our flows carry `flow_cookie`, for people who
// look. `changed` is called when the connection is lost and when it is back: a switch that was restarted
// has no flows, and that is how one finds out at once.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agents/network/flows.h"
#include "agents/network/ovs_loop.h"
#include "events/result.h"

struct ofpbuf;
struct vconn;

namespace reprise::network {

inline constexpr std::uint64_t flow_cookie = 0x5265707269736500;  // "Reprise"

struct FlowsBehind {
  std::size_t missing = 0;        // wanted, and not there or there with other actions
  std::size_t foreign = 0;        // there, and not wanted
  std::set<PortId> ports;         // those with a flow of their own missing
  std::set<std::uint32_t> known;  // the ofports that the switch takes frames from, wanted or not
  bool none() const { return missing == 0 && foreign == 0; }
};

using Refused = std::map<AnyId, std::string>;  // by owner: why

class OpenFlow : public OvsLoop::Part {
 public:
  OpenFlow(OvsLoop& loop, const std::string& run_dir, const std::string& bridge,
           std::function<void()> changed);
  ~OpenFlow() override;

  Result<FlowsBehind> compare(const std::vector<Flow>& wanted, Clock::time_point deadline);
  // Nothing: all is in force. Else nothing was changed, and these owners' flows cannot be: ovs-vswitchd
  // refuses them, or others have the same match. To be called again without them.
  Result<Refused> replace(const std::vector<Flow>& wanted, Clock::time_point deadline);

  void run() override;
  void wait() override;

 private:
  struct Wanted;  // flows by table, priority and match
  struct Installed;
  using Message = std::unique_ptr<ofpbuf, void (*)(ofpbuf*)>;
  struct Mod {
    Message message;
    AnyId owner;  // none: a flow that goes
  };

  Status until_connected(Clock::time_point deadline);
  void disconnect();
  static Result<Refused> understand(const std::vector<Flow>& flows, Wanted& into);
  Result<Refused> understood(const std::vector<Flow>& flows);  // into last_wanted_
  Result<Installed> dump(Clock::time_point deadline);
  Result<Refused> bundle(std::vector<Mod> mods, Clock::time_point deadline);
  // Sends all; gives what comes back to `on_answer` until that returns true.
  Status exchange(std::vector<Message> messages, const std::function<bool(const Message&)>& on_answer,
                  Clock::time_point deadline);

  OvsLoop& loop_;
  const std::string remote_;
  std::function<void()> changed_;
  Appearances socket_;
  vconn* vconn_ = nullptr;
  bool connected_ = false;
  bool busy_ = false;  // exchange() is reading
  Clock::time_point again_at_{};
  std::chrono::milliseconds back_off_{50};
  std::vector<Flow> last_flows_;
  Refused last_refused_;
  std::unique_ptr<Wanted> last_wanted_;
};

}  // namespace reprise::network
