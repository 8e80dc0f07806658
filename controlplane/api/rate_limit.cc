#include "controlplane/api/rate_limit.h"

#include <algorithm>
#include <cmath>

namespace reprise::api {

double RateLimit::left_at(const Bucket& bucket, std::uint64_t now_ms) const {
  const double passed = now_ms > bucket.at_ms ? static_cast<double>(now_ms - bucket.at_ms) / 1000 : 0;
  return std::min(config_.burst, bucket.left + passed * config_.per_second);
}

std::optional<std::uint32_t> RateLimit::take(ProjectId project, std::uint64_t now_ms) {
  const std::lock_guard lock(mutex_);
  if (buckets_.size() >= forget_at_) forget_full(now_ms);
  auto& bucket = buckets_.try_emplace(project, Bucket{config_.burst, now_ms}).first->second;
  bucket.left = left_at(bucket, now_ms);
  bucket.at_ms = std::max(bucket.at_ms, now_ms);
  if (bucket.left < 1)
    return static_cast<std::uint32_t>(std::max(1.0, std::ceil((1 - bucket.left) / config_.per_second)));
  bucket.left -= 1;
  return std::nullopt;
}

void RateLimit::forget_full(std::uint64_t now_ms) {
  std::erase_if(buckets_, [&](const auto& entry) { return left_at(entry.second, now_ms) >= config_.burst; });
  forget_at_ = std::max<std::size_t>(1024, buckets_.size() * 2);
}

}  // namespace reprise::api
