// Passwords: argon2id, on workers of their own. A hash holds its salt and cost; verifying takes as long as
// making it did (some 20 ms and 19 MiB), which is why neither ever runs on a request's thread.
#pragma once

#include <functional>
#include <string>

#include "controlplane/api/worker_pool.h"

namespace reprise::api {

inline constexpr std::size_t password_chars_max = 1024;

struct PasswordCost {
  unsigned long long passes = 2;  // OWASP's least for 19 MiB
  std::size_t memory_bytes = 19 * 1024 * 1024;
};

class PasswordPool {
 public:
  explicit PasswordPool(int threads = 1, std::size_t queue_max = 64, PasswordCost cost = {});

  // `then` is called on a worker. False: too many are waiting, answer 503 with Retry-After.
  [[nodiscard]] bool hash(std::string password, std::function<void(std::string hash)> then);
  // An empty hash (no such user) takes as long as a real one and is never right.
  [[nodiscard]] bool verify(std::string password, std::string hash, std::function<void(bool right)> then);

  // As WorkerPool's.
  void stop() { pool_.stop(); }

  std::string hash_now(const std::string& password) const;

 private:
  const PasswordCost cost_;
  const std::string nobody_;
  WorkerPool pool_;
};

}  // namespace reprise::api
