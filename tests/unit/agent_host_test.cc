// The threads that drive the agents: what comes back after their end.
#include "agents/core/agent_host.h"

#include <condition_variable>

#include "agents/core/simulated_host.h"
#include "events/embedded_log.h"
#include "tests/unit/temporary_folder.h"

#undef CHECK
#include <catch2/catch.hpp>  // last: its CHECK replaces ours

using namespace reprise;
using namespace std::chrono_literals;

TEST_CASE("what a projection calls back after the agents' end reaches nobody") {
  reprise::testing::TemporaryFolder folder;
  auto log = open_embedded_log(folder.path("log"));
  REQUIRE(log);
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::function<void(Status)>> asked;
  std::size_t states_read = 0;
  const State state;
  AgentSource source{.with_state =
                         [&](const auto& f) {
                           ++states_read;
                           f(state, Head{});
                         },
                     .fresh =
                         [&](auto callback) {
                           std::lock_guard lock(mutex);
                           asked.push_back(std::move(callback));
                           changed.notify_all();
                         }};
  SimulatedHost host("boot-1");
  {
    AgentHost agents(**log, std::move(source), ReconcilerOptions{}, [](const std::string&) {});
    agents.add({.id = {1, 2}, .name = "node-1", .boot_id = "boot-1"}, host.compute(), host.storage(), host.network());
    agents.start();
    std::unique_lock lock(mutex);
    REQUIRE(changed.wait_for(lock, 20s, [&] { return !asked.empty(); }));
    lock.unlock();
    agents.changed({.all = true}, false);  // so that an answer would look at the state again
    agents.stop();
    const auto before = states_read;
    asked.front()(Status());
    CHECK(states_read == before);
  }
  for (const auto& callback : asked) callback(Status());
}
