#include "tests/sim/shrink.h"

#include <chrono>

#include "tests/sim/child.h"
#include "tests/sim/options.h"

namespace reprise::sim {
namespace {

class Shrinker {
 public:
  Shrinker(WorldOptions options, unsigned patience_s, int seconds_max)
      : best_(std::move(options)), patience_s_(patience_s), until_(Clock::now() + std::chrono::seconds(seconds_max)) {}

  WorldOptions run(const Shape& shape) {
    take([&](WorldOptions& o) { o.faults = shape.faults; });
    const std::set<Fault> kinds = best_.faults ? *best_.faults : std::set<Fault>{};
    for (const Fault fault : kinds) take([&](WorldOptions& o) { o.faults->erase(fault); });
    for (int controllers = 1; controllers < shape.controllers; ++controllers)
      if (take([&](WorldOptions& o) { o.controllers = controllers; })) break;
    for (int nodes = 1; nodes < shape.nodes; ++nodes)
      if (take([&](WorldOptions& o) { o.nodes = nodes; })) break;
    for (std::int64_t busy_ms = shape.busy_ms; busy_ms > 3'000;) {
      busy_ms = busy_ms * 3 / 4;
      if (!take([&](WorldOptions& o) { o.busy_ms = busy_ms; })) break;
    }
    fewer_wishes(shape);
    return best_;
  }

 private:
  using Clock = std::chrono::steady_clock;

  // Keeps the change if it fails all the same.
  template <class Change>
  bool take(Change&& change) {
    if (Clock::now() > until_) return false;
    WorldOptions tried = best_;
    change(tried);
    if (!fails(tried)) return false;
    best_ = std::move(tried);
    return true;
  }

  bool fails(const WorldOptions& options) {
    std::vector<std::string> words{std::to_string(options.seed), "1", "--no-shrink", "--patience", std::to_string(patience_s_)};
    for (auto& word : world_words(options)) words.push_back(std::move(word));
    return !Child(words).join();
  }

  // Leaves out ever smaller parts (Zeller's delta debugging).
  void fewer_wishes(const Shape& shape) {
    std::set<std::uint64_t> all;
    for (std::uint64_t number = 1; number <= shape.wishes; ++number) all.insert(number);
    if (!take([&](WorldOptions& o) { o.wishes = all; })) return;
    for (std::size_t part = all.size(); part > 0; part /= 2) {
      const std::vector<std::uint64_t> now(best_.wishes->begin(), best_.wishes->end());
      for (std::size_t at = 0; at < now.size(); at += part)
        take([&](WorldOptions& o) {
          for (std::size_t i = at; i < std::min(at + part, now.size()); ++i) o.wishes->erase(now[i]);
        });
    }
  }

  WorldOptions best_;
  const unsigned patience_s_;
  const Clock::time_point until_;
};

}  // namespace

WorldOptions shrink(WorldOptions options, const Shape& shape, unsigned patience_s, int seconds_max) {
  return Shrinker(std::move(options), patience_s, seconds_max).run(shape);
}

}  // namespace reprise::sim
