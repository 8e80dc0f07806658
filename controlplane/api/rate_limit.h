// A token bucket per project: so many requests a second, and a burst. Counted in the api, before anything
// reaches the log. Buckets that are full again are forgotten, so that memory follows the active projects.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>

#include "events/ids.h"

namespace reprise::api {

struct RateLimitConfig {
  double per_second = 500;
  double burst = 2000;
};

class RateLimit {
 public:
  explicit RateLimit(RateLimitConfig config) : config_(config) {}

  // Takes one; or says after how many whole seconds (at least 1) there is one again.
  std::optional<std::uint32_t> take(ProjectId project, std::uint64_t now_ms);

 private:
  struct Bucket {
    double left = 0;
    std::uint64_t at_ms = 0;
  };
  void forget_full(std::uint64_t now_ms);
  double left_at(const Bucket& bucket, std::uint64_t now_ms) const;

  const RateLimitConfig config_;
  std::mutex mutex_;
  std::map<ProjectId, Bucket> buckets_;
  std::size_t forget_at_ = 1024;
};

}  // namespace reprise::api
