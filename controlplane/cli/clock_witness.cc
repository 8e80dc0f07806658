#include "controlplane/cli/clock_witness.h"

#include <sys/timex.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

namespace reprise::cli {
namespace {

constexpr std::int64_t apart_ms_max = 300'000;
constexpr std::int64_t own_apart_ms_max = 2'000;  // between two readings of one clock

// The kernel's own clock, if it says that it is synchronised. A process may be shown another time than the kernel has.
std::optional<std::int64_t> synchronised_ms() {
  timex state{};
  const int clock = ::adjtimex(&state);
  if (clock < 0 || clock == TIME_ERROR || (state.status & STA_UNSYNC) != 0) return std::nullopt;
  const std::int64_t part_ms = state.status & STA_NANO ? state.time.tv_usec / 1'000'000 : state.time.tv_usec / 1'000;
  return static_cast<std::int64_t>(state.time.tv_sec) * 1000 + part_ms;
}

// In UTC, as the kernel reads it; one that is set to local time does not agree, and bears nothing out.
std::optional<std::int64_t> hardware_ms() {
  std::error_code error;
  for (const auto& clock : std::filesystem::directory_iterator("/sys/class/rtc", error)) {
    std::ifstream file(clock.path() / "since_epoch");
    std::int64_t seconds = 0;
    if (file >> seconds) return seconds * 1000;
  }
  return std::nullopt;
}

}  // namespace

std::string doubt_clock(const Log& log, Now now) {
  const auto agrees = [&](std::optional<std::int64_t> other_ms, std::int64_t apart_ms) {
    return other_ms && std::abs(now.wall_ms - *other_ms) <= apart_ms;
  };
  // What a broker said is a bound: it is later than that by now.
  const auto heard = log.time_heard();
  if (heard && now.wall_ms <= *heard + apart_ms_max) return {};
  if (agrees(synchronised_ms(), own_apart_ms_max) || agrees(hardware_ms(), apart_ms_max)) return {};
  if (heard) return "no broker, no time server and no hardware clock bears it out";
  return "no time server and no hardware clock bears it out";
}

}  // namespace reprise::cli
