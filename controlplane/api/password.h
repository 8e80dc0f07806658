// Passwords: argon2id, on workers of their own. A hash holds its salt and cost; verifying takes as long as making it did
// (some 20 ms and 19 MiB), which is why neither ever runs on a request's thread, and why who is wrong must not keep others
// waiting:
// - Who was wrong lately, by that name from that address, waits in a queue of its own, which gets a quarter of the turns
//   while others wait.
// - What came out of a password is remembered for a while: the same again costs nothing. Neither passwords nor hashes are
//   kept for that, only a keyed hash of both, under a key that ends with the process.
#pragma once

#include <array>
#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
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
  // At most `queue_max` wait in each of the two queues.
  explicit PasswordPool(int threads = 1, std::size_t queue_max = 64, PasswordCost cost = {});

  // `then` is called on a worker. False: too many are waiting, answer 503 with Retry-After.
  [[nodiscard]] bool hash(std::string password, std::function<void(std::string hash)> then);

  // Who asks: the name or id as it was given, and the address it came from.
  struct Asker {
    std::string name;
    std::string address;
  };
  using Verified = std::function<void(bool right)>;
  // `then` is called at once when the outcome is known, else on a worker. An empty hash (no such user) takes as long as a
  // real one and is never right. False: too many are waiting, answer 503 with Retry-After.
  [[nodiscard]] bool verify(const Asker& asker, std::string password, std::string hash, Verified then);

  // As WorkerPool's.
  void stop() { pool_.stop(); }

  std::string hash_now(const std::string& password) const;

 private:
  using Clock = std::chrono::steady_clock;
  using Print = std::array<unsigned char, 32>;
  struct Outcome {
    bool right = false;
    Clock::time_point until;
  };

  bool post(bool doubtful, std::function<void()> work);
  void run_one();
  Print print_of(const Asker& asker, const std::string& password, const std::string& hash) const;
  void note(const Asker& asker, const Print& print, bool right);
  template <class Map>
  static void forget_old(Map& map, Clock::time_point now);

  const PasswordCost cost_;
  const std::string nobody_;
  const std::string key_;
  const std::size_t queue_max_;
  std::mutex mutex_;
  std::deque<std::function<void()>> waiting_, doubtful_;
  unsigned turn_ = 0;
  std::map<Print, Outcome> known_;
  std::map<std::string, Outcome> wrong_lately_;  // by name and address
  WorkerPool pool_;  // last: what it runs uses the others
};

}  // namespace reprise::api
