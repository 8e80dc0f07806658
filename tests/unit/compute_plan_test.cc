// What the compute agent does with a guest that stands still.
#include "agents/compute/plan.h"

#include <catch2/catch.hpp>  // last: its CHECK replaces ours

namespace reprise::compute {
namespace {

ServerWant wanted() {
  ServerWant want;
  want.id = ServerId{1, 1};
  want.born = Born{7, 0};
  want.on = true;
  want.power_seq = 10;
  return want;
}

std::optional<Step> next(const ServerWant& want, Pause pause) {
  Have have;
  have.boot_id = "boot";
  have.servers[{want.id, want.born}] = {.id = want.id, .born = want.born, .running = true, .pause = pause,
                                        .power_seq = 10, .boot_id = "boot"};
  const auto action = next_action({{want.id, want}}, have);
  return action ? std::optional(action->step) : std::nullopt;
}

}  // namespace

TEST_CASE("a guest that stands still: let on only where its disk failed, before it is asked anything") {
  auto want = wanted();
  CHECK(next(want, Pause::none) == std::nullopt);
  CHECK(next(want, Pause::by_hand) == std::nullopt);
  CHECK(next(want, Pause::other) == std::nullopt);
  CHECK(next(want, Pause::io_error) == Step::resume);
  want.reboot_seq = 20;
  CHECK(next(want, Pause::none) == Step::reboot_soft);
  CHECK(next(want, Pause::by_hand) == Step::reboot_soft);  // the driver says that it cannot be heard
  CHECK(next(want, Pause::io_error) == Step::resume);
  want.reboot_hard = true;
  for (const auto pause : {Pause::none, Pause::by_hand, Pause::io_error, Pause::other})
    CHECK(next(want, pause) == Step::reboot_hard);
  want.on = false;
  want.power_seq = 11;
  CHECK(next(want, Pause::none) == Step::stop_soft);
  for (const auto pause : {Pause::by_hand, Pause::io_error, Pause::other})
    CHECK(next(want, pause) == Step::stop_hard);
}

}  // namespace reprise::compute
