// What a decision may look at beside the State: who asks, and log time. decide() is pure: no I/O,
// clock, randomness, configuration or lock; ids come from the api, times from the record.
#pragma once

#include <fmt/format.h>

#include "events/codec.h"
#include "events/refusal.h"
#include "projections/state.h"

namespace reprise {

// The events that a decision appends; a refusal is the single event IntentRefused.
using Events = std::vector<Event>;

// What the actor may do in its project now. An admin of any project is one everywhere (keystone's
// legacy admin).
struct Rights {
  bool known = false;    // user and project exist and are enabled, and some role binds them
  bool reader = false;
  bool member = false;
  bool admin = false;
};
Rights rights_of(const State& state, UserId user, ProjectId project);

struct Context {
  const Intent& intent;
  Rights rights;
  std::int64_t at_ms = 0;

  ProjectId project() const { return intent.project; }
  UserId user() const { return intent.user; }
  // Another project's object is as good as absent.
  bool sees(ProjectId owner) const { return rights.admin || owner == intent.project; }
};

Events refuse(Refusal refusal, std::string text, AnyId object = {});

// For another project only admins make something.
std::optional<Events> refuse_owner(const State& state, ProjectId owner, const Context& context);

// "quota of instances exceeded: …" or nothing. `more` is what the intent would add.
std::optional<Events> over_quota(const State& state, ProjectId project, Resource resource, std::int64_t more);
std::int64_t quota_limit(const State& state, ProjectId project, Resource resource);
std::int64_t quota_used(const State& state, ProjectId project, Resource resource);

// Nodes make disks of raw and qcow2 images alone: said before, not by the node. Nothing: it can be.
std::optional<Events> refuse_format(const Image& image, AnyId object);

inline constexpr std::size_t ports_per_server_max = 16;

// By when the next step of a transient state must have happened (milliseconds of log time).
namespace deadline {
inline constexpr std::int64_t boot_ms = 600'000;
inline constexpr std::int64_t power_on_ms = 120'000;
inline constexpr std::int64_t stop_soft_ms = 60'000;
inline constexpr std::int64_t stop_hard_ms = 60'000;
inline constexpr std::int64_t reboot_soft_ms = 60'000;
inline constexpr std::int64_t reboot_hard_ms = 120'000;
inline constexpr std::int64_t unplace_ms = 120'000;
inline constexpr std::int64_t overdue_ms = 300'000;
inline constexpr std::int64_t volume_create_ms = 600'000;
inline constexpr std::int64_t attach_ms = 60'000;
inline constexpr std::int64_t detach_ms = 60'000;
inline constexpr std::int64_t volume_delete_ms = 120'000;
inline constexpr std::int64_t elsewhere_ms = 20'000;        // after a loss that an admin confirmed: a lease
inline constexpr std::int64_t fence_ms = 30'000;            // then another is asked
inline constexpr std::int64_t evacuate_again_ms = 60'000;
}  // namespace deadline

}  // namespace reprise
