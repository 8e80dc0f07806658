// Who may claim, in the simulated log: as a consumer group chooses. What the group has decided and what a
// process knows of it are two things; a paused process believes what it last knew.
#include <algorithm>

#include "tests/sim/sim_log_core.h"

namespace reprise::sim {
namespace {
constexpr std::int64_t join_ms_max = 20;
}

void SimLog::Core::join(const StandPtr& stand) {
  later(draw_ms(join_ms_max), [this, stand] {
    if (stand->gone || stand->client->killed) return;
    stands.push_back(stand);
    elect();
  });
}

void SimLog::Core::leave(const StandPtr& stand) {
  stand->gone = true;
  if (stand->client->killed) return;  // it does not say goodbye: the group has to notice
  later(draw_ms(join_ms_max), [this, stand] {
    stand->chosen = false;
    stands.remove(stand);
    elect();
  });
}

// If nobody is chosen, the one that has stood longest and is heard is. One that was dismissed and heard again
// stands anew.
void SimLog::Core::elect() {
  if (std::any_of(stands.begin(), stands.end(), [](const StandPtr& s) { return s->chosen; })) return;
  const auto next = std::find_if(stands.begin(), stands.end(),
                                 [](const StandPtr& s) { return !s->gone && s->client->heard(); });
  if (next != stands.end()) choose(*next);
}

void SimLog::Core::choose(const StandPtr& stand) {
  stand->chosen = true;
  believe(stand, true, draw_ms(join_ms_max));
}

void SimLog::Core::dismiss(const StandPtr& stand, std::int64_t told_after_ms) {
  stand->chosen = false;
  stands.remove(stand);
  stands.push_back(stand);
  believe(stand, false, told_after_ms);
}

void SimLog::Core::believe(const StandPtr& stand, bool elected, std::int64_t after_ms) {
  call(stand->client, after_ms, [stand, elected] {
    if (stand->gone || stand->believes == elected || stand->chosen != elected) return;
    stand->believes = elected;
    stand->wake();
  });
}

// A client that is not heard for a session's time is dismissed. One that is cut off gives up by itself then;
// one that is paused learns of it when it goes on.
void SimLog::Core::lost_sight(const ClientPtr& client) {
  const auto outage = ++client->outage;
  later(faults.session_ms, [this, client, outage] {
    if (client->outage != outage) return;
    const auto of_client = [&](const StandPtr& s) { return s->client == client && s->chosen; };
    for (auto at = std::find_if(stands.begin(), stands.end(), of_client); at != stands.end();
         at = std::find_if(stands.begin(), stands.end(), of_client)) {
      dismiss(StandPtr(*at), 0);
    }
    stands.remove_if([](const StandPtr& s) { return s->client->killed; });
    elect();
  });
}

void SimLog::reelect() {
  const auto chosen =
      std::find_if(core_->stands.begin(), core_->stands.end(), [](const StandPtr& s) { return s->chosen; });
  if (chosen != core_->stands.end()) core_->dismiss(StandPtr(*chosen), core_->draw_ms(join_ms_max));
  core_->elect();
}

}  // namespace reprise::sim
